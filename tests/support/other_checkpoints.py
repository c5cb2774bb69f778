"""Random-weight checkpoints of the families that transformers' own `generate` answers for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 8192,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_TILES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
_TILED = ("idefics3", "smolvlm")
SPECIAL: dict[str, dict[str, str]] = {
    "gemma3": {
        "boi_token": "<start_of_image>",
        "image_token": "<image_soft_token>",
        "eoi_token": "<end_of_image>",
    },
    "gemma4": {
        "boi_token": "<|image>",
        "image_token": "<|image|>",
        "eoi_token": "<image|>",
        "boa_token": "<|audio>",
        "audio_token": "<|audio|>",
        "eoa_token": "<audio|>",
    },
    "internvl": {
        "start_image_token": "<img>",
        "context_image_token": "<IMG_CONTEXT>",
        "end_image_token": "</img>",
        "video_token": "<video>",
    },
    "llava_onevision": {"image_token": "<image>", "video_token": "<video>"},
    "idefics3": {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"},
    "smolvlm": {"image_token": "<image>", "fake_image_token": "<fake_token_around_image>"},
    "mllama": {"image_token": "<|image|>", "python_token": "<|python_tag|>"},
}
"""Tokens of a tokenizer that the family's processor asks it for."""
_MARKS = {
    "gemma3": "<start_of_image>",
    "gemma4": "<|image|>",
    "internvl": "<IMG_CONTEXT>\n",
    "llava_onevision": "<image>\n",
    "idefics3": "<image>",
    "smolvlm": "<image>",
    "mllama": "<|image|>",
}
"""What a chat template puts where a picture stands."""


def other_tokenizer(family: str) -> Any:
    """Tokenizer of the 256 bytes and a family's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tiles = ["<global-img>", "<end_of_utterance>", *_TILES] if family in _TILED else []
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        additional_special_tokens=["<turn>", "</turn>", *tiles],
        extra_special_tokens=SPECIAL[family],
    )
    refuses = "{% if message.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    tokenizer.chat_template = (
        "<bos>{% for message in messages %}"
        + (refuses if family == "mllama" else "")
        + "<turn>{{ message.role }}\n{% if message.content is string %}{{ message.content }}"
        "{% else %}{% for part in message.content %}{% if part.type == 'image' %}"
        f"{_MARKS[family]}"
        "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}</turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
    )
    return tokenizer


def _gemma3(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import Gemma3Config

    config = Gemma3Config(
        text_config=text | {"sliding_window": 64, "query_pre_attn_scalar": 8},
        vision_config=_VISION | {"image_size": 64, "patch_size": 8},
        mm_tokens_per_image=16,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    pictures = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": 64, "width": 64},
        "image_seq_length": 16,
    }
    return config, pictures, {"image_seq_length": 16}


def _gemma4(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import Gemma4Config

    config = Gemma4Config(
        text_config=text
        | {
            "sliding_window": 64,
            "global_head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": len(tokenizer),
        },
        vision_config=_VISION
        | {
            "num_key_value_heads": 4,
            "head_dim": 8,
            "patch_size": 16,
            "pooling_kernel_size": 3,
            "position_embedding_size": 512,
        },
        audio_config=None,
        image_token_id=tokenizer.image_token_id,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        audio_token_id=tokenizer.audio_token_id,
    )
    return config, {"image_processor_type": "Gemma4ImageProcessor"}, {"image_seq_length": 280}


def _internvl(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import InternVLConfig

    config = InternVLConfig(
        text_config=text | {"model_type": "qwen2"},
        vision_config=_VISION | {"image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
    )
    pictures = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "size": {"height": 56, "width": 56},
        "crop_to_patches": True,
        "min_patches": 1,
        "max_patches": 6,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    return config, pictures, {"image_seq_length": 4}


def _onevision(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import LlavaOnevisionConfig

    pinpoints = [[56 * rows, 56 * columns] for rows in range(1, 4) for columns in range(1, 4)]
    config = LlavaOnevisionConfig(
        text_config=text | {"model_type": "qwen2"},
        vision_config=_VISION
        | {
            "model_type": "siglip_vision_model",
            "image_size": 56,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=pinpoints,
    )
    pictures = {
        "image_processor_type": "LlavaOnevisionImageProcessor",
        "size": {"height": 56, "width": 56},
        "image_grid_pinpoints": pinpoints,
    }
    settings = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
    return config, pictures, settings


def _idefics3(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import Idefics3Config

    config = Idefics3Config(
        text_config=text | {"model_type": "llama"},
        vision_config=_VISION | {"image_size": 56, "patch_size": 14},
        scale_factor=2,
        image_token_id=tokenizer.image_token_id,
    )
    pictures = {
        "image_processor_type": "Idefics3ImageProcessor",
        "size": {"longest_edge": 168},
        "max_image_size": {"longest_edge": 56},
    }
    return config, pictures, {"image_seq_len": 4}


def _smolvlm(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import SmolVLMConfig

    config, pictures, settings = _idefics3(tokenizer, text)
    whole = SmolVLMConfig(
        text_config=config.text_config.to_dict(),
        vision_config=_VISION | {"image_size": 56, "patch_size": 14},
        scale_factor=2,
        image_token_id=tokenizer.image_token_id,
    )
    return whole, pictures | {"image_processor_type": "SmolVLMImageProcessor"}, settings


def _mllama(tokenizer: Any, text: dict[str, Any]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from transformers import MllamaConfig

    ratios = [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]
    text = {name: value for name, value in text.items() if name != "head_dim"}
    config = MllamaConfig(
        text_config=text | {"cross_attention_layers": [1], "vocab_size": len(tokenizer)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 56,
            "patch_size": 14,
            "max_num_tiles": 4,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [0],
            "supported_aspect_ratios": ratios,
        },
        image_token_index=tokenizer.image_token_id,
    )
    pictures = {
        "image_processor_type": "MllamaImageProcessor",
        "size": {"height": 56, "width": 56},
        "max_image_tiles": 4,
    }
    return config, pictures, {}


_MAKERS = {
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "internvl": _internvl,
    "llava_onevision": _onevision,
    "idefics3": _idefics3,
    "smolvlm": _smolvlm,
    "mllama": _mllama,
}


def make_other_checkpoint(folder: Path, family: str, seed: int = 0) -> Path:
    """Write a random-weight checkpoint of under 1 M parameters; see `make_tiny_checkpoint`.

    Returns
    -------
    Path
        ``folder``, with config, tokenizer, chat template, preprocessor config and safetensors.
    """
    import torch
    import transformers

    from napari_pathreason.models import FAMILIES

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = other_tokenizer(family)
    text = _TEXT | {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config, pictures, settings = _MAKERS[family](tokenizer, text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, FAMILIES[family].architecture)(config)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures, indent=2))
    if settings:
        (folder / "processor_config.json").write_text(json.dumps(settings, indent=2))
    return folder

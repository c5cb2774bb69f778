"""A new small Qwen3-VL model to train from: ``python -m demonstrator.new_model``.

Its tokenizer is learnt on the prompts and answers of the samples and on the phrases of their
rationales; its sizes are options; its vision encoder may begin as a DINOv2 ViT. It is written as
any checkpoint is, so that a recipe names it as ``model.start``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from napari_pathreason.errors import PathreasonError
from napari_pathreason.models import CONTROL_TOKENS
from napari_pathreason.tasks import DETECTION_FORMAT, TASKS
from napari_pathreason.training import Sample, read_samples
from napari_pathreason.training.model import save_checkpoint

from .codes import on_grid, sines
from .dinov2 import load_dinov2
from .evidence import phrases

FRAME = ("<think>", "</think>", "<answer>", "</answer>", "<think></think><answer>")
BOX_JSON = ('[{"bbox_2d":[', '],"label":"', '"},{"bbox_2d":[', '"}]', "[]")
PROMPT = ("user\n", "assistant\n", DETECTION_FORMAT)
"""Parts of every prompt; as single tokens they make it a third shorter."""
NUMBERS = tuple(str(n) for n in range(1001))

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message.role != 'system' %}"
    "<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's turns without the system message: a model of this size is always told the same."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a new model; the defaults are those of the model that ships.

    ``deepstack`` are blocks of the vision encoder that add to layers of the language model.
    """

    vocabulary: int = 2048
    vision_depth: int = 6
    vision_hidden: int = 384
    vision_heads: int = 6
    vision_mlp: int = 1536
    deepstack: tuple[int, ...] = ()
    text_depth: int = 4
    text_hidden: int = 256
    text_heads: int = 8
    text_kv_heads: int = 4
    text_mlp: int = 768


def new_model(
    samples: Sequence[Sample], sizes: Sizes | None = None, seed: int = 0, dinov2: Path | None = None
) -> tuple[Any, Any]:
    """Model and tokenizer; the same samples, sizes and seed give the same ones.

    Parameters
    ----------
    samples : sequence of Sample
        The tokenizer is learnt on their prompts and answers.
    sizes : Sizes, optional
    seed : int
        Of the weights.
    dinov2 : Path, optional
        State of a DINOv2 ViT that the vision encoder begins as; see `load_dinov2`.

    Raises
    ------
    ModelError
        If that state is not there, or does not suit the sizes.
    """
    from transformers import Qwen3VLForConditionalGeneration

    sizes = sizes or Sizes()
    tokenizer = new_tokenizer(_texts(samples), sizes.vocabulary)
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(new_config(sizes, tokenizer))
    order_embeddings(model, tokenizer)
    if dinov2 is not None:
        load_dinov2(model.model.visual, dinov2)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def new_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Byte-level BPE learnt on ``texts``; numbers to 1000 and what always recurs are one token."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    whole = [*FRAME, *BOX_JSON, *PROMPT]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary - len(CONTROL_TOKENS) - len(whole) - len(NUMBERS), 256),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=5,
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_tokens([AddedToken(text, normalized=False) for text in whole])
    core.add_tokens([AddedToken(n, normalized=False, single_word=True) for n in NUMBERS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(CONTROL_TOKENS),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def new_config(sizes: Sizes, tokenizer: Any) -> Any:
    """Transformers config of a model of these sizes that speaks ``tokenizer``."""
    from transformers import Qwen3VLConfig

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(f"<|{name}|>"))

    head_dim = sizes.text_hidden // sizes.text_heads
    height = width = head_dim // 2 // 3  # rotary pairs of rows and columns; time takes the rest
    return Qwen3VLConfig(
        text_config={
            "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
            "hidden_size": sizes.text_hidden,
            "intermediate_size": sizes.text_mlp,
            "num_hidden_layers": sizes.text_depth,
            "num_attention_heads": sizes.text_heads,
            "num_key_value_heads": sizes.text_kv_heads,
            "head_dim": head_dim,
            "max_position_embeddings": 8192,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [head_dim // 2 - height - width, height, width],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": sizes.vision_depth,
            "hidden_size": sizes.vision_hidden,
            "intermediate_size": sizes.vision_mlp,
            "num_heads": sizes.vision_heads,
            "out_hidden_size": sizes.text_hidden,
            "patch_size": 16,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": list(sizes.deepstack),
        },
        image_token_id=token("image_pad"),
        video_token_id=token("video_pad"),
        vision_start_token_id=token("vision_start"),
        vision_end_token_id=token("vision_end"),
        tie_word_embeddings=True,
    )


def order_embeddings(model: Any, tokenizer: Any) -> None:
    """Give positions of patches and number tokens a start in which neighbours are alike.

    Random ones are learnt too slowly for a model of this size to write where a thing is: position
    embeddings become two-dimensional sines, and half of each number's embedding becomes sines of
    its value (the other half stays random, so that small counts can be told apart).
    """
    with torch.no_grad():
        places = model.model.visual.pos_embed.weight
        side = math.isqrt(places.shape[0])
        steps = sines(torch.arange(side) / side, places.shape[1] // 2, side / 4)
        places.copy_(0.3 * on_grid(steps))
        words = model.get_input_embeddings().weight
        ids = torch.tensor(tokenizer.convert_tokens_to_ids(list(NUMBERS)))
        half = words.shape[1] // 2
        scale = words.std() * math.sqrt(2)
        words[ids, :half] = scale * sines(torch.arange(len(ids)) / len(ids), half, 64)


def _texts(samples: Sequence[Sample]) -> Iterator[str]:
    for sample in samples:
        yield str(TASKS[sample.task].messages(sample.query)[-1]["content"][-1]["text"])
        yield sample.answer
    for phrase in phrases():
        yield from [f"{phrase}; {phrase}"] * 20


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(words: Sequence[str] | None = None) -> int:
    """Write a new model, and beside it what it was made of."""
    parser = argparse.ArgumentParser("python -m demonstrator.new_model", description=main.__doc__)
    parser.add_argument("samples", type=Path, help="train.jsonl of `pathreason data convert`")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--dinov2", type=Path, help="what demonstrator.fetch got: first weights")
    parser.add_argument("--seed", type=int, default=0)
    sizes = Sizes()
    for size in fields(Sizes):
        many = "*" if size.name == "deepstack" else None
        flag, default = f"--{size.name.replace('_', '-')}", getattr(sizes, size.name)
        parser.add_argument(flag, type=int, nargs=many, default=default, metavar="N")
    args = parser.parse_args(words)
    chosen = {size.name: getattr(args, size.name) for size in fields(Sizes)}
    chosen["deepstack"] = tuple(chosen["deepstack"])
    try:
        samples = read_samples(args.samples)
        model, tokenizer = new_model(samples, Sizes(**chosen), args.seed, args.dinov2)
        save_checkpoint(args.output, model, tokenizer, args.output.name)
        made_of = {"seed": args.seed, "sizes": chosen, "samples_sha256": _sha256(args.samples)}
        if args.dinov2 is not None:
            made_of["dinov2_sha256"] = _sha256(args.dinov2)
        (args.output / "new_model.json").write_text(json.dumps(made_of, indent=2) + "\n")
    except PathreasonError as error:
        parser.exit(1, f"pathreason: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What TRL's trainers are handed of a checkpoint: the model, under LoRA or whole, and a processor.

Any family of the table loads. Its processor is that of transformers, made to ask as `pathreason
ask` does: the same chat, no resizing of a picture that was read at its size, the level of visual
tokens that the picture was planned for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed

from napari_pathreason import models
from napari_pathreason.errors import QueryError
from napari_pathreason.training.model import DTYPES, LEARNING, linear_layers
from napari_pathreason.training.recipe import LoraRecipe
from napari_pathreason.types import Messages, ModelInfo


@dataclass(frozen=True, slots=True)
class Start:
    """A checkpoint as a run begins with it.

    ``model`` is a transformers model, or one of peft's around it; ``processor`` a transformers
    processor whose tokenizer pads on the left, as TRL wants it; ``about`` the folder that holds
    config and tokenizer. ``never`` are ids of tokens that stand for pictures, which must not be
    drawn.
    """

    model: Any
    processor: Any
    info: ModelInfo
    about: Path
    never: tuple[int, ...]

    @property
    def plain(self) -> Any:
        """The transformers model, adapters inside."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def defused(self, messages: Messages) -> Messages:
        """Messages as this family's template takes them, their texts without control tokens."""
        family = models.FAMILIES[self.info.family]
        if family.loader == "decoder":
            return models.defuse(messages)
        control = [*self.processor.tokenizer.all_special_tokens, self.processor.image_token]
        messages = models.defuse(messages, tuple(dict.fromkeys(control)))
        return messages if family.system else models.without_system(messages)


def load_start(start: str, lora: LoraRecipe | None, seed: int, device: str = "auto") -> Start:
    """Load a checkpoint to train.

    Parameters
    ----------
    start : str
        ``embedded``, a folder or a hub id. An adapter in it goes on to learn under ``lora``, at its
        own rank.
    lora : LoraRecipe or None
        None lets all weights learn, in float32.
    seed : int
        Of new adapters.
    device : str
        Where weights in four bits go; others lie on the CPU until a trainer takes them.

    Raises
    ------
    ModelError
        If it cannot be read, or four bits cannot be had here.
    QueryError
        If all weights of an adapter's base would learn.
    """
    folder, name = models.find_checkpoint(start)
    base = models.find_base(folder, name)
    about = models.described_in(folder, base)
    info = models.read_info(about, name, folder)
    family = models.FAMILIES[info.family]
    models.check_installed(family)
    on_disk = models.check_whole(folder, info.name, base)
    adapter = (folder / models.CONFIG).is_file()
    if adapter and lora is None:
        raise QueryError(
            f"the model {info.name} is an adapter, and without a lora section all weights learn; "
            "add the section, or merge it first: pathreason merge"
        )
    processor = models.load_processor(
        about, info, models.load_tokenizer(about, info), _asking_as_here(info)
    )
    processor.tokenizer.padding_side = "left"
    if family.loader == "decoder":  # it takes any size: what was read is not resized again
        processor.image_processor.size = {
            "shortest_edge": info.dims.token_px**2,
            "longest_edge": 2**31,
        }
    four_bits_on, dtype = None, torch.float32
    if lora is not None and lora.weights == "4bit":
        four_bits_on = models.resolve_device(device)
        dtype, _ = models.resolve_precision("4bit", four_bits_on, on_disk)
    elif lora is not None:
        dtype = DTYPES[lora.weights]
    model = models.load_weights(base, info, dtype, four_bits_on)
    # trainers read there where a completion ends; a base model may not name the end of a turn
    model.generation_config.eos_token_id = sorted(models.stop_ids(model, processor.tokenizer))
    if family.loader == "decoder":
        if torch.cuda.is_available():  # only on a CPU is the product the faster one, and engines
            vars(model.model.visual.patch_embed).pop("forward", None)  # that shard want the layer
        never = processor.tokenizer.convert_tokens_to_ids(list(models.VISION_TOKENS))
    else:
        named = (models.picture_token(model.config), getattr(model.config, "video_token_id", None))
        never = [token for token in named if token is not None and token < info.dims.vocabulary]
    if lora is not None:
        model = _adapted(model, lora, seed, info.name, folder if adapter else None)
    return Start(model, processor, info, about, tuple(never))


def _adapted(model: Any, lora: LoraRecipe, seed: int, name: str, folder: Path | None) -> Any:
    from peft import LoraConfig, get_peft_model

    set_seed(seed)
    if folder is not None:
        config, matrices = models.read_adapter(model, folder, name)
        config.inference_mode = False
        model = get_peft_model(model, config)
        models.fill_adapter(model, matrices, LEARNING, name)
        return model
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=linear_layers(model, lora.targets),
    )
    return get_peft_model(model, config)


def _asking_as_here(info: ModelInfo) -> type:
    """What stands before a family's processor, so that trainers ask as `pathreason ask` does."""
    family = models.FAMILIES[info.family]

    class AskingAsHere:
        def __call__(self, images: Any = None, text: Any = None, **options: Any) -> Any:
            options.setdefault("add_special_tokens", False)  # templates write their own
            if images is not None and family.options is not None and info.levels:
                area = max(one.width * one.height for row in images for one in row)
                detail = info.holding(math.ceil(area / info.dims.token_px**2))
                level = next(level for level in info.levels if level.detail == detail)
                of_level = family.options(level, info.levels[0], info.dims.token_px)
                for name, value in of_level.items():  # TRL also asks the picture part by itself
                    if hasattr(self.image_processor, name):  # type: ignore[attr-defined]
                        setattr(self.image_processor, name, value)  # type: ignore[attr-defined]
                options |= of_level
            return super().__call__(images=images, text=text, **options)  # type: ignore[misc]

        def apply_chat_template(
            self,
            conversation: Any,
            chat_template: str | None = None,
            *,
            add_generation_prompt: bool = False,
            tokenize: bool = False,
            **_: Any,
        ) -> Any:
            several = not isinstance(conversation[0], dict)
            chats = conversation if several else [conversation]
            texts = [self._rendered(chat, add_generation_prompt) for chat in chats]
            if not tokenize:
                return texts if several else texts[0]
            pictures = [[part["image"] for part in _pictures(chat)] for chat in chats]
            return self(images=pictures, text=texts)

        def _rendered(self, chat: Messages, add_generation_prompt: bool) -> str:
            counts = sum(part.get("visual_tokens", 0) for part in _pictures(chat))
            text: str = self.tokenizer.apply_chat_template(  # type: ignore[attr-defined]
                chat,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                enable_thinking=False,  # as in `models.prompt_ids`
                **({"visual_tokens": counts} if counts else {}),
            )
            return text

    return AskingAsHere


def _pictures(chat: Messages) -> list[dict[str, Any]]:
    return [
        part
        for message in chat
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part.get("type") == "image"
    ]

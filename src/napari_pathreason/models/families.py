"""Every family of models that loads here: one row each, and what differs between them. No torch.

A family is what transformers calls a model type. The rest of the plugin asks this table and never
names a family: how many pixels a visual token covers, which numbers of tokens a picture may have,
how boxes are written, how pixels are normalised, and which program generates.

Sources: the configs and processors of transformers 5, where a value is one of its defaults; model
cards and documentation of the makers for boxes and for what a released preprocessor bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from napari_pathreason.errors import ModelError
from napari_pathreason.types import BoxSpace, TokenLevel

Loader: TypeAlias = Literal["decoder", "generate"]
"""``decoder``: our own loop, which reads pictures at exactly the planned size; ``generate``: the
processor and ``generate`` of transformers."""
Levels: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], tuple[TokenLevel, ...]]
"""From ``config.json`` and the preprocessor's file to what a picture may cost."""
Options: TypeAlias = Callable[[TokenLevel, TokenLevel, int], dict[str, Any]]
"""From a level, the lowest one and the pixels of a visual token to options of the processor."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What becomes of the pixels of each channel: ``(pixel * scale - mean) / std``."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1 / 255


HALVES = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = Normalisation((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


@dataclass(frozen=True, slots=True)
class Family:
    """What models of one type have in common.

    Parameters
    ----------
    model_type : str
        As ``config.json`` names it.
    name : str
        For users.
    architecture : str
        Class of transformers that holds the weights.
    loader : {"decoder", "generate"}
    token_px : int
        Side of a visual token in pixels, of the released checkpoints.
    box_space : BoxSpace or None
        How it writes boxes; None where it was taught none, or nobody says how.
    normalisation : Normalisation
        Of the released checkpoints; a checkpoint's own preprocessor file stands before it.
    bounds : (int, int) or None
        Least and most visual tokens of a picture by the released preprocessor, which servers obey
        and the own decoder does not: it takes any size.
    levels : callable, optional
        Where a picture may have certain numbers of visual tokens alone.
    several : bool
        Whether it was trained on several pictures in one prompt.
    hybrid : bool
        Whether some layers keep a running state in place of keys: rows of one batch must then be
        of one length, since padding would enter the state.
    needs : tuple of str
        Packages beyond ours, by the name that pip knows.
    processor : str
        Class of transformers that prepares prompts; where the own decoder reads pictures, for other
        trainers alone.
    options : callable, optional
        What the processor is told, so that a picture has the tokens of a level.
    system : bool
        Whether its chat template takes a system message beside a picture.
    """

    model_type: str
    name: str
    architecture: str
    loader: Loader
    token_px: int
    box_space: BoxSpace | None
    normalisation: Normalisation
    bounds: tuple[int, int] | None = None
    levels: Levels | None = None
    several: bool = True
    hybrid: bool = False
    needs: tuple[str, ...] = ()
    processor: str = ""
    options: Options | None = None
    system: bool = True


def _of_gemma3(config: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[TokenLevel, ...]:
    count = config.get("mm_tokens_per_image", 256)
    return (TokenLevel(count, count),)


def _of_gemma4(config: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[TokenLevel, ...]:
    return tuple(TokenLevel(count, count) for count in (70, 140, 280, 560, 1120))


def _of_internvl(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any]
) -> tuple[TokenLevel, ...]:
    """Tiles of one size; of more than one a thumbnail comes on top."""
    tile, most = config.get("image_seq_length", 256), preprocessor.get("max_patches", 12)
    several = (TokenLevel((count + 1) * tile, count * tile) for count in range(2, most + 1))
    return (TokenLevel(tile, tile), *several)


def _of_idefics3(
    config: Mapping[str, Any], preprocessor: Mapping[str, Any]
) -> tuple[TokenLevel, ...]:
    """A square of tiles and a thumbnail; the picture alone in one tile."""
    vision = config["vision_config"]
    side = vision.get("image_size", 224) // vision.get("patch_size", 32)
    tile = (side // config.get("scale_factor", 2)) ** 2
    across = preprocessor.get("size", {}).get("longest_edge", 4 * 364)
    most = across // preprocessor.get("max_image_size", {}).get("longest_edge", 364)
    several = (TokenLevel((n * n + 1) * tile, n * n * tile) for n in range(2, most + 1))
    return (TokenLevel(tile, tile), *several)


def _of_onevision(config: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[TokenLevel, ...]:
    """A thumbnail, and a square of tiles with a mark behind each row of tokens."""
    vision = config["vision_config"]
    side = vision.get("image_size", 384) // vision.get("patch_size", 14)
    return tuple(
        TokenLevel(side * side + n * side * (n * side + 1), (n * side) ** 2) for n in (1, 2, 3)
    )


def _of_mllama(config: Mapping[str, Any], _: Mapping[str, Any]) -> tuple[TokenLevel, ...]:
    """Tiles that layers of their own attend to; they take no place in the prompt."""
    vision = config["vision_config"]
    tile = (vision.get("image_size", 560) // vision.get("patch_size", 14)) ** 2
    most = vision.get("max_num_tiles", 4)
    return tuple(TokenLevel(n * (tile + 1), n * tile) for n in (1, 4) if n <= most)


def _soft_tokens(level: TokenLevel, lowest: TokenLevel, token_px: int) -> dict[str, Any]:
    return {"max_soft_tokens": level.tokens}


def _patches(level: TokenLevel, lowest: TokenLevel, token_px: int) -> dict[str, Any]:
    count = level.detail // lowest.detail
    return {"crop_to_patches": count > 1, "min_patches": 1, "max_patches": count}


def _splitting(level: TokenLevel, lowest: TokenLevel, token_px: int) -> dict[str, Any]:
    across = math.isqrt(level.detail // lowest.detail)
    side = across * math.isqrt(lowest.detail) * token_px
    return {"do_image_splitting": across > 1, "size": {"longest_edge": side}}


_ROWS = (
    Family("qwen3_vl", "Qwen3-VL", "Qwen3VLForConditionalGeneration", "decoder", 32, "relative",
           HALVES, (64, 16_384), processor="Qwen3VLProcessor"),
    Family("qwen3_vl_moe", "Qwen3-VL-MoE", "Qwen3VLMoeForConditionalGeneration", "decoder", 32,
           "relative", HALVES, (64, 16_384), processor="Qwen3VLProcessor"),
    Family("qwen3_5", "Qwen3.5", "Qwen3_5ForConditionalGeneration", "decoder", 32, "relative",
           HALVES, (64, 16_384), hybrid=True, processor="Qwen3VLProcessor"),
    Family("qwen3_5_moe", "Qwen3.5-MoE", "Qwen3_5MoeForConditionalGeneration", "decoder", 32,
           "relative", HALVES, (64, 16_384), hybrid=True, processor="Qwen3VLProcessor"),
    Family("qwen2_5_vl", "Qwen2.5-VL", "Qwen2_5_VLForConditionalGeneration", "decoder", 28,
           "resized", CLIP, (4, 16_384), processor="Qwen2_5_VLProcessor"),
    Family("qwen2_vl", "Qwen2-VL", "Qwen2VLForConditionalGeneration", "decoder", 28, "relative",
           CLIP, (4, 16_384), processor="Qwen2VLProcessor"),
    Family("gemma3", "Gemma 3", "Gemma3ForConditionalGeneration", "generate", 56, None, HALVES,
           (256, 256), _of_gemma3, processor="Gemma3Processor"),
    Family("gemma4", "Gemma 4", "Gemma4ForConditionalGeneration", "generate", 48, "relative_yx",
           Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), (70, 1120), _of_gemma4,
           processor="Gemma4Processor", options=_soft_tokens),
    Family("internvl", "InternVL", "InternVLForConditionalGeneration", "generate", 28, "relative",
           Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), (256, 3328), _of_internvl,
           processor="InternVLProcessor", options=_patches),
    Family("llava_onevision", "LLaVA-OneVision", "LlavaOnevisionForConditionalGeneration",
           "generate", 14, None, HALVES, (1485, 7371), _of_onevision,
           processor="LlavaOnevisionProcessor"),
    Family("idefics3", "Idefics3", "Idefics3ForConditionalGeneration", "generate", 28, None,
           HALVES, (169, 2873), _of_idefics3, processor="Idefics3Processor", options=_splitting),
    Family("smolvlm", "SmolVLM", "SmolVLMForConditionalGeneration", "generate", 64, None,
           HALVES, (64, 1088), _of_idefics3, needs=("num2words",), processor="SmolVLMProcessor",
           options=_splitting),
    Family("mllama", "Llama 3.2 Vision", "MllamaForConditionalGeneration", "generate", 14, None,
           CLIP, (1601, 6404), _of_mllama, several=False, processor="MllamaProcessor",
           system=False),
)  # fmt: skip

FAMILIES: dict[str, Family] = {family.model_type: family for family in _ROWS}
"""By the name that ``config.json`` has for it."""
NORMALISATION: dict[str, Normalisation] = {
    family.model_type: family.normalisation for family in _ROWS
}
"""What the released checkpoints of each family were trained with."""

_SERVE = "serve it with vLLM and give its address as --model http://HOST:8000/v1"
_INSTEAD = {
    "internvl_chat": "take the checkpoint whose name ends in -HF",
    "llava": f"{_SERVE}, or take a LLaVA-OneVision",
    "llava_qwen2": f"it runs code of its author's alone; {_SERVE}",
    "hulumed_qwen2": f"it runs code of its author's alone; {_SERVE}",
    "hulumed_qwen3": f"it runs code of its author's alone; {_SERVE}",
}
"""What to do about families that people have and that do not load here."""


def family_of(model_type: object, name: str) -> Family:
    """The row of a checkpoint.

    Parameters
    ----------
    model_type : object
        Value of that name in ``config.json``.
    name : str
        How the checkpoint is called.

    Raises
    ------
    ModelError
        If models of its type do not load here.
    """
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None:
        names = ", ".join(dict.fromkeys(known.name for known in _ROWS))
        instead = _INSTEAD.get(str(model_type), f"choose one of {names}, or {_SERVE}")
        raise ModelError(f"the model {name} is of the family {model_type!r}; {instead}")
    return family

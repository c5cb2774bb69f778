"""Pictures and their chat as model inputs, for the performer and for training.

Pixels are normalised, cut into patches and embedded; texts go through the chat template.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from napari_pathreason.types import Messages, ModelDims, Prompt

from ._tokenizer import check_count, panics_told, render
from .families import Normalisation

IMAGE_PAD = "<|image_pad|>"
VISION_TOKENS = (IMAGE_PAD, "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
"""Tokens that stand for pictures: never to be sampled, a forward pass breaks on them."""
CONTROL_TOKENS = (*VISION_TOKENS, "<|im_start|>", "<|im_end|>", "<|endoftext|>")
TEMPORAL_PATCH = 2
"""Frames in one patch of Qwen's families; a still picture stands in each of them."""


def patchify(
    pixels: NDArray[np.uint8], patch: int, merge: int, normalisation: Normalisation
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Cut a picture into the rows that the vision encoder reads.

    Equal bit for bit to `Qwen2VLImageProcessorPil` of transformers where its own resize is the
    identity; a grey value has only 256 results, so a table of them replaces the arithmetic.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
        Sides are multiples of ``patch * merge``; nothing is resized here.
    patch : int
        Side of a patch in pixels.
    merge : int
        Patches a side of one visual token.
    normalisation : Normalisation

    Returns
    -------
    tuple
        Float32 tensor (patches, 3 * TEMPORAL_PATCH * patch * patch) and the grid (1, rows,
        columns) in patches.

    Raises
    ------
    ValueError
        If the shape, the dtype or the size is not as said.
    """
    token_px = patch * merge
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected uint8 (height, width, 3), got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    if not height or not width or height % token_px or width % token_px:
        raise ValueError(f"the picture is {width} x {height} px, not whole tokens of {token_px} px")
    rows, columns = height // patch, width // patch
    table = _table(normalisation)
    planes = np.stack([table[channel].take(pixels[..., channel]) for channel in range(3)])
    values = torch.from_numpy(planes).view(
        3, rows // merge, merge, patch, columns // merge, merge, patch
    )
    # (block row, block column, row in block, column in block, channel, y, x)
    values = values.permute(1, 4, 2, 5, 0, 3, 6)
    values = values.unsqueeze(5).expand(-1, -1, -1, -1, -1, TEMPORAL_PATCH, -1, -1)
    return values.reshape(rows * columns, -1), (1, rows, columns)


def _table(normalisation: Normalisation) -> NDArray[np.float32]:
    """Value of each channel and grey level (3, 256), rounded at the same steps as transformers."""
    scaled = (np.arange(256).astype(np.float64) * normalisation.scale).astype(np.float32)
    mean = np.array(normalisation.mean, dtype=np.float32)[:, None]
    std = np.array(normalisation.std, dtype=np.float32)[:, None]
    return ((scaled[None] - mean) / std).astype(np.float32)


def embed_by_product(visual: Any) -> None:
    """Let the vision encoder of a Qwen model embed its patches by a matrix product.

    They write it as a convolution whose stride is its kernel; on a CPU the convolution
    costs several times the product, and far more in a backward pass.

    Parameters
    ----------
    visual : Qwen3VLVisionModel or Qwen2_5_VisionTransformerPretrainedModel
    """
    visual.patch_embed.forward = partial(_product, visual.patch_embed.proj)


def _product(projection: Any, patches: torch.Tensor) -> torch.Tensor:
    weight = projection.weight.flatten(1)
    return functional.linear(patches.to(weight.dtype), weight, projection.bias)


class ModelInputs(TypedDict):
    """Arguments of the model's forward pass for one prompt.

    ``input_ids`` int64 (1, tokens); ``mm_token_type_ids`` int64 (1, tokens), 1 where a visual
    token stands; ``pixel_values`` float32 (patches, values) of all pictures, one behind the other;
    ``image_grid_thw`` int64 (pictures, 3).
    """

    input_ids: torch.Tensor
    mm_token_type_ids: torch.Tensor
    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor


def build_inputs(
    tokenizer: Any,
    dims: ModelDims,
    prompt: Prompt,
    normalisation: Normalisation,
    begin: str = "",
) -> ModelInputs:
    """Turn a prompt into model inputs, up to where the answer begins.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        With the checkpoint's chat template.
    dims : ModelDims
    prompt : Prompt
        Sides of its pictures are multiples of ``dims.token_px``.
    normalisation : Normalisation
        Of the checkpoint; `NORMALISATION` has those of the released ones.
    begin : str
        What the answer begins with.

    Raises
    ------
    ValueError
        If a picture is not of whole tokens, or the messages or the template do not place each
        picture once.
    """
    patches = [patchify(one, dims.patch, dims.merge, normalisation) for one in prompt.pictures]
    tokens = [rows * columns // dims.merge**2 for _, (_, rows, columns) in patches]
    ids = prompt_ids(tokenizer, prompt.messages, tokens, begin)
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    input_ids = torch.tensor([ids], dtype=torch.int64)
    return ModelInputs(
        input_ids=input_ids,
        mm_token_type_ids=(input_ids == pad).to(torch.int64),
        pixel_values=torch.cat([values for values, _ in patches]),
        image_grid_thw=torch.tensor([grid for _, grid in patches], dtype=torch.int64),
    )


def prompt_ids(
    tokenizer: Any, messages: Messages, visual_tokens: Sequence[int], begin: str = ""
) -> list[int]:
    """Token ids of a prompt, and of ``begin`` behind it.

    The chat template may tell how many visual tokens there are: each image part has its own number
    as ``visual_tokens``, and the template itself that of all of them.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        With the checkpoint's chat template.
    messages : list of dict
        Chat messages with one image part for each picture, texts between them or not.
    visual_tokens : sequence of int
        Places that each picture takes, in the order of the image parts.
    begin : str
        What the answer begins with.

    Raises
    ------
    ValueError
        If there is no picture, or the messages or the template do not place each picture once.
    ModelError
        If the template or the tokenizer fails, or makes far more tokens of a text than it is long.
    """
    if not visual_tokens:
        raise ValueError("a prompt needs a picture; it has 0 pictures")
    counted = with_counts(defuse(messages), visual_tokens)
    text = render(tokenizer, counted, visual_tokens=sum(visual_tokens))
    with panics_told():
        ids = check_count(tokenizer(text + begin, add_special_tokens=False)["input_ids"], text)
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    if (count := ids.count(pad)) != len(visual_tokens):
        raise ValueError(
            f"the chat template places {count} pictures where the prompt has {len(visual_tokens)}"
        )
    counts = iter(visual_tokens)
    return [token for one in ids for token in ([one] * next(counts) if one == pad else (one,))]


def with_counts(messages: Messages, visual_tokens: Sequence[int]) -> Messages:
    """Messages whose image parts know their visual tokens.

    Raises
    ------
    ValueError
        If there is not one image part for each number.
    """
    parts = sum(map(_is_image, _parts(messages)))
    if parts != len(visual_tokens):
        raise ValueError(f"the messages hold {parts} image parts for {len(visual_tokens)} pictures")
    counts = iter(visual_tokens)
    return [
        message
        if isinstance(message["content"], str)
        else {
            **message,
            "content": [
                {**part, "visual_tokens": next(counts)} if _is_image(part) else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]


def _parts(messages: Messages) -> list[dict[str, Any]]:
    return [
        part
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
    ]


def _is_image(part: dict[str, Any]) -> bool:
    return part.get("type") == "image"


def defuse(messages: Messages, tokens: Sequence[str] = CONTROL_TOKENS) -> Messages:
    """Messages whose texts cannot pose as control tokens, whatever a user typed."""
    return [{**message, "content": _defused(message["content"], tokens)} for message in messages]


def _defused(content: Any, tokens: Sequence[str]) -> Any:
    if isinstance(content, str):
        for token in tokens:
            content = content.replace(token, f"{token[:1]} {token[1:]}")
        return content
    return [
        {**part, "text": _defused(part["text"], tokens)} if part.get("type") == "text" else part
        for part in content
    ]


def without_system(messages: Messages) -> Messages:
    """The same words where a template takes none of the system: they begin the first turn's text.

    A picture stands before all words.
    """
    system = [m["content"] for m in messages if m["role"] == "system"]
    first, *rest = [message for message in messages if message["role"] != "system"]
    rules = [part for content in system for part in _parts_of(content)]
    parts = _parts_of(first["content"])
    pictures = [part for part in parts if part.get("type") == "image"]
    words = [part for part in parts if part.get("type") != "image"]
    return [{**first, "content": [*pictures, *rules, *words]}, *rest]


def _parts_of(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content

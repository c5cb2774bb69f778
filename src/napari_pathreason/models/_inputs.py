"""One picture and its chat as model inputs; the performer and training share this."""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.types import Messages, ModelDims

from ._pixels import Normalisation, patchify

IMAGE_PAD = "<|image_pad|>"
VISION_TOKENS = (IMAGE_PAD, "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
"""Tokens that stand for pictures: never to be sampled, a forward pass breaks on them."""
CONTROL_TOKENS = (*VISION_TOKENS, "<|im_start|>", "<|im_end|>", "<|endoftext|>")


class ModelInputs(TypedDict):
    """Arguments of the model's forward pass for one picture and one prompt.

    ``input_ids`` int64 (1, tokens); ``mm_token_type_ids`` int64 (1, tokens), 1 where a visual
    token stands; ``pixel_values`` float32 (patches, values); ``image_grid_thw`` int64 (1, 3).
    """

    input_ids: torch.Tensor
    mm_token_type_ids: torch.Tensor
    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor


def build_inputs(
    tokenizer: Any,
    dims: ModelDims,
    pixels: NDArray[np.uint8],
    messages: Messages,
    normalisation: Normalisation,
    begin: str = "",
) -> ModelInputs:
    """Turn a picture and chat messages into model inputs, up to where the answer begins.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        With the checkpoint's chat template.
    dims : ModelDims
    pixels : uint8 array (height, width, 3)
        Already of the planned size, sides multiples of ``dims.token_px``.
    messages : list of dict
        Chat messages with exactly one ``{"type": "image"}`` part.
    normalisation : Normalisation
        Of the checkpoint; `NORMALISATION` has the families' own.
    begin : str
        What the answer begins with.

    Raises
    ------
    ValueError
        If the picture is not of whole cells, or the template places not exactly one picture.
    """
    values, grid = patchify(pixels, dims.patch, dims.merge, normalisation)
    ids = prompt_ids(tokenizer, messages, grid[1] * grid[2] // dims.merge**2, begin)
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    input_ids = torch.tensor([ids], dtype=torch.int64)
    return ModelInputs(
        input_ids=input_ids,
        mm_token_type_ids=(input_ids == pad).to(torch.int64),
        pixel_values=values,
        image_grid_thw=torch.tensor([grid], dtype=torch.int64),
    )


def prompt_ids(
    tokenizer: Any, messages: Messages, visual_tokens: int, begin: str = ""
) -> list[int]:
    """Token ids of a prompt whose one picture takes ``visual_tokens`` places, and of ``begin``.

    The chat template may use that number, as ``visual_tokens``.

    Raises
    ------
    ValueError
        If the chat template places not exactly one picture.
    """
    text = tokenizer.apply_chat_template(
        defused(messages),
        tokenize=False,
        add_generation_prompt=True,
        visual_tokens=visual_tokens,
    )
    ids: list[int] = tokenizer(text + begin, add_special_tokens=False)["input_ids"]
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    if (found := ids.count(pad)) != 1:
        raise ValueError(f"the chat template places {found} pictures, not one")
    at = ids.index(pad)
    return ids[:at] + [pad] * visual_tokens + ids[at + 1 :]


def defused(messages: Messages) -> Messages:
    """Messages whose texts cannot pose as control tokens, whatever a user typed."""
    return [{**message, "content": _defused(message["content"])} for message in messages]


def _defused(content: Any) -> Any:
    if isinstance(content, str):
        for token in CONTROL_TOKENS:
            content = content.replace(token, token.replace("<|", "< |"))
        return content
    return [
        {**part, "text": _defused(part["text"])} if part.get("type") == "text" else part
        for part in content
    ]

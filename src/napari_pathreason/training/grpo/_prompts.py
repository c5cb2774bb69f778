"""Questions of a step as one padded batch of prompts, up to where the answers begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.models import IMAGE_PAD, Normalisation, patchify, prompt_ids
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.samples import Sample, View
from napari_pathreason.types import Messages, ModelDims


@dataclass(frozen=True, slots=True)
class Prompts:
    """Tensors of a step's questions.

    Of pictures: ``pixel_values`` (patches, values), ``image_grid_thw`` (pictures, 3). Of
    questions, padded on the right to (questions, length): ``input_ids``, ``attention_mask``,
    ``mm_token_type_ids``; ``owner`` (questions,) is the picture that each is about.
    """

    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    mm_token_type_ids: torch.Tensor
    owner: torch.Tensor

    def to(self, device: torch.device) -> Prompts:
        """The same prompts on another device."""
        return Prompts(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def build_prompts(
    pictures: Sequence[Sequence[tuple[Sample, View]]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
) -> Prompts:
    """Prompts of pictures, each with one question or several that share its pixels."""
    return prompts_of(
        [questions[0][1].pixels for questions in pictures],
        [[TASKS[s.task].messages(s.query) for s, _ in questions] for questions in pictures],
        tokenizer,
        dims,
        normalisation,
    )


def prompts_of(
    pictures: Sequence[NDArray[np.uint8]],
    asked: Sequence[Sequence[Messages]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
) -> Prompts:
    """Prompts of chats about pictures.

    Parameters
    ----------
    pictures : sequence of uint8 arrays (height, width, 3)
        Sides multiples of ``dims.token_px``.
    asked : sequence of sequence of Messages
        Chats about each picture.
    tokenizer : transformers tokenizer
    dims : ModelDims
    normalisation : Normalisation
    """
    patches = [patchify(each, dims.patch, dims.merge, normalisation) for each in pictures]
    rows: list[list[int]] = []
    owner = []
    for index, (picture, chats) in enumerate(zip(pictures, asked, strict=True)):
        visual = picture.shape[0] * picture.shape[1] // dims.token_px**2
        rows += [prompt_ids(tokenizer, messages, visual) for messages in chats]
        owner += [index] * len(chats)
    longest = max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    return Prompts(
        pixel_values=torch.cat([values for values, _ in patches]),
        image_grid_thw=torch.tensor([grid for _, grid in patches], dtype=torch.int64),
        input_ids=input_ids,
        attention_mask=(torch.arange(longest) < lengths[:, None]).to(torch.int64),
        mm_token_type_ids=(input_ids == tokenizer.convert_tokens_to_ids(IMAGE_PAD)).long(),
        owner=torch.tensor(owner),
    )

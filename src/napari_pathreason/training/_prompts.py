"""Questions of a step as one padded batch of prompts, up to where the answers begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from napari_pathreason._types import ModelDims
from napari_pathreason.models._inputs import IMAGE_PAD, prompt_ids
from napari_pathreason.models._pixels import Normalisation, patchify
from napari_pathreason.tasks import TASKS

from ._sample import Sample
from ._view import View


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
    views = [questions[0][1] for questions in pictures]
    patches = [patchify(view.pixels, dims.patch, dims.merge, normalisation) for view in views]
    rows: list[list[int]] = []
    owner = []
    for index, questions in enumerate(pictures):
        visual = views[index].grid[0] * views[index].grid[1]
        for sample, _ in questions:
            messages = TASKS[sample.task].messages(sample.query)
            rows.append(prompt_ids(tokenizer, messages, visual))
            owner.append(index)
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

"""Views -> one padded batch of tensors with labels and dense targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason._types import ModelDims
from napari_pathreason.models._inputs import IMAGE_PAD, prompt_ids
from napari_pathreason.models._pixels import Normalisation, patchify
from napari_pathreason.tasks import TASKS

from ._coverage import box_targets, count_targets, dense_targets, place_targets
from ._sample import Sample
from ._view import View

IGNORE = -100
COUNT_SPREAD = 0.06
"""Standard deviation of a count's target, as a share of the count."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tensors.

    Of pictures: ``pixel_values`` (patches, values), ``image_grid_thw`` (pictures, 3). Of
    questions, padded on the right to (questions, length): ``input_ids``, ``attention_mask``,
    ``mm_token_type_ids``, ``labels`` (`IGNORE` outside the target), and for number tokens of the
    target ``values``, ``spread``, ``step`` (see `sft_loss`); ``owner`` (questions,) is the
    picture that each is about. Of the visual tokens of all pictures: ``dense`` and ``known``
    (tokens, classes), ``boxes`` (tokens, 4) and ``boxed`` (tokens,), ``numbers`` and ``counted``
    (tokens, counted classes), ``places`` (tokens, 2).
    """

    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    mm_token_type_ids: torch.Tensor
    labels: torch.Tensor
    values: torch.Tensor
    spread: torch.Tensor
    step: torch.Tensor
    owner: torch.Tensor
    dense: torch.Tensor
    known: torch.Tensor
    boxes: torch.Tensor
    boxed: torch.Tensor
    numbers: torch.Tensor
    counted: torch.Tensor
    places: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Question:
    """A sample as one view shows it, and what should be written."""

    sample: Sample
    view: View
    target: str


def collate(
    pictures: Sequence[Sequence[Question]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
    quantum: int,
) -> Batch:
    """Batch of pictures, each with one question or several that share its pixels."""
    views = [questions[0].view for questions in pictures]
    patches = [patchify(v.pixels, dims.patch, dims.merge, normalisation) for v in views]
    rows, owner = [], []
    for index, questions in enumerate(pictures):
        visual = views[index].grid[0] * views[index].grid[1]
        rows += [_row(question, tokenizer, visual, quantum) for question in questions]
        owner += [index] * len(questions)
    length = max(len(row.ids) for row in rows)
    input_ids = _padded([row.ids for row in rows], length, tokenizer.pad_token_id)
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    dense = [dense_targets(view) for view in views]
    boxes = [box_targets(view) for view in views]
    counts = [count_targets(view) for view in views]
    return Batch(
        pixel_values=torch.cat([values for values, _ in patches]),
        image_grid_thw=torch.tensor([grid for _, grid in patches], dtype=torch.int64),
        input_ids=input_ids,
        attention_mask=_padded([[1] * len(row.ids) for row in rows], length, 0),
        mm_token_type_ids=(input_ids == pad).to(torch.int64),
        labels=_padded([row.labels for row in rows], length, IGNORE),
        values=_padded([row.values for row in rows], length, 0),
        spread=_padded([row.spread for row in rows], length, 0.0),
        step=_padded([row.step for row in rows], length, 1),
        owner=torch.tensor(owner),
        dense=_stack([shares for shares, _ in dense]),
        known=_stack([np.broadcast_to(known, shares.shape) for shares, known in dense]),
        boxes=_stack([corners for corners, _ in boxes]),
        boxed=_stack([inside for _, inside in boxes]),
        numbers=_stack([numbers for numbers, _ in counts]),
        counted=_stack([np.broadcast_to(known, n.shape) for n, known in counts]),
        places=_stack([place_targets(view) for view in views]),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    ids: list[int]
    labels: list[int]
    values: list[int]
    spread: list[float]
    step: list[int]


def _row(question: Question, tokenizer: Any, visual: int, quantum: int) -> _Row:
    sample = question.sample
    prompt = prompt_ids(tokenizer, TASKS[sample.task].messages(sample.query), visual)
    target = tokenizer(question.target, add_special_tokens=False)["input_ids"]
    values, spread, step = [], [], []
    for word in tokenizer.convert_ids_to_tokens(target):
        number = int(word) if word.isdecimal() and int(word) <= 1000 else None
        values.append(number or 0)
        if number is None or (sample.choices and sample.task != "detection"):
            spread.append(0.0)
            step.append(1)
        elif sample.task == "detection":
            spread.append(0.75 * quantum)
            step.append(quantum)
        else:
            spread.append(COUNT_SPREAD * number)
            step.append(1)
    before = len(prompt)
    return _Row(
        ids=[*prompt, *target, tokenizer.eos_token_id],
        labels=[IGNORE] * before + [*target, tokenizer.eos_token_id],
        values=[0] * before + [*values, 0],
        spread=[0.0] * before + [*spread, 0.0],
        step=[1] * before + [*step, 1],
    )


def _padded(rows: list[list[Any]], length: int, fill: float) -> torch.Tensor:
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])


def _stack(arrays: list[NDArray[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))

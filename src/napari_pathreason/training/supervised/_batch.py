"""Views -> one padded batch of tensors with labels and dense targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.models import IMAGE_PAD, Normalisation, patchify, prompt_ids
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.samples import (
    ALL_OF_IT,
    Corners,
    Piece,
    Sample,
    View,
    box_targets,
    cell_corners,
    count_targets,
    dense_targets,
    place_targets,
)
from napari_pathreason.types import ModelDims

from ._number_loss import COUNT_SPREAD

IGNORE = -100
NOWHERE: Corners = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tensors.

    Of pictures: ``pixel_values`` (patches, values), ``image_grid_thw`` (pictures, 3). A row of
    the text holds one picture and, behind it, its questions, each with its answer, padded on the
    right to (pictures, length): ``input_ids``, ``mm_token_type_ids``, ``segment`` (0 up to the
    last visual token, then 1 for the first question and so on, -1 for padding), ``shift`` (how
    many tokens of earlier questions lie before a token), ``labels`` (`IGNORE` outside the
    targets), and for number tokens of the targets ``values``, ``spread``, ``step`` (see
    `sft_loss`). Corners (pictures, length, 4) in shares of the picture, without area elsewhere:
    ``spoken_of`` of what a token of the targets speaks of, ``cells`` of what a visual token shows.
    Of the visual tokens of all pictures: ``dense`` and ``known`` (tokens, classes), ``boxes``
    (tokens, 4) and ``boxed`` (tokens,) of `box_targets`, ``numbers`` and ``counted`` (tokens,
    counted classes), ``places`` (tokens, 2).
    """

    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor
    input_ids: torch.Tensor
    mm_token_type_ids: torch.Tensor
    segment: torch.Tensor
    shift: torch.Tensor
    labels: torch.Tensor
    values: torch.Tensor
    spread: torch.Tensor
    step: torch.Tensor
    spoken_of: torch.Tensor
    cells: torch.Tensor
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
    """A sample as one view shows it, and what should be written (`target_pieces`)."""

    sample: Sample
    view: View
    target: Sequence[Piece]


def collate(
    pictures: Sequence[Sequence[Question]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
    quantum: int | None,
) -> Batch:
    """Batch of pictures, each with one question or several that share its visual tokens.

    ``quantum`` is that of box coordinates; None where numbers are words like all others.
    """
    views = [questions[0].view for questions in pictures]
    patches = [patchify(v.pixels, dims.patch, dims.merge, normalisation) for v in views]
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    rows = []
    for view, questions in zip(views, pictures, strict=True):
        visual = view.grid[0] * view.grid[1]
        each = [_question_row(question, tokenizer, visual, quantum) for question in questions]
        rows.append(_picture_row(each, pad))
    input_ids = _padded([row.ids for row in rows], tokenizer.pad_token_id)
    dense = [dense_targets(view) for view in views]
    boxes = [box_targets(view) for view in views]
    counts = [count_targets(view) for view in views]
    cells = torch.zeros((*input_ids.shape, 4))
    cells[input_ids == pad] = _stack([cell_corners(view) for view in views])
    return Batch(
        pixel_values=torch.cat([values for values, _ in patches]),
        image_grid_thw=torch.tensor([grid for _, grid in patches], dtype=torch.int64),
        input_ids=input_ids,
        mm_token_type_ids=(input_ids == pad).to(torch.int64),
        segment=_padded([row.segment for row in rows], -1),
        shift=_padded([row.shift for row in rows], 0),
        labels=_padded([row.labels for row in rows], IGNORE),
        values=_padded([row.values for row in rows], 0),
        spread=_padded([row.spread for row in rows], 0.0),
        step=_padded([row.step for row in rows], 1),
        spoken_of=_padded([row.spoken_of for row in rows], NOWHERE),
        cells=cells,
        dense=_stack([shares for shares, _ in dense]),
        known=_stack([np.broadcast_to(known, shares.shape) for shares, known in dense]),
        boxes=_stack([corners for corners, _ in boxes]),
        boxed=_stack([share for _, share in boxes]),
        numbers=_stack([numbers for numbers, _ in counts]),
        counted=_stack([np.broadcast_to(known, n.shape) for n, known in counts]),
        places=_stack([place_targets(view) for view in views]),
    )


@dataclass(slots=True)
class _Row:
    ids: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    shift: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    spoken_of: list[Corners] = field(default_factory=list)

    def add(self, other: _Row, start: int = 0, end: int | None = None) -> None:
        """Append a part of another row."""
        for part in fields(self):
            getattr(self, part.name).extend(getattr(other, part.name)[start:end])


def _picture_row(questions: Sequence[_Row], pad: int) -> _Row:
    """Questions behind the part that they share: everything up to the last visual token."""
    first = questions[0].ids
    shared = len(first) - first[::-1].index(pad)
    whole = _Row()
    whole.add(questions[0], 0, shared)
    whole.segment, whole.shift = [0] * shared, [0] * shared
    for number, row in enumerate(questions, 1):
        own = len(row.ids) - shared
        row.segment = [0] * shared + [number] * own
        row.shift = [0] * shared + [len(whole.ids) - shared] * own
        whole.add(row, shared)
    return whole


def _question_row(question: Question, tokenizer: Any, visual: int, quantum: int | None) -> _Row:
    sample = question.sample
    prompt = prompt_ids(tokenizer, TASKS[sample.task].messages(sample.query), visual)
    text = "".join(piece.text for piece in question.target)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=quantum is not None)
    target = encoded["input_ids"]
    spoken_of = [NOWHERE] * len(target)
    if quantum is not None:
        spoken_of = _spoken_of(question.target, encoded["offset_mapping"])
    values, spread, step = [], [], []
    for at, word in enumerate(tokenizer.convert_ids_to_tokens(target)):
        number = int(word) if word.isdecimal() and int(word) <= 1000 else None
        values.append(number or 0)
        closed = sample.choices and sample.task != "detection"
        if number is None or quantum is None or closed:
            spread.append(0.0)
            step.append(1)
        elif sample.task == "detection":
            spread.append(0.75 * quantum)
            step.append(quantum)
        else:
            spread.append(COUNT_SPREAD if number else 0.0)  # none is not nearly one
            step.append(0)
            spoken_of[at] = ALL_OF_IT  # a count is told of all that is seen
    before = len(prompt)
    return _Row(
        ids=[*prompt, *target, tokenizer.eos_token_id],
        labels=[IGNORE] * before + [*target, tokenizer.eos_token_id],
        values=[0] * before + [*values, 0],
        spread=[0.0] * before + [*spread, 0.0],
        step=[1] * before + [*step, 1],
        spoken_of=[NOWHERE] * before + [*spoken_of, NOWHERE],
    )


def _spoken_of(pieces: Sequence[Piece], spans: Sequence[tuple[int, int]]) -> list[Corners]:
    """Corners of what each token of a target speaks of: that of the piece in which it ends.

    ``spans`` are the characters (start, end) of each token.
    """
    by_character = [piece.corners or NOWHERE for piece in pieces for _ in piece.text]
    return [by_character[end - 1] for _, end in spans]


def _padded(rows: list[list[Any]], fill: float | Corners) -> torch.Tensor:
    length = max(len(row) for row in rows)
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])


def _stack(arrays: list[NDArray[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))

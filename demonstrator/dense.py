"""Dense supervision: what each visual token shows, and what each token of a target speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.models import Normalisation
from napari_pathreason.training.objectives import IGNORE, Batch, TrainingQuestion, collate
from napari_pathreason.training.samples import Corners, Sample, TargetPiece, View, coverage
from napari_pathreason.types import ModelDims

from .evidence import WHOLE_PICTURE
from .losses import COORDINATE_SIGMA, COUNT_SIGMA, NUMBERS

NOWHERE: Corners = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Labels:
    """Which labels of the samples the heads learn, in the order of their outputs.

    ``covered`` are what may cover a visual token; each token in a thing of ``boxed`` learns its
    box; each token learns how many of ``counted`` it holds. No question asks for boxes of red
    cells; they are many and small, and teach what boxes of platelets need: to add a place and a
    distance (demonstrator/experiments.md).
    """

    covered: tuple[str, ...] = (
        "tumour",
        "nucleus",
        "white cell",
        "platelet",
        "red cell",
        "adenocarcinoma",
        "squamous cell carcinoma",
        "normal lung",
    )
    boxed: tuple[str, ...] = ("tumour", "white cell", "platelet", "red cell")
    counted: tuple[str, ...] = ("nucleus", "white cell", "platelet", "red cell")


@dataclass(frozen=True, slots=True)
class DenseBatch(Batch):
    """Tensors of one step, with what the losses beside the text are told.

    Of tokens of the text, (pictures, length): for number tokens of the targets ``values``,
    ``sigma`` and ``step`` as `text_loss` takes them; ``grounding`` (pictures, length, 4), corners
    of what a token of the targets speaks of, and ``token_corners`` (pictures, length, 4), corners
    of what a visual token shows, both in shares of the region that a row is about and without area
    elsewhere.
    Of the visual tokens of all pictures, in reading order: ``coverage`` and ``coverage_known``
    (tokens, covered labels), ``boxes`` (tokens, 4) and ``box_weight`` (tokens,) of `box_targets`,
    ``counts`` and ``counts_known`` (tokens, counted labels), ``places`` (tokens, 2).
    """

    values: torch.Tensor
    sigma: torch.Tensor
    step: torch.Tensor
    grounding: torch.Tensor
    token_corners: torch.Tensor
    coverage: torch.Tensor
    coverage_known: torch.Tensor
    boxes: torch.Tensor
    box_weight: torch.Tensor
    counts: torch.Tensor
    counts_known: torch.Tensor
    places: torch.Tensor

    @property
    def visual_tokens(self) -> list[int]:
        """Visual tokens of each picture, several of which may stand in a row."""
        patches = self.image_grid_thw.prod(1)
        tokens: list[int] = (patches * len(self.places) // patches.sum()).tolist()
        return tokens


@dataclass(frozen=True, slots=True)
class GroundedQuestion:
    """A sample as one view shows it, and the target in pieces that speak of places."""

    sample: Sample
    view: View
    pieces: Sequence[TargetPiece]

    @property
    def text(self) -> str:
        """The whole target."""
        return "".join(piece.text for piece in self.pieces)


def collate_dense(
    pictures: Sequence[Sequence[GroundedQuestion]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
    quantum: int,
    labels: Labels,
) -> DenseBatch:
    """Batch of pictures, each with one question or several that share its visual tokens.

    Parameters
    ----------
    pictures : sequence of sequence of GroundedQuestion
    tokenizer : transformers tokenizer
        In which a number is one token.
    dims : ModelDims
    normalisation : Normalisation
        Of the model's family.
    quantum : int
        Box coordinates are multiples of it.
    labels : Labels
    """
    questions = [[TrainingQuestion(q.sample, q.view, q.text) for q in each] for each in pictures]
    plain = collate(questions, tokenizer, dims, normalisation)
    views = [part for each in pictures for part in each[0].view.shown]
    token_corners = torch.zeros((*plain.input_ids.shape, 4))
    visual = plain.mm_token_type_ids == 1
    token_corners[visual] = _stack([_in_region(view) for view in views])
    covered = [coverage_targets(view, labels.covered) for view in views]
    boxes = [box_targets(view, labels.boxed) for view in views]
    counts = [count_targets(view, labels.counted) for view in views]
    return DenseBatch(
        **{f.name: getattr(plain, f.name) for f in fields(plain)},
        **_of_targets(plain.labels != IGNORE, pictures, tokenizer, quantum),
        token_corners=token_corners,
        coverage=_stack([shares for shares, _ in covered]),
        coverage_known=_stack([np.broadcast_to(known, c.shape) for c, known in covered]),
        boxes=_stack([corners for corners, _ in boxes]),
        box_weight=_stack([weight for _, weight in boxes]),
        counts=_stack([numbers for numbers, _ in counts]),
        counts_known=_stack([np.broadcast_to(known, n.shape) for n, known in counts]),
        places=_stack([place_targets(view) for view in views]),
    )


@dataclass(frozen=True, slots=True)
class _Token:
    """What a token of a target means; the defaults are those of a word like all others."""

    value: int = 0
    sigma: float = 0.0
    step: int = 1
    grounding: Corners = NOWHERE


def _of_targets(
    learnt: torch.Tensor,
    pictures: Sequence[Sequence[GroundedQuestion]],
    tokenizer: Any,
    quantum: int,
) -> dict[str, torch.Tensor]:
    """Tensors of what the tokens of the targets mean; ``learnt`` (pictures, length) is where."""
    rows = [
        [token for question in each for token in _tokens(question, tokenizer, quantum)]
        for each in pictures
    ]
    kinds = {"values": torch.int64, "sigma": torch.float32, "step": torch.int64}
    tensors = {name: torch.zeros(learnt.shape, dtype=kind) for name, kind in kinds.items()}
    tensors["step"] += 1
    tensors["grounding"] = torch.zeros((*learnt.shape, 4))
    for row, tokens in enumerate(rows):
        where = learnt[row]
        tensors["values"][row, where] = torch.tensor([t.value for t in tokens])
        tensors["sigma"][row, where] = torch.tensor([t.sigma for t in tokens])
        tensors["step"][row, where] = torch.tensor([t.step for t in tokens])
        tensors["grounding"][row, where] = torch.tensor([t.grounding for t in tokens])
    return tensors


def _tokens(question: GroundedQuestion, tokenizer: Any, quantum: int) -> list[_Token]:
    """Tokens of one target, and the one that ends the turn."""
    sample = question.sample
    encoded = tokenizer(question.text, add_special_tokens=False, return_offsets_mapping=True)
    # a token speaks of what the piece speaks of in which it ends
    by_character = [piece.corners or NOWHERE for piece in question.pieces for _ in piece.text]
    grounding = [by_character[end - 1] for _, end in encoded["offset_mapping"]]
    closed = sample.choices and sample.task != "detection"
    tokens = []
    words = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    for word, corners in zip(words, grounding, strict=True):
        number = int(word) if word.isdecimal() and int(word) < NUMBERS else None
        if number is None or closed:
            tokens.append(_Token(number or 0, grounding=corners))
        elif sample.task == "detection":
            tokens.append(_Token(number, COORDINATE_SIGMA * quantum, quantum, corners))
        else:  # none is not nearly one; and a count speaks of all that is seen
            sigma = COUNT_SIGMA if number else 0.0
            tokens.append(_Token(number, sigma, 0, WHOLE_PICTURE))
    return [*tokens, _Token()]


def coverage_targets(
    view: View, labels: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What covers each visual token.

    Returns
    -------
    tuple
        shares, float32 (tokens, labels), tokens in reading order; and which labels are annotated,
        bool (labels,).
    """
    maps = [coverage(view, label, view.grid) for label in labels]
    empty = np.zeros(view.grid[::-1], np.float32)
    shares = np.stack([empty if m is None else m for m in maps], axis=-1)
    return shares.reshape(-1, len(labels)), np.array([m is not None for m in maps])


def box_targets(
    view: View, labels: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each visual token that lies in a thing of ``labels``, the corners of its box.

    A token belongs to the smallest box that holds its centre, or whose centre it holds.

    Returns
    -------
    tuple
        corners in shares, float32 (tokens, 4), tokens in reading order; and each token's share of
        the tokens of its box, float32 (tokens,), 0 outside of boxes.
    """
    columns, rows = view.grid
    corners = np.zeros((rows, columns, 4), np.float32)
    owner = np.zeros((rows, columns), np.int64)
    xs, ys = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    areas = [box for label, box in view.lesions or view.areas if label in labels]
    by_size = sorted(areas, key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))
    for number, (x1, y1, x2, y2) in enumerate(by_size, 1):
        inside = np.outer((y1 <= ys) & (ys < y2), (x1 <= xs) & (xs < x2))
        row, column = int((y1 + y2) / 2 * rows), int((x1 + x2) / 2 * columns)
        inside[min(row, rows - 1), min(column, columns - 1)] = True
        corners[inside], owner[inside] = (x1, y1, x2, y2), number
    share = 1.0 / np.bincount(owner.reshape(-1))[owner.reshape(-1)]
    return corners.reshape(-1, 4), np.where(owner.reshape(-1) > 0, share, 0).astype(np.float32)


def count_targets(
    view: View, labels: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Number of things whose centre lies in a visual token.

    Returns
    -------
    tuple
        numbers, float32 (tokens, labels), tokens in reading order; and which labels are annotated,
        bool (labels,).
    """
    columns, rows = view.grid
    numbers = np.zeros((rows, columns, len(labels)), np.float32)
    for index, label in enumerate(labels):
        for x, y in _centres(view, label):
            row, column = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
            numbers[max(row, 0), max(column, 0), index] += 1
    known = [label in view.known for label in labels]
    return numbers.reshape(-1, len(labels)), np.array(known)


def place_targets(view: View) -> NDArray[np.float32]:
    """Centre of each visual token, float32 (tokens, 2), (x, y) in shares, reading order."""
    corners = visual_token_corners(view)
    return 0.5 * (corners[:, :2] + corners[:, 2:])


def visual_token_corners(view: View) -> NDArray[np.float32]:
    """Corners of each visual token in shares of width and height, float32 (tokens, 4)."""
    columns, rows = view.grid
    xs, ys = np.meshgrid(np.arange(columns) / columns, np.arange(rows) / rows)
    corners = np.stack([xs, ys, xs + 1 / columns, ys + 1 / rows], axis=-1)
    return corners.reshape(-1, 4).astype(np.float32)


def _in_region(view: View) -> NDArray[np.float32]:
    """Corners of each visual token in shares of the region that the view is a part of."""
    x1, y1, x2, y2 = view.within
    scale, start = np.array([x2 - x1, y2 - y1] * 2), np.array([x1, y1] * 2)
    return (visual_token_corners(view) * scale + start).astype(np.float32)


def _centres(view: View, label: str) -> list[tuple[float, float]]:
    if label == "nucleus":
        return list(view.centres)
    return [
        ((x1 + x2) / 2, (y1 + y2) / 2) for name, (x1, y1, x2, y2) in view.areas if name == label
    ]


def _stack(arrays: list[NDArray[Any]]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(arrays))

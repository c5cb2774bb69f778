"""Pictures with questions about them -> one padded batch of tensors with labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch

from napari_pathreason.models import IMAGE_PAD, Normalisation, patchify, prompt_ids
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.samples import Sample, View
from napari_pathreason.types import ModelDims

IGNORE = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """A sample as it was read, and the completion that should be written."""

    sample: Sample
    view: View
    target: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step; an objective that learns more than text adds to them.

    Of the pictures, in the order of the rows: ``pixel_values`` float (patches, values),
    ``image_grid_thw`` int64 (pictures, 3). A row of the text holds one picture, or the views of a
    sample, and behind it the questions, each with its answer, padded on the right to
    (rows, length), all int64:

    - ``input_ids``, ``mm_token_type_ids``;
    - ``segment``: 0 up to the last visual token, then 1 for the first question and so on, -1 for
      padding;
    - ``shift``: how many tokens of earlier questions lie before a token;
    - ``labels``: `IGNORE` outside of the targets. The target of a question ends with the token
      that ends a turn; targets of a row stand in the order of its questions.
    """

    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor
    input_ids: torch.Tensor
    mm_token_type_ids: torch.Tensor
    segment: torch.Tensor
    shift: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Self:
        """The same batch on another device."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def collate(
    pictures: Sequence[Sequence[TrainingQuestion]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
) -> Batch:
    """Batch of pictures, each with one question or several that share its visual tokens.

    Parameters
    ----------
    pictures : sequence of sequence of TrainingQuestion
        The questions of a row share the pixels and the captions of its view.
    tokenizer : transformers tokenizer
    dims : ModelDims
    normalisation : Normalisation
        Of the model's family.
    """
    shown = [pixels for questions in pictures for pixels in questions[0].view.pictures]
    patches = [patchify(pixels, dims.patch, dims.merge, normalisation) for pixels in shown]
    pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    rows = [_picture_row(questions, tokenizer, pad) for questions in pictures]
    input_ids = _padded([row.ids for row in rows], tokenizer.pad_token_id)
    return Batch(
        pixel_values=torch.cat([values for values, _ in patches]),
        image_grid_thw=torch.tensor([grid for _, grid in patches], dtype=torch.int64),
        input_ids=input_ids,
        mm_token_type_ids=(input_ids == pad).to(torch.int64),
        segment=_padded([row.segment for row in rows], -1),
        shift=_padded([row.shift for row in rows], 0),
        labels=_padded([row.labels for row in rows], IGNORE),
    )


@dataclass(slots=True)
class _Row:
    ids: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    shift: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def _picture_row(questions: Sequence[TrainingQuestion], tokenizer: Any, pad: int) -> _Row:
    """Questions behind the part that they share: everything up to the last visual token."""
    row = _Row()
    for number, question in enumerate(questions, 1):
        ids, labels = _question_ids(question, tokenizer)
        shared = len(ids) - ids[::-1].index(pad)
        if number == 1:
            row.ids, row.labels = ids[:shared], labels[:shared]
            row.segment, row.shift = [0] * shared, [0] * shared
        own = len(ids) - shared
        row.shift += [len(row.ids) - shared] * own
        row.segment += [number] * own
        row.ids += ids[shared:]
        row.labels += labels[shared:]
    return row


def _question_ids(question: TrainingQuestion, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens of prompt and target, and their labels."""
    sample, view = question.sample, question.view
    messages = TASKS[sample.task].messages(sample.query, sample.captions)
    prompt = prompt_ids(tokenizer, messages, view.visual_tokens)
    target = tokenizer(question.target, add_special_tokens=False)["input_ids"]
    target = [*target, tokenizer.eos_token_id]
    return [*prompt, *target], [IGNORE] * len(prompt) + target


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    length = max(len(row) for row in rows)
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows])

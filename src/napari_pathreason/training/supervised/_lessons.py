"""What supervised fine-tuning teaches: a small model sees and writes, a large one only writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch.nn import functional

from napari_pathreason.errors import QueryError
from napari_pathreason.models import read_dims
from napari_pathreason.training.recipe import Recipe, SFTRecipe

from ._batch import IGNORE, Batch
from ._losses import (
    box_loss,
    count_loss,
    dense_loss,
    look_loss,
    place_loss,
    sft_loss,
    total_loss,
    turn_loss,
)
from ._number_loss import NUMBERS
from ._reading import corners_due
from ._trainee import Predicted, Trainee, Writer, speaks_of_a_place


class Lesson(Protocol):
    """A model under training and its losses.

    ``names`` and ``weights`` (losses,) belong to the losses in their order; ``quantum`` is what
    `collate` takes.
    """

    names: tuple[str, ...]
    module: torch.nn.Module
    weights: torch.Tensor
    quantum: int | None

    def losses(self, model: Any, batch: Batch, write: bool) -> torch.Tensor:
        """Losses (losses,) of a batch that ``model``, the wrapped ``module``, reads.

        Without ``write`` the language model learns nothing.
        """
        ...

    def counts(self, batch: Batch) -> torch.Tensor:
        """What each loss is the mean over, float (losses,)."""
        ...


def shares(accelerator: Accelerator, counts: torch.Tensor) -> torch.Tensor:
    """How much the means of this process weigh among all, float (losses,); 1 where it is alone.

    Gradients are averaged over processes. Weighed so, their average is the gradient of one process
    that has all of the batch, however unevenly targets fall.

    Parameters
    ----------
    accelerator : Accelerator
    counts : float tensor (losses,)
        `Lesson.counts` of this process.
    """
    counts = counts.to(accelerator.device)
    # a mean of less than one stands where some processes have nothing, and divides all the same
    return counts / accelerator.reduce(counts.clone(), reduction="mean").clamp(min=1e-9)


def choose_lesson(recipe: Recipe, start: Any, tokenizer: Any) -> Lesson:
    """What the model of a recipe is taught.

    Raises
    ------
    QueryError
        If it shall learn as a whole, but writes numbers in several tokens.
    """
    if recipe.lora is not None:
        return WriteOnly(start)
    return SeeAndWrite(start, tokenizer, recipe.sft)


class SeeAndWrite:
    """Answers, where to look for them, and what each visual token shows.

    On every visual token: what covers it, its box, its count and its place; on all together: how
    many things of each kind there are.

    Parameters
    ----------
    start : Qwen3VLForConditionalGeneration
    tokenizer : transformers tokenizer
        In which each number from 0 to 1000 is one token.
    settings : SFTRecipe
    """

    names: tuple[str, ...]
    quantum: int | None
    number_weight: float
    module: torch.nn.Module

    def __init__(self, start: Any, tokenizer: Any, settings: SFTRecipe) -> None:
        words = tokenizer.convert_tokens_to_ids([str(n) for n in range(NUMBERS)])
        if {None, tokenizer.unk_token_id} & {*words}:
            raise QueryError(
                "the model to start from writes numbers in several tokens, so it cannot learn as a "
                "whole; add a lora section, or start from embedded or a model of these recipes"
            )
        self.numbers = torch.tensor(words)
        self.quantum, self.number_weight = settings.box_quantum, settings.number_weight
        hidden = read_dims(start.config.to_dict()).text_hidden
        reads = settings.read_weight > 0
        self.module = Trainee(start, hidden, self.numbers, settings.box_quantum, reads)
        weights = {
            "text": 1.0,
            "cells": settings.dense_weight,
            "boxes": settings.box_weight,
            "counts": settings.count_weight,
            "places": settings.place_weight,
            "totals": settings.total_weight,
            "looks": settings.look_weight,
        }
        if reads:
            weights |= {"turns": settings.read_weight, "reads": settings.read_weight}
        self.names, self.weights = tuple(weights), torch.tensor(list(weights.values()))

    def losses(self, model: Any, batch: Batch, write: bool) -> torch.Tensor:
        """See `Lesson.losses`."""
        said: Predicted = model(batch, write)
        totals, known = _totals(batch)
        text = looks = turns = reads = said.cells.new_zeros((), dtype=torch.float32)
        if said.logits is not None and said.looks is not None:
            text, looks = self._text_loss(batch, said.logits), _look_loss(batch, said.looks)
        if said.turns is not None and said.reads is not None:
            turns = _turn_loss(batch, said.turns)
            reads = box_loss(said.reads, batch.boxes, batch.boxed)
        each = {
            "text": text,
            "cells": dense_loss(said.cells, batch.dense, batch.known),
            "boxes": box_loss(said.boxes, batch.boxes, batch.boxed),
            "counts": count_loss(said.counts, batch.numbers, batch.counted, _tokens(batch)),
            "places": place_loss(said.places, batch.places),
            "totals": total_loss(said.totals, totals, known),
            "looks": looks,
            "turns": turns,
            "reads": reads,
        }
        return torch.stack([each[name] for name in self.names])

    def counts(self, batch: Batch) -> torch.Tensor:
        """See `Lesson.counts`."""
        each = {
            "text": (batch.labels[:, 1:] != IGNORE).sum(),
            "cells": batch.known.sum(),
            "boxes": batch.boxed.sum(),
            "counts": batch.counted.sum(),
            "places": torch.tensor(len(batch.places)),
            "totals": _totals(batch)[1].sum(),
            "looks": speaks_of_a_place(batch).sum(),
            "turns": (corners_due(batch) >= 0).sum(),
            "reads": batch.boxed.sum(),
        }
        return torch.stack([each[name] for name in self.names]).float()

    def _text_loss(self, batch: Batch, logits: torch.Tensor) -> torch.Tensor:
        learnt = batch.labels[:, 1:] != IGNORE
        targets = (batch.labels, batch.values, batch.spread, batch.step)
        labels, values, spread, step = (tensor[:, 1:][learnt] for tensor in targets)
        numbers = self.numbers.to(logits.device)
        return sft_loss(logits, labels, values, spread, step, numbers, self.number_weight)


def _tokens(batch: Batch) -> list[int]:
    """Visual tokens of each picture."""
    tokens: list[int] = (batch.cells[..., 2] > 0).sum(1).tolist()
    return tokens


def _totals(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """How many things each picture holds, and whether that is known, (pictures, counted)."""
    tokens = _tokens(batch)
    numbers, known = batch.numbers.split(tokens), batch.counted.split(tokens)
    return torch.stack([n.sum(0) for n in numbers]), torch.stack([k[0] for k in known])


def _look_loss(batch: Batch, looks: list[torch.Tensor]) -> torch.Tensor:
    """Mean of `look_loss` over all words of a batch that speak of a place."""

    def of_picture(row: int, shown: torch.Tensor, spoken_of: torch.Tensor) -> torch.Tensor:
        return look_loss(looks[row][:, :, shown], batch.cells[row, shown], spoken_of)

    return _mean_of_words(batch, speaks_of_a_place(batch), of_picture)


def _turn_loss(batch: Batch, turns: list[torch.Tensor]) -> torch.Tensor:
    """Mean of `turn_loss` over all corner values of a batch."""
    due = corners_due(batch)
    written = due >= 0

    def of_picture(row: int, shown: torch.Tensor, spoken_of: torch.Tensor) -> torch.Tensor:
        return turn_loss(turns[row], due[row, written[row]], batch.cells[row], shown, spoken_of)

    return _mean_of_words(batch, written, of_picture)


def _mean_of_words(
    batch: Batch,
    wanted: torch.Tensor,
    of_picture: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Mean over the words ``wanted`` (pictures, length - 1) of what is summed by picture.

    ``of_picture`` is given the row of a picture, which of its tokens are cells, and the corners of
    what its words speak of.
    """
    summed = batch.cells.new_zeros(())
    for row, words in enumerate(wanted):
        shown = batch.cells[row, :, 2] > 0
        summed = summed + of_picture(row, shown, batch.spoken_of[row, 1:][words])
    return summed / wanted.sum().clamp(min=1)


class WriteOnly:
    """Answers alone, by plain cross-entropy, as the paper has it; for checkpoints with a past.

    Parameters
    ----------
    start : transformers model of either family
    """

    names: tuple[str, ...] = ("text",)
    quantum: int | None = None
    module: torch.nn.Module

    def __init__(self, start: Any) -> None:
        self.module = Writer(start)
        self.weights = torch.ones(1)

    def losses(self, model: Any, batch: Batch, write: bool) -> torch.Tensor:
        """See `Lesson.losses`."""
        labels = batch.labels[:, 1:]
        logits = model(batch, write).float()
        return functional.cross_entropy(logits, labels[labels != IGNORE])[None]

    def counts(self, batch: Batch) -> torch.Tensor:
        """See `Lesson.counts`."""
        return (batch.labels[:, 1:] != IGNORE).sum()[None].float()

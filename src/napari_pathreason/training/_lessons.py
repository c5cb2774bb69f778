"""What supervised fine-tuning teaches: a small model sees and writes, a large one only writes."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch.nn import functional

from napari_pathreason.models._config import read_dims

from ._batch import IGNORE, Batch
from ._losses import NUMBERS, box_loss, count_loss, dense_loss, place_loss, sft_loss
from ._recipe import Recipe, SFTRecipe
from ._trainee import Trainee, Writer


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

        Without ``write`` the text part learns nothing.
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
    return counts / accelerator.reduce(counts.clone(), reduction="mean").clamp(min=1)


def choose_lesson(recipe: Recipe, start: Any, tokenizer: Any) -> Lesson:
    """What the model of a recipe is taught."""
    if recipe.lora is not None:
        return WriteOnly(start)
    return SeeAndWrite(start, tokenizer, recipe.sft)


class SeeAndWrite:
    """Answers, and on every visual token what covers it, its box, its count and its place.

    Parameters
    ----------
    start : Qwen3VLForConditionalGeneration
    tokenizer : transformers tokenizer
        In which each number from 0 to 1000 is one token.
    settings : SFTRecipe
    """

    names: tuple[str, ...] = ("text", "cells", "boxes", "counts", "places")
    quantum: int | None
    module: torch.nn.Module

    def __init__(self, start: Any, tokenizer: Any, settings: SFTRecipe) -> None:
        words = tokenizer.convert_tokens_to_ids([str(n) for n in range(NUMBERS)])
        self.numbers = torch.tensor(words)
        self.quantum = settings.box_quantum
        hidden = read_dims(start.config.to_dict()).text_hidden
        self.module = Trainee(start, hidden, self.numbers[:: settings.box_quantum])
        self.weights = torch.tensor(
            [
                1.0,
                settings.dense_weight,
                settings.box_weight,
                settings.count_weight,
                settings.place_weight,
            ]
        )

    def losses(self, model: Any, batch: Batch, write: bool) -> torch.Tensor:
        """See `Lesson.losses`."""
        said = model(batch, write)
        return torch.stack(
            [
                said.cells.new_zeros((), dtype=torch.float32)
                if said.logits is None
                else self._text_loss(batch, said.logits),
                dense_loss(said.cells, batch.dense, batch.known),
                box_loss(said.boxes, batch.boxes, batch.boxed),
                count_loss(said.counts, batch.numbers, batch.counted),
                place_loss(said.places, batch.places),
            ]
        )

    def counts(self, batch: Batch) -> torch.Tensor:
        """See `Lesson.counts`."""
        learnt = (batch.labels[:, 1:] != IGNORE).sum()
        means = (batch.known.sum(), batch.boxed.sum(), batch.counted.sum())
        return torch.stack([learnt, *means, torch.tensor(len(batch.places))]).float()

    def _text_loss(self, batch: Batch, logits: torch.Tensor) -> torch.Tensor:
        learnt = batch.labels[:, 1:] != IGNORE
        targets = (batch.labels, batch.values, batch.spread, batch.step)
        labels, values, spread, step = (tensor[:, 1:][learnt] for tensor in targets)
        return sft_loss(logits, labels, values, spread, step, self.numbers.to(logits.device))


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

"""Our samples as rows of a data set that TRL walks through, pictures at drawn budgets.

A row is one question, and which one is a pure function of (seed, step, process), as in the own
loops: the same `PictureSampler` draws sources, pictures and budgets, and TRL takes the rows in
their order. All rows that a process learns from at once so share a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from napari_pathreason import models
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import run
from napari_pathreason.training.recipe import DataRecipe
from napari_pathreason.training.samples import (
    Augmentation,
    Pictures,
    Sample,
    View,
    read_views,
)
from napari_pathreason.types import BoxSpace

from ._start import Start

ENOUGH = 2**62
"""Visual tokens of a step: TRL's steps have a fixed number of rows, whatever their budget."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """How rows fall to steps and processes.

    A step of the optimiser takes ``batch * parts`` rows of each of ``processes``, and a trainer
    hands them out ``piece`` by piece: the first piece to the first process, the next to the second.
    A budget is drawn for each ``batch``.
    """

    batch: int
    parts: int
    processes: int
    piece: int

    def place(self, row: int) -> tuple[int, int, int]:
        """(batch since the run began, process, place in the batch) of a row."""
        turn, within = divmod(row, self.piece)
        piece, rank = divmod(turn, self.processes)
        number = piece * self.piece + within  # of all rows of that process
        return number // self.batch, rank, number % self.batch

    def rows(self, steps: int) -> int:
        """Rows of all processes in some steps."""
        return steps * self.batch * self.parts * self.processes


class Questions:
    """Rows by their number.

    Parameters
    ----------
    samples : sequence of Sample
    data : DataRecipe
        Weights of sources; one question is asked of a picture, whatever it says.
    budgets : mapping
        Relative weights of budgets.
    seed : int
    drawing : Drawing
    pictures : Pictures
    start : Start
    box_space : BoxSpace
        How the model is asked to write boxes.
    augmentation : Augmentation, optional
    target : callable, optional
        Gives the completion that should be written, for a trainer that learns it.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        data: DataRecipe,
        budgets: Mapping[int, float],
        seed: int,
        drawing: Drawing,
        pictures: Pictures,
        start: Start,
        box_space: BoxSpace,
        augmentation: Augmentation | None = None,
        target: Callable[[Sample, View], str] | None = None,
    ) -> None:
        one = data.model_copy(update={"questions": 1})
        self._sampler = run.PictureSampler(samples, one, dict(budgets), seed)
        self._drawing, self._pictures, self._start = drawing, pictures, start
        self._box_space, self._augmentation, self._target = box_space, augmentation, target
        # a group asks for its row many times, and a step for its rows again in each part
        self.read = lru_cache(maxsize=2 * drawing.piece)(self._read)

    def _read(self, row: int) -> dict[str, Any]:
        at, rank, place = self._drawing.place(row)
        picture = self._sampler.batch(at, rank, self._drawing.batch, ENOUGH)[place]
        info = self._start.info
        budget = info.holding(picture.budget)
        (view,) = read_views(
            picture.samples,
            self._pictures,
            budget,
            info.dims.token_px,
            self._augmentation,
            picture.rng,
        )
        (sample,) = picture.samples
        messages = TASKS[sample.task].messages(sample.query, sample.captions, self._box_space)
        messages = self._start.defused(messages)
        if models.FAMILIES[info.family].loader == "decoder":
            messages = models.with_counts(messages, view.visual_tokens)
        values = {
            "prompt": messages,
            "images": [Image.fromarray(pixels) for pixels in view.pictures],
            "budget": budget,
            "sample": sample,
            "view": view,
        }
        if self._target is not None:
            values["target"] = self._target(sample, view)
        return values

    def rows(self, number: int) -> Any:
        """The first rows as a `datasets.Dataset` that reads each when it is asked for."""
        from datasets import Dataset

        def read(numbers: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
            rows = [self.read(one) for one in numbers["row"]]
            return {name: [row[name] for row in rows] for name in rows[0]}

        return Dataset.from_dict({"row": range(number)}).with_transform(read)

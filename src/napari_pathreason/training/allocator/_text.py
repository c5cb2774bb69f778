"""Reinforcement learning of an allocator that writes its number: the paper's own form.

A second adapter on the performer's weights sees an overview, is told how many tokens that has and
how many there are, and writes a number. s(N) is tabulated before, as for the head: a number is
snapped to the budget grid, so each completion's reward is looked up, and the performer is asked
once for each size of a question, however many completions name it. It is gone from memory before
the adapter is put on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from napari_pathreason.budgets import plan
from napari_pathreason.tasks import allocation_messages
from napari_pathreason.training.recipe import AllocatorRecipe, Recipe
from napari_pathreason.training.run import alone
from napari_pathreason.types import ModelInfo, Prompt

from ._rewards import ScoredAllocation, score_allocation, text_figures, text_rewards
from ._state import make_room, text_identity
from ._tables import ScoreTable, native_flops, train_val_tables
from ._writing import join_writers, learn_to_write


@alone
def train_text_allocator(recipe: Recipe) -> Path:
    """Train until ``allocator.text.steps``; continues from ``output``/allocator/text.

    With other lambdas or another performer it begins anew, and keeps the tables of s(N).

    Returns
    -------
    Path
        Folder of the performer, beside whose weights the allocator now lies.

    Raises
    ------
    QueryError
        If there is no performer to allocate for, or the recipe has no ``lora``.
    """
    settings, out = recipe.allocator, Path(recipe.output) / "allocator/text"
    accelerator, folder, lora = join_writers(recipe, out)
    train, val = (
        _Numbers(table, native_flops(table.rows, settings.cost), settings)
        for table in train_val_tables(recipe, folder, accelerator)
    )
    with accelerator.main_process_first():
        of = text_identity(recipe, (train.table.file, val.table.file))
        make_room(out, of)
    called = {"run": of, **train.table.data}
    learn_to_write(recipe, accelerator, folder, lora, train, val, out, called)
    return folder


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Questions whose s(N) is known; satisfies `_writing.Questions`.

    ``natives`` are FLOPs that a cost of 1 stands for.
    """

    table: ScoreTable
    natives: Sequence[float]
    settings: AllocatorRecipe

    @property
    def info(self) -> ModelInfo:
        return self.table.info

    @property
    def calls(self) -> int:
        return self.table.calls

    def __len__(self) -> int:
        return len(self.table.samples)

    def prompt(self, place: int) -> Prompt:
        sample, pictures = self.table.samples[place], self.table.pictures
        region = pictures.region(sample)
        reading = plan(region, self.settings.text.overview, self.info.dims.token_px)
        messages = allocation_messages(sample.query, reading.tokens, reading.native)
        return Prompt((pictures.read(sample, region, reading.size),), messages)

    def score(self, place: int, text: str, own_flops: float) -> ScoredAllocation:
        return score_allocation(text, self.table.rows[place], own_flops, self.natives[place])

    def rewards(self, each: Sequence[ScoredAllocation]) -> torch.Tensor:
        return text_rewards(each, self.settings)

    def figures(self, each: Sequence[ScoredAllocation]) -> dict[str, float]:
        return text_figures(each)

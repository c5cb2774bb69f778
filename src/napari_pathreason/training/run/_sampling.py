"""What a stage reads; and which pictures a step reads, at which budget.

The latter is a pure function of (seed, step, rank).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from napari_pathreason.training.recipe import DataRecipe, Recipe
from napari_pathreason.training.samples import Pictures, Sample, read_samples
from napari_pathreason.types import Metadata

from ._metadata import build_metadata

BudgetPolicy = Callable[[Sample], Sequence[float]]
"""Of an allocator: probabilities of the recipe's budgets for a question, in their order."""


@dataclass(frozen=True, slots=True)
class StageData:
    """What a stage of the performer learns from, and what its model will say of that.

    ``train`` and ``val`` are the samples of both splits, ``pictures`` are theirs.
    """

    train: list[Sample]
    val: list[Sample]
    pictures: Pictures
    metadata: Metadata


def read_data(recipe: Recipe, budgets: Mapping[int, float], held: int | None = None) -> StageData:
    """Read the samples that a recipe names; parameters as of `build_metadata`.

    Raises
    ------
    QueryError
        If samples are missing, damaged, or do not fit what the recipe states.
    """
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    pictures = Pictures(folder)
    pictures.hold([*train, *val])
    return StageData(train, val, pictures, build_metadata(recipe, train, budgets, held))


@dataclass(frozen=True, slots=True)
class SampledPicture:
    """Questions about the same picture or views, a budget and a generator for the augmentation."""

    samples: tuple[Sample, ...]
    budget: int
    rng: Random


class PictureSampler:
    """Samples batches so that a resumed run reads just what an undisturbed one would have read.

    All pictures of a step share one budget, so that no sequence is padded to another's length; a
    high budget takes fewer pictures, so that every step costs about the same.

    Parameters
    ----------
    samples : sequence of Sample
        Those of one image, region and views are questions about the same pictures.
    data : DataRecipe
        Weight of each source; a source without one counts by its size. Questions a picture.
    budgets : dict
        Relative weight of each budget.
    seed : int
    """

    def __init__(
        self, samples: Sequence[Sample], data: DataRecipe, budgets: dict[int, float], seed: int
    ) -> None:
        pictures: dict[object, list[Sample]] = defaultdict(list)
        for sample in samples:
            pictures[sample.source, sample.image, sample.region, sample.views].append(sample)
        sources: dict[str, list[list[Sample]]] = defaultdict(list)
        for questions in pictures.values():
            sources[questions[0].source].append(questions)
        self._sources = dict(sources)
        self._shares = [
            data.weights.get(name, len(items) / len(pictures)) for name, items in sources.items()
        ]
        self._questions = data.questions
        self._budgets = budgets
        self._seed = seed

    def batch(self, step: int, rank: int, most: int, tokens: int) -> list[SampledPicture]:
        """At most ``most`` prompts, and about ``tokens`` visual tokens at the most.

        The budget is of each picture; prompts of several pictures leave room for fewer prompts.
        """
        rng = Random(f"{self._seed}-{step}-{rank}")
        budget = rng.choices(list(self._budgets), list(self._budgets.values()))[0]
        size = min(most, max(1, tokens // budget))
        batch = []
        for name in rng.choices(list(self._sources), self._shares, k=size):
            questions = rng.choice(self._sources[name])
            chosen = rng.sample(questions, min(self._questions, len(questions)))
            batch.append(SampledPicture(tuple(chosen), budget, Random(rng.random())))
        while len(batch) > 1 and budget * sum(map(_pictures, batch)) > tokens:
            batch.pop()
        return batch


def _pictures(picture: SampledPicture) -> int:
    return max(1, len(picture.samples[0].views))


def mixed_probabilities(
    budgets: Mapping[int, float], policies: Sequence[Sequence[float]], floor: float
) -> list[float]:
    """Probabilities of budgets: ``floor`` of the recipe's weights, the rest as the policy has it.

    Without a floor the performer would forget the budgets that its allocator has given up, and the
    allocator could never find that they have become worth it.

    Parameters
    ----------
    budgets : mapping
        Relative weight of each budget.
    policies : sequence of sequence of float
        Probabilities of the budgets, one row a question about the picture; their mean counts.
    floor : float
        0 to 1.
    """
    whole = sum(budgets.values())
    columns = zip(*policies, strict=True)
    return [
        floor * weight / whole + (1 - floor) * sum(column) / len(policies)
        for weight, column in zip(budgets.values(), columns, strict=True)
    ]


def sample_budget(
    samples: Sequence[Sample],
    policy: BudgetPolicy,
    budgets: Mapping[int, float],
    floor: float,
    rng: Random,
) -> int:
    """Budget for the questions about one picture."""
    probabilities = mixed_probabilities(budgets, [policy(sample) for sample in samples], floor)
    return rng.choices(list(budgets), probabilities)[0]

"""Which pictures a step reads, at which budget; a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from napari_pathreason.training.recipe import DataRecipe
from napari_pathreason.training.samples import Sample


@dataclass(frozen=True, slots=True)
class Drawn:
    """Questions about one picture, a budget and a generator for the augmentation."""

    samples: tuple[Sample, ...]
    budget: int
    rng: Random


class Draw:
    """Draws batches so that a resumed run reads just what an undisturbed one would have read.

    All pictures of a step share one budget, so that no sequence is padded to another's length; a
    high budget takes fewer pictures, so that every step costs about the same.

    Parameters
    ----------
    samples : sequence of Sample
        Neighbours of one image and region are questions about one picture.
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
            pictures[sample.source, sample.image, sample.region].append(sample)
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

    def batch(self, step: int, rank: int, most: int, tokens: int) -> list[Drawn]:
        """At most ``most`` pictures, and about ``tokens`` visual tokens at the most."""
        rng = Random(f"{self._seed}-{step}-{rank}")
        budget = rng.choices(list(self._budgets), list(self._budgets.values()))[0]
        size = min(most, max(1, tokens // budget))
        drawn = []
        for name in rng.choices(list(self._sources), self._shares, k=size):
            questions = rng.choice(self._sources[name])
            chosen = rng.sample(questions, min(self._questions, len(questions)))
            drawn.append(Drawn(tuple(chosen), budget, Random(rng.random())))
        return drawn

"""Which samples a step reads, at which budgets; a pure function of (seed, step, rank)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from ._recipe import DataRecipe
from ._sample import Sample


class Draw:
    """Draws batches so that a resumed run reads just what an undisturbed one would have read.

    Parameters
    ----------
    samples : sequence of Sample
    weights : dict
        Relative weight of each source; a source without a weight counts by its size.
    budgets : dict
        Relative weight of each rung.
    seed : int
    """

    def __init__(
        self, samples: Sequence[Sample], data: DataRecipe, budgets: dict[int, float], seed: int
    ) -> None:
        sources: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            sources[sample.source].append(sample)
        self._sources = dict(sources)
        self._shares = [
            data.weights.get(name, len(items) / len(samples)) for name, items in sources.items()
        ]
        self._budgets = budgets
        self._seed = seed

    def batch(self, step: int, rank: int, size: int) -> list[tuple[Sample, int, Random]]:
        """Samples with a budget and a generator for their augmentation."""
        rng = Random(f"{self._seed}-{step}-{rank}")
        names = rng.choices(list(self._sources), self._shares, k=size)
        rungs = rng.choices(list(self._budgets), list(self._budgets.values()), k=size)
        return [
            (rng.choice(self._sources[name]), rung, Random(rng.random()))
            for name, rung in zip(names, rungs, strict=True)
        ]

"""Bootstrap over groups of pictures, for figures that are no sum of what single answers add.

`_measures` resamples ratios of sums. Areas under curves, agreement and F1 of classes are functions
of all answers at once: here they are functions of weights, how often each answer is drawn, so that
one formula gives the figure (all weights 1) and each of its resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ._predictions import Prediction

Weights = NDArray[np.float64]
"""How often each answer is drawn, (draws, answers)."""
Figure = Callable[[Weights], NDArray[np.float64]]
"""Values of a figure, (draws,); NaN where it means nothing."""

DRAWS, AT_ONCE = 1000, 100


def with_bounds(
    figure: Figure, items: Sequence[Prediction], seed: int, draws: int = DRAWS
) -> tuple[float, float, float] | None:
    """A figure and its 95 % bootstrap interval.

    Groups of pictures are drawn with replacement, each with all its answers; answers whose picture
    belongs to none are drawn one by one.

    Parameters
    ----------
    figure : callable
    items : sequence of Prediction
        Answers, in the order of the weights that ``figure`` takes.
    seed : int
    draws : int

    Returns
    -------
    tuple or None
        (value, low, high), both bounds NaN where all answers are of one group, or there is one
        alone, which tells nothing of others; None where the figure means nothing.
    """
    if not items:
        return None
    value = float(figure(np.ones((1, len(items))))[0])
    if np.isnan(value):
        return None
    units = unit_of(items)
    number = int(units.max()) + 1
    if number == 1:
        return value, float("nan"), float("nan")
    found = np.concatenate(list(_resampled(figure, units, number, seed, draws)))
    found = found[~np.isnan(found)]
    if not found.size:
        return value, float("nan"), float("nan")
    low, high = np.quantile(found, (0.025, 0.975))
    return value, float(low), float(high)


def unit_of(items: Sequence[Prediction]) -> NDArray[np.int64]:
    """What each answer is drawn with: the number of its group, or one of its own."""
    numbers: dict[str | int, int] = {}
    units = [numbers.setdefault(i.group or at, len(numbers)) for at, i in enumerate(items)]
    return np.array(units, np.int64)


def _resampled(
    figure: Figure, units: NDArray[np.int64], number: int, seed: int, draws: int
) -> Iterator[NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    for start in range(0, draws, AT_ONCE):
        count = min(AT_ONCE, draws - start)
        times = rng.multinomial(number, np.full(number, 1 / number), count).astype(np.float64)
        yield figure(times[:, units])


def group_figures(items: Sequence[Prediction], seed: int) -> dict[str, float]:
    """Figures in which each group of pictures (patient, slide) counts once, with their bounds.

    ``by_group`` is the mean over groups of their mean scores. ``by_vote`` is the share of groups
    whose most frequent answer is right, where the questions are choices and all of a group have one
    label; a tie is wrong. Empty where a picture has no group, or all are of one.
    """
    groups: dict[str, list[int]] = {}
    for at, item in enumerate(items):
        groups.setdefault(item.group, []).append(at)
    if "" in groups or len(groups) < 2:
        return {}
    scores, votes, shares = (np.zeros(len(items)) for _ in range(3))
    for members in groups.values():
        shares[members] = 1 / len(members)
        scores[members] = np.mean([items[at].score for at in members])
        votes[members] = _vote([items[at] for at in members])

    def mean_of(values: NDArray[np.float64]) -> Figure:
        def figure(weights: Weights) -> NDArray[np.float64]:
            each = weights * shares
            return np.asarray((each * values).sum(1) / each.sum(1))

        return figure

    figures = {"by_group": mean_of(scores)}
    if not np.isnan(votes).any():
        figures["by_vote"] = mean_of(votes)
    return bounded(figures, items, seed)


def _vote(items: Sequence[Prediction]) -> float:
    """1 where most answers of a group are its label, 0 where not; NaN where it has no one label."""
    if len({item.truth for item in items}) > 1 or not all(item.choices for item in items):
        return float("nan")
    answers = Counter(item.answer for item in items).most_common(2)
    tied = len(answers) > 1 and answers[0][1] == answers[1][1]
    return float(not tied and answers[0][0] == items[0].truth)


def bounded(
    figures: Mapping[str, Figure], items: Sequence[Prediction], seed: int
) -> dict[str, float]:
    """Figures by name, with ``_low`` and ``_high`` where there are bounds."""
    values: dict[str, float] = {}
    for name, figure in figures.items():
        if (found := with_bounds(figure, items, seed)) is not None:
            values[name] = found[0]
            if not np.isnan(found[1]):
                values |= {f"{name}_low": found[1], f"{name}_high": found[2]}
    return values

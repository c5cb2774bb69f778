"""A choice of windows on held-out questions, beside all windows alike, and what to doubt of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ._window_data import Tabled
from ._window_table import Picks

LEAST = 3
"""Held-out questions of a kind, about regions that hold something, that doubts may rest on."""


def means(questions: Sequence[Tabled], sets: Sequence[Picks]) -> tuple[float, float]:
    """Score and cost of a set of windows for each question, means over them.

    The cost is the share of the FLOPs of all windows at native size, without the choice itself.
    """
    pairs = list(zip(questions, sets, strict=True))
    score = sum(one.question.score(picks) for one, picks in pairs) / len(pairs)
    return score, sum(one.cost(picks) for one, picks in pairs) / len(pairs)


def choosing_cost(questions: Sequence[Tabled]) -> float:
    """What the choice itself costs, mean over questions, as `means`."""
    return sum(one.choosing for one in questions) / len(questions)


def uniform_sets(questions: Sequence[Tabled], level: int) -> list[Picks]:
    """All windows that cover each region at one level, as far as they have an answer there."""
    return [
        [(int(p), level) for p in one.question.scene.cover if one.readable[p, level]]
        for one in questions
    ]


def uniform_figures(questions: Sequence[Tabled]) -> dict[str, float]:
    """Score and cost where all windows are read alike, at each level: what must be beaten."""
    figures: dict[str, float] = {}
    for level in range(questions[0].readable.shape[1]):
        pairs = zip(questions, uniform_sets(questions, level), strict=True)
        some = [(one, picks) for one, picks in pairs if picks]
        if some:
            score, cost = means(*zip(*some, strict=True))
            figures |= {f"uniform_score_{level}": score, f"uniform_cost_{level}": cost}
    return {name: round(value, 5) for name, value in figures.items()}


def doubts_of_choice(questions: Sequence[Tabled], sets: Sequence[Picks]) -> list[str]:
    """Why a policy that reads these windows may not deserve to be used; a line each.

    Where all windows alike score as much for as little. And where regions that hold something are
    answered as if nothing were there, each of them, though all windows alike find something in
    some: of what a performer seldom finds, not to look costs least, as empty regions are right.

    Parameters
    ----------
    questions : sequence of Tabled
        Held out.
    sets : sequence of Picks
        What the policy reads for each.
    """
    score, cost = means(questions, sets)
    cost += choosing_cost(questions)
    levels = range(questions[0].readable.shape[1])
    alike = [every for level in levels if all(every := uniform_sets(questions, level))]
    doubts = []
    for every in alike:
        own_score, own_cost = means(questions, every)
        if own_score >= score and own_cost <= cost:
            tokens = questions[0].question.tokens[every[0][0][1]]
            doubts.append(
                f"all windows alike, by {tokens} tokens, score {own_score:.2f} of held-out "
                f"questions for {own_cost:.1%} of native windows, what was learnt {score:.2f} for "
                f"{cost:.1%}; --policy table serves as well"
            )
            break
    kinds: dict[str, list[int]] = defaultdict(list)
    for at, one in enumerate(questions):
        if one.question.holds:
            kinds[one.question.sample.kind].append(at)
    for kind, own in kinds.items():
        if len(own) < LEAST or any(questions[at].question.is_found(sets[at]) for at in own):
            continue
        found = max(
            (sum(questions[at].question.is_found(every[at]) for at in own) for every in alike),
            default=0,
        )
        if found:
            doubts.append(
                f"it has learnt not to look for {kind}: nothing is found in {len(own)} of "
                f"{len(own)} held-out regions that hold some, by all windows alike in {found}"
            )
    return doubts

"""Which windows of a large region are read, and how finely: policies that need no training.

A policy is asked in rounds: it sees the region's cheap look and what was read so far, and gives the
next windows, until it gives none. What it spends on choosing is counted. A learned allocator of
windows satisfies the same protocol, and is handed in by its model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import form_of, is_finding, is_vote
from napari_pathreason.types import Effort, Form, PolicyName, Query, Reading

from ._scene import Grid, Scene

FEW, USUAL = 16, 64
"""Visual tokens of a window that is read coarsely, and of one that is worth more."""
SHARE: Mapping[Effort, float] = {"low": 1 / 16, "balanced": 1 / 8, "high": 1 / 4}
"""Of the windows, where a policy chooses some and nobody set a budget."""
LEAST_WINDOWS = 2
ALLOWANCE: Mapping[Effort, int] = {"low": 1024, "balanced": 4096, "high": 16_384}
"""Visual tokens of a region of any size, where nobody set a budget."""
OVERLAP = 0.25
"""Share of a window, at the most, that one already chosen shows as well."""
LEARNED = "learned"
"""Name of a policy that a model has learnt."""
DOUBTFUL = 0.7
"""Confidence below which a window is read again."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A window to be read: level-0 pixels, most visual tokens, and why in plain words."""

    region: Region
    tokens: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """What a policy knows when it is asked.

    Parameters
    ----------
    query : Query
    scene : Scene
    budgets : tuple of int
        What a window may be read with, in visual tokens, rising; the last is its native size.
    left : int or None
        Visual tokens that may still be spent; None where nobody set a budget.
    effort : {"low", "balanced", "high"}
        How much to spend where nobody set a budget.
    small : tuple of str
        Labels of small things, case-folded.
    seed : int
    readings : tuple of Reading
        Of former rounds, each of a window by itself; the user's own windows are among them.
    taken : tuple of Region
        Windows that are read already, or that the user pinned.
    flops : tuple of float
        Of the model, for one answer about a window at each of ``budgets``; empty where they are
        not known.
    mpp : float or None
        um a level-0 pixel; None where that is not known.
    """

    query: Query
    scene: Scene
    budgets: tuple[int, ...]
    left: int | None
    effort: Effort = "balanced"
    small: tuple[str, ...] = ()
    seed: int = 0
    readings: tuple[Reading, ...] = ()
    taken: tuple[Region, ...] = ()
    flops: tuple[float, ...] = ()
    mpp: float | None = None

    @property
    def form(self) -> Form:
        """Form of the answer."""
        return form_of(self.query)

    def affordable(self, tokens: int) -> int:
        """Largest budget of a window up to ``tokens``; the smallest there is where none is."""
        return max((b for b in self.budgets if b <= tokens), default=self.budgets[0])

    @property
    def allowance(self) -> int:
        """Visual tokens to spend, those that the effort leaves where nobody set a budget."""
        if self.left is not None:
            return self.left
        spent = sum(reading.visual_tokens for reading in self.readings)
        return max(0, ALLOWANCE[self.effort] - spent)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy chose.

    Parameters
    ----------
    picks : tuple of Pick
        To be read next, in this order; none ends the reading.
    order : tuple of Region
        Windows worth reading that are not among them, in the order in which it would go on.
    flops : float
        What choosing cost.
    """

    picks: tuple[Pick, ...]
    order: tuple[Region, ...] = ()
    flops: float = 0.0


class Policy(Protocol):
    """Chooses windows of a region."""

    @property
    def name(self) -> str:
        """How results call it."""

    @property
    def rounds(self) -> int:
        """In how many it may choose; one that looks again wants an answer of each window."""

    def choose(self, state: State) -> Choice:
        """The windows of the next round; none where enough was read."""


def _free(state: State, places: NDArray[np.int64]) -> list[int]:
    """Places whose windows show little that was taken, or that stands before them."""
    grid = state.scene.grid
    of_grid, others = _taken_places(state)
    used = set(of_grid)
    free: list[int] = []
    for place in places[~_shows_much_of(others, places, grid)].tolist():
        if all(grid.overlap(place, near) <= OVERLAP for near in grid.around(place) if near in used):
            used.add(place)
            free.append(place)
    return free


def _taken_places(state: State) -> tuple[list[int], list[Region]]:
    """Places of the grid that were taken, and what was taken beside it."""
    grid = state.scene.grid
    if not state.taken:
        return [], []
    corners = map(tuple, grid.corners(np.arange(len(grid))).tolist())
    places = {(*corner, *grid.side): place for place, corner in enumerate(corners)}
    taken = [(places.get((one.x, one.y, one.width, one.height)), one) for one in state.taken]
    return (
        [place for place, _ in taken if place is not None],
        [one for place, one in taken if place is None],
    )


def _shows_much_of(
    others: Sequence[Region], places: NDArray[np.int64], grid: Grid
) -> NDArray[np.bool_]:
    """Which windows show more than `OVERLAP` of another region in theirs, bool (places,)."""
    shown = np.zeros(len(places), bool)
    x, y = grid.corners(places).T
    width, height = grid.side
    for other in others:
        across = np.minimum(x + width, other.x + other.width) - np.maximum(x, other.x)
        down = np.minimum(y + height, other.y + other.height) - np.maximum(y, other.y)
        shown |= across.clip(0) * down.clip(0) > OVERLAP * width * height
    return shown


def _unread_cover(state: State) -> list[int]:
    """Covering windows that were not taken as they are, in reading order."""
    grid, taken = state.scene.grid, set(state.taken)
    return [int(place) for place in state.scene.cover if grid.window(int(place)) not in taken]


def _choice(
    state: State, places: Sequence[int], rest: Iterable[int], tokens: int, why: Callable[[int], str]
) -> Choice:
    grid = state.scene.grid
    return Choice(
        tuple(Pick(grid.window(place), tokens, why(place)) for place in places),
        tuple(grid.window(place) for place in rest),
    )


def _spread(state: State, allowance: int, tokens: int) -> Choice:
    """The covering windows at ``tokens`` each; evenly spread ones where that is too much."""
    places = _unread_cover(state)
    if not state.readings:  # a budget below one such window is still spent
        tokens = min(tokens, max(allowance, 1))
    tokens = state.affordable(tokens)
    count = min(len(places), allowance // tokens)
    chosen = [places[int((i + 0.5) * len(places) / count)] for i in range(count)]
    picked = set(chosen)
    return _choice(state, chosen, [p for p in places if p not in picked], tokens, lambda _: "")


@dataclass(frozen=True, slots=True)
class Uniform:
    """Every window alike; where the budget is too small for all, as many, evenly spread.

    Parameters
    ----------
    tokens : int or None
        Of a window, where nobody set a budget; None: `FEW` for counts, else `USUAL`.
    """

    tokens: int | None = None
    name: str = "uniform"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        tokens = self.tokens or (FEW if state.form == "count" else USUAL)
        if state.left is not None:
            tokens = max(FEW, state.allowance // max(1, len(_unread_cover(state))))
        elif state.readings:
            return Choice((), _spread(state, 0, tokens).order)
        return _spread(state, state.allowance, tokens)


@dataclass(frozen=True, slots=True)
class Random:
    """Windows of the cover drawn by the seed: what any rule must beat."""

    name: str = "random"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        places = _unread_cover(state)
        order = np.random.default_rng(state.seed).permutation(len(state.scene.cover))
        whole = state.scene.cover[order]
        left = set(places)
        return _best_first(state, [int(p) for p in whole if int(p) in left], lambda _: "at random")


@dataclass(frozen=True, slots=True)
class Surprise:
    """The windows most unlike the others of the region first; see `Scene.surprise`."""

    name: str = "surprise"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        choice = _best_first(state, _by_surprise(state), _unlike(state))
        return replace(choice, flops=0.0 if state.readings else state.scene.flops)


def _by_surprise(state: State) -> list[int]:
    """Places in the order of their surprise, but for those that show much of one before them."""
    scores = state.scene.surprise
    places = np.flatnonzero(state.scene.worth)
    order = places[np.argsort(-scores[places], kind="stable")]
    return _free(state, order)


def _unlike(state: State) -> Callable[[int], str]:
    scores = state.scene.surprise
    return lambda place: f"unlike the others ({scores[place]:.1f})"


def _best_first(state: State, places: list[int], why: Callable[[int], str]) -> Choice:
    """The first of places in order, as many as the budget or the effort allows."""
    tokens = state.affordable(USUAL)
    if not state.readings:  # a budget below one usual window is still spent
        tokens = state.affordable(min(USUAL, max(state.allowance, 1)))
    count = state.allowance // tokens
    if state.left is None:
        share = round(SHARE[state.effort] * len(state.scene.cover))
        count = 0 if state.readings else min(count, max(LEAST_WINDOWS, share))
    return _choice(state, places[:count], places[count:], tokens, why)


@dataclass(frozen=True, slots=True)
class Again:
    """All windows coarsely, then those again whose answers were positive or doubtful, finer.

    Half of what may be spent is kept for the second round. Where the other half is too little for
    all, the windows most unlike the others are read.
    """

    name: str = "again"
    rounds: int = 2

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        latest = {reading.view.region: reading for reading in state.readings}
        if not latest:
            half = max(state.allowance // 2, min(state.allowance, FEW))
            coarsely = state.affordable(min(FEW, half))
            if half >= coarsely * len(state.scene.cover):
                return _spread(state, half, FEW)
            order = _by_surprise(state)
            count = half // coarsely
            choice = _choice(state, order[:count], order[count:], coarsely, _unlike(state))
            return replace(choice, flops=state.scene.flops)
        coarse = state.affordable(FEW)
        due = sorted(
            (r for r in latest.values() if r.view.tokens <= coarse and _asks_for_more(r, state)),
            key=lambda reading: -_promise(reading),
        )
        rest = tuple(map(state.scene.grid.window, _unread_cover(state)))
        if not due:
            return Choice((), rest) if state.left is None else _spread(state, state.allowance, FEW)
        tokens = state.affordable(max(USUAL, state.allowance // len(due)))
        if state.left is None:
            tokens = state.affordable(USUAL)
        count = min(len(due), state.allowance // tokens)
        picks = (Pick(r.view.region, tokens, _reason(r, state)) for r in due[:count])
        return Choice(tuple(picks), (*(r.view.region for r in due[count:]), *rest))


def is_positive(reading: Reading, query: Query) -> bool:
    """Whether the answer about a window says that something is there."""
    if query.task == "detection":
        return bool(reading.detections)
    return is_finding(query, reading.answer.text)


def _asks_for_more(reading: Reading, state: State) -> bool:
    if state.form == "count":
        return reading.confidence is None or reading.confidence < DOUBTFUL
    doubtful = not reading.answer.readable or (reading.confidence or 0.0) < DOUBTFUL
    return is_positive(reading, state.query) or (doubtful and state.form != "boxes")


def _promise(reading: Reading) -> float:
    """What is worth reading again comes first: many detections, then high confidence."""
    return len(reading.detections) + (reading.confidence or 0.0)


def _reason(reading: Reading, state: State) -> str:
    if state.form == "boxes":
        return f"{reading.view.name} showed {reading.answer.text}"
    if is_positive(reading, state.query) and state.form != "count":
        return f"{reading.view.name} said {reading.answer.text}"
    return f"{reading.view.name} was doubtful"


@dataclass(frozen=True, slots=True)
class Table:
    """A policy for each kind of answer, measured on composed regions; see docs/large_regions.md.

    Counts need all windows, coarsely, and so does what windows vote on (`tasks.is_vote`): those
    that are unlike the rest are no fair sample. What is present and its boxes are found by the
    first answers of all windows: a lesion need not look unlike the rest. A kind of tissue is that
    of the windows that do, and where something is, those point at best: all windows have a few that
    err.
    """

    name: str = "table"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        return self.policy(state).choose(state)

    @staticmethod
    def policy(state: State) -> Policy:
        """The policy that a question gets."""
        if state.form == "count" or is_vote(state.query):
            return Uniform(FEW)
        if state.form in ("boxes", "yes/no"):
            return Again()
        return Surprise()


@dataclass(frozen=True, slots=True)
class AllNative:
    """Every window at native size: a budget of ``native`` leaves nothing to choose."""

    name: str = "uniform"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        return _choice(state, _unread_cover(state), (), state.budgets[-1], lambda _: "")


@dataclass(frozen=True, slots=True)
class Listed:
    """Nothing beside the windows that the user listed."""

    name: str = "listed"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        return Choice((), tuple(map(state.scene.grid.window, _unread_cover(state))))


def policy_named(name: PolicyName, learned: Policy | None = None) -> Policy:
    """The policy of a name; ``auto`` and ``one_view`` choose no windows themselves.

    Parameters
    ----------
    name : PolicyName
    learned : Policy, optional
        What the model has learnt, which ``auto`` takes before the table.

    Raises
    ------
    QueryError
        If a learned policy is asked for and there is none.
    """
    if name == LEARNED and learned is None:
        raise QueryError(
            "the model has no learned allocator of windows; choose another policy, such as auto, "
            "or run `pathreason train allocator` with allocator.form: windows"
        )
    rules: tuple[Policy, ...] = (Uniform(), Random(), Surprise(), Again(), Table(), Listed())
    policies = {one.name: one for one in rules}
    return policies.get(name) or learned or Table()

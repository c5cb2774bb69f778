"""A learned allocator of windows: which windows of a large region to read, and how finely.

A window is taken where what it is expected to add is above what it costs: gain minus lambda times
its share of the FLOPs of all windows at native size, the best first. An effort is a lambda; so is a
budget, namely the lowest at which it lasts. No torch: the viewer and the shell plan with it before
a model is loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import LEARNED, OVERLAP, Allocator, Choice, Grid, Pick, Policy, State
from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_bytes, atomic_text
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, Effort, Query, Reading

from ._allocators import word_ids
from ._window_inputs import LEVELS, SAME, level_of, level_tokens, shares_of, window_inputs
from ._window_net import SHAPES, Weights, expected, window_net_flops, worth

SETTINGS = "windows_allocator.json"
"""File beside the weights that says at which lambdas an allocator of windows was trained."""
WEIGHTS = "windows_allocator.safetensors"
"""Its weights."""
EFFORTS: tuple[Effort, ...] = get_args(Effort)
_STEPS = 24  # of a bisection
_HIGHEST = 1e4
"""lambda above which nothing is taken but what must be."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What could be read of a region.

    Parameters
    ----------
    gains : float (windows, levels)
        Of reading a window, see `_window_net`.
    allowed : bool (windows, levels)
        Which may be read so.
    saturation : float
        rho, see `_window_net`.
    costs : float (levels,)
        Of one window, as a share of all windows at native size.
    tokens : tuple of int
        Of one window at each level.
    near : int (windows, others)
        Windows that show too much of a window to be read beside it, itself first; filled up with
        itself.
    """

    gains: NDArray[np.float64]
    allowed: NDArray[np.bool_]
    saturation: float
    costs: NDArray[np.float64]
    tokens: tuple[int, ...]
    near: NDArray[np.int64]


@dataclass(slots=True)
class Taking:
    """Windows that are taken one after another: places, levels, and what each adds."""

    picks: list[tuple[int, int]] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    gain: float = 0.0
    tokens: int = 0


def take(
    offer: Offer,
    lambda_: float,
    limit: float = math.inf,
    *,
    must: bool = False,
    more: Taking | None = None,
) -> Taking:
    """Take windows while what they add is above their cost, the best first.

    Parameters
    ----------
    offer : Offer
    lambda_ : float
        lambda: points of score that all windows at native size cost.
    limit : float
        Visual tokens, at the most.
    must : bool
        Whether at least one is taken, where the limit allows one.
    more : Taking, optional
        What is taken already; it is gone on with.
    """
    done = more or Taking()
    free = np.where(offer.allowed, worth(offer.gains, offer.saturation), -np.inf)
    for place, _ in done.picks:
        free[offer.near[place]] = -np.inf
    tokens, levels = np.array(offer.tokens), free.shape[1]
    while True:
        free[:, tokens > limit - done.tokens] = -np.inf
        factor = math.exp(-offer.saturation * max(done.gain, -1.0))
        net = factor * free - lambda_ * offer.costs
        best = int(net.argmax())
        place, level = divmod(best, levels)
        if net.flat[best] == -np.inf or (net.flat[best] <= 0 and not (must and not done.picks)):
            return done
        done.picks.append((place, level))
        done.added.append(factor * float(free[place, level]))
        done.gain += max(float(offer.gains[place, level]), -1.0)
        done.tokens += offer.tokens[level]
        free[offer.near[place]] = -np.inf


def take_within(offer: Offer, limit: int, *, must: bool = False) -> Taking:
    """Take windows at the lowest lambda at which they fit a limit; what is left buys more of them.

    Parameters as of `take`.
    """
    beyond = limit + max(offer.tokens)

    def fits(lambda_: float) -> bool:
        return take(offer, lambda_, beyond, must=must).tokens <= limit

    low, high = 0.0, 0.0
    if not fits(0.0):
        low, high = math.log(1e-5), math.log(_HIGHEST)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(math.exp(middle)) else (middle, high)
        low, high = math.exp(low), math.exp(high)
    return take(offer, low, limit, must=must, more=take(offer, high, limit, must=must))


def near_windows(grid: Grid) -> NDArray[np.int64]:
    """Of each window those that show more than `OVERLAP` of it, itself first; see `Offer.near`."""
    steps = [
        (dy, dx)
        for dy in (0, -1, 1)
        for dx in (0, -1, 1)
        if (1 - abs(dy) / 2) * (1 - abs(dx) / 2) > OVERLAP
    ]
    row, column = np.divmod(np.arange(len(grid)), grid.columns)
    near = []
    for dy, dx in steps:
        y, x = row + dy, column + dx
        there = (y >= 0) & (y < grid.rows) & (x >= 0) & (x < grid.columns)
        near.append(np.where(there, y * grid.columns + x, row * grid.columns + column))
    return np.stack(near, 1)


def window_costs(state: State, tokens: Sequence[int]) -> NDArray[np.float64]:
    """FLOPs of a window at each of some budgets, as a share of all windows at native size."""
    flops = state.flops or tuple(map(float, state.budgets))
    native = flops[-1] * max(1, len(state.scene.cover))
    return np.array([flops[state.budgets.index(one)] / native for one in tokens])


def readable_levels(state: State, tokens: Sequence[int]) -> NDArray[np.bool_]:
    """Which windows may be read at which level, bool (windows, levels).

    Nothing off the tissue, nothing that was read as finely, and little of what the user pinned.
    """
    scene, grid = state.scene, state.scene.grid
    allowed = np.repeat(scene.worth[:, None], len(tokens), 1)
    doubled = [level for level, one in enumerate(tokens) if one in tokens[:level]]
    allowed[:, doubled] = False
    read = {one.view.region: level_of(one, tokens) for one in state.readings}
    if read:
        shares = shares_of(grid, list(read))
        for at, level in enumerate(read.values()):
            allowed[shares[:, at] >= SAME, : level + 1] = False
    pinned = [region for region in state.taken if region not in read]
    if pinned:
        allowed[shares_of(grid, pinned).max(1) > OVERLAP] = False
    return allowed


@dataclass(frozen=True, slots=True)
class WindowAllocator:
    """Chooses windows by what a net expects them to add; satisfies `engine.Policy`.

    Where a budget is set, half of it is kept for a second round, which sees the first answers.

    Parameters
    ----------
    weights : mapping of str to float32 array
        As of `SHAPES`.
    lambdas : mapping of Effort to float
        lambda of each effort: points of score that all windows at native size cost.
    levels : tuple of int or None
        Visual tokens of a window that the net learnt, rising; None for native size.
    name : str
    """

    weights: Weights
    lambdas: Mapping[Effort, float]
    levels: tuple[int | None, ...] = LEVELS
    name: str = LEARNED
    rounds: int = 2

    def choose(self, state: State) -> Choice:
        """See `engine.Policy.choose`; its FLOPs are counted."""
        limit = state.allowance
        if limit < state.budgets[0] or not state.scene.worth.any():
            return Choice(())
        offer = self.offer(state)
        must = not state.readings and not state.taken
        if state.left is None:
            taken = take(offer, self.lambdas[state.effort], limit, must=must)
        else:
            if not state.readings:
                limit = max(limit // 2, min(limit, offer.tokens[0]))
            taken = take_within(offer, limit, must=must)
        grid = state.scene.grid
        answers = {one.view.region: one for one in state.readings}
        picks = tuple(
            Pick(grid.window(place), offer.tokens[level], _why(state, answers, place, gain))
            for (place, level), gain in zip(taken.picks, taken.added, strict=True)
        )
        rest = _in_order(offer, (place for place, _ in taken.picks))
        words, windows = len(word_ids(state.query)), len(grid)
        quarters = (grid.rows + 1) * (grid.columns + 1)
        look = 0.0 if state.readings else state.scene.flops
        flops = window_net_flops(quarters, windows, words) + look
        return Choice(picks, tuple(grid.window(place) for place in rest), flops)

    def offer(self, state: State) -> Offer:
        """What the net expects of each window that may be read."""
        tokens = level_tokens(state, self.levels)
        # a budget below the coarsest level is still spent
        tokens = tuple(state.affordable(min(one, state.allowance)) for one in tokens)
        gains, saturation = expected(self.weights, window_inputs(state, self.levels))
        allowed, costs = readable_levels(state, tokens), window_costs(state, tokens)
        near = near_windows(state.scene.grid)
        return Offer(gains, allowed, float(saturation[0]), costs, tokens, near)


def _why(state: State, answers: Mapping[Region, Reading], place: int, gain: float) -> str:
    """What a window is read for, in plain words."""
    region = state.scene.grid.window(place)
    one = answers.get(region)
    first = "" if one is None else f"{one.view.name} said {one.answer.text}; "
    if gain < 0.005:
        return f"{first}expected to add little"
    return f"{first}expected to add {gain:.2f} to the score"


def _in_order(offer: Offer, picked: Iterable[int]) -> list[int]:
    """Places in which it would go on: by gain per cost, such as show little twice."""
    added = worth(offer.gains, offer.saturation)
    per_cost = np.where(offer.allowed, added / offer.costs, -np.inf).max(1)
    blocked = np.zeros(len(per_cost), bool)
    for place in picked:
        blocked[offer.near[place]] = True
    order = []
    for place in np.argsort(-per_cost, kind="stable").tolist():
        if per_cost[place] == -np.inf:
            break
        if not blocked[place]:
            order.append(place)
            blocked[offer.near[place]] = True
    return order


@dataclass(frozen=True, slots=True)
class WithWindows:
    """An allocator beside one of windows; satisfies `engine.WindowsAllocator`.

    Parameters
    ----------
    allocator : Allocator
        Of regions that are read as one picture.
    windows : Policy
    """

    allocator: Allocator
    windows: Policy

    @property
    def overview_budget(self) -> int:
        """See `engine.Allocator`."""
        return self.allocator.overview_budget

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """See `engine.Allocator.allocate`."""
        return self.allocator.allocate(overview, query, native, effort)


def save_windows(folder: Path, allocator: WindowAllocator) -> None:
    """Write ``windows_allocator.safetensors`` and ``.json`` beside a performer's weights.

    A process that dies in between leaves none, never the weights of one with another's settings.
    """
    from safetensors.numpy import save

    settings = {
        "levels": ["native" if one is None else one for one in allocator.levels],
        "lambdas": dict(allocator.lambdas),
    }
    weights = {name: np.ascontiguousarray(allocator.weights[name]) for name in SHAPES}
    with atomic_bytes(folder / WEIGHTS) as file:  # named last: this is what loading looks for
        file.write(save(weights))
        (folder / WEIGHTS).unlink(missing_ok=True)
        with atomic_text(folder / SETTINGS) as text:
            text.write(json.dumps(settings, indent=2) + "\n")


def load_windows(folder: Path) -> WindowAllocator | None:
    """Read what `save_windows` wrote; None where there is nothing.

    Raises
    ------
    ModelError
        If a file is damaged or is of another net.
    """
    if not (folder / WEIGHTS).is_file():
        return None
    from safetensors.numpy import load_file

    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
        levels = tuple(None if one == "native" else int(one) for one in settings["levels"])
        lambdas = {effort: float(settings["lambdas"][effort]) for effort in EFFORTS}
        shapes = {name: array.shape for name, array in weights.items()}
    except Exception as error:  # whatever a damaged file makes json and safetensors raise
        raise ModelError(
            "the allocator of windows of the model cannot be read; fetch the whole model"
        ) from error
    if shapes != dict(SHAPES) or len(levels) != SHAPES["gain.bias"][0]:
        raise ModelError("the allocator of windows is of another version; fetch a newer model")
    return WindowAllocator(weights, lambdas, levels)

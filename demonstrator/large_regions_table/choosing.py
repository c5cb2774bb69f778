"""Ways to read a large region, by name: a policy, and what it may spend.

``uniform@x16`` spends 16 visual tokens for each window that covers the region's tissue, spread as
the policy likes; ``one_view@64`` 64 in all; ``surprise@low`` what an effort leaves, ``@native``
every window at native size. A budget by windows is the same share of regions of any size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import Choice, Pick, Policy, State, policy_named
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Box, Region
from napari_pathreason.training import Sample
from napari_pathreason.types import Budget, Effort, GenerationSettings, PolicyName, Request

MAX_NEW_TOKENS = 192
"""Tokens of a reply, at the most; as in `pathreason evaluate`."""
COARSE, FINE = 16, 64
"""Visual tokens of a window that the oracle reads coarsely, and of one that holds something."""
LEAST_GAIN = 0.01
"""Of one thing, what a window must show besides to be worth reading to the oracle."""
_WAY = re.compile(r"(?P<policy>\w+)@(?:x(?P<each>\d+)|(?P<tokens>\d+)|(?P<word>\w+))")
NAMES = (
    "one_view",
    "uniform",
    "random",
    "surprise",
    "again",
    "table",
    "learned",
    "oracle",
    "native_windows",
)


@dataclass(frozen=True, slots=True)
class Way:
    """A policy and what it may spend.

    Parameters
    ----------
    policy : str
        One of `NAMES`.
    budget : int, "auto" or "native"
        Visual tokens in all.
    each : int or None
        Visual tokens for each window of the cover, in place of ``budget``.
    effort : {"low", "balanced", "high"}
        Where the budget is ``auto``.
    """

    policy: str
    budget: Budget = "auto"
    each: int | None = None
    effort: Effort = "balanced"

    @property
    def spent(self) -> str:
        """What it may spend, as it is written: ``x16``, ``64``, ``low``, ``native``."""
        if self.each is not None:
            return f"x{self.each}"
        return self.effort if self.budget == "auto" else str(self.budget)

    def __str__(self) -> str:
        return f"{self.policy}@{self.spent}"

    def request(self, sample: Sample, region: Region, seed: int = 0) -> Request:
        """What the engine is asked."""
        names: dict[str, PolicyName] = {
            "one_view": "one_view",
            "random": "random",
            "surprise": "surprise",
            "again": "again",
            "table": "table",
            "learned": "learned",
        }
        return Request(
            region,
            sample.query,
            self.budget,
            GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, seed=seed),
            self.effort,
            names.get(self.policy, "uniform"),
        )

    def own_policy(self, sample: Sample, learned: Policy | None = None) -> Policy | None:
        """What chooses in place of the policy that the request names; None where that does.

        Parameters
        ----------
        sample : Sample
        learned : Policy, optional
            What the model has learnt of windows.

        Raises
        ------
        QueryError
            If it is asked for and there is none.
        """
        if self.policy == "oracle":
            inner: Policy = Oracle(things(sample))
        elif self.each is not None:
            inner = policy_named(self.request(sample, Region(0, 0, 1, 1)).policy, learned)
        else:
            return None
        return inner if self.each is None else EachWindow(inner, self.each)


def read_way(words: str) -> Way:
    """A way from its name, such as ``again@x16``.

    Raises
    ------
    QueryError
        If there is none of that name.
    """
    match = _WAY.fullmatch(words)
    if words == "native_windows":
        return Way(words, "native")
    if match is None or match["policy"] not in NAMES[:-1]:
        raise QueryError(
            f"{words} is no way to read a region; give {', '.join(NAMES[:-1])} with @64, @x16 (for "
            "each window), @low, @balanced, @high or @native, or native_windows"
        )
    policy, word = match["policy"], match["word"]
    efforts: tuple[Effort, ...] = get_args(Effort)
    for effort in efforts:
        if word == effort:
            return Way(policy, effort=effort)
    if word is not None and word != "native":
        raise QueryError(f"{words}: an effort is {', '.join(efforts)}")
    if match["each"]:
        if policy == "one_view":
            raise QueryError(f"{words}: one view has no windows; give it tokens, as in one_view@64")
        return Way(policy, each=int(match["each"]))
    return Way(policy, "native" if word else int(match["tokens"]))


@dataclass(frozen=True, slots=True)
class EachWindow:
    """Another policy, at a budget for each window of the cover.

    Parameters
    ----------
    policy : Policy
    tokens : int
        Visual tokens for each window; what is saved on one goes to others.
    """

    policy: Policy
    tokens: int

    @property
    def name(self) -> str:
        """That of the policy."""
        return self.policy.name

    @property
    def rounds(self) -> int:
        """Those of the policy."""
        return self.policy.rounds

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        spent = sum(reading.visual_tokens for reading in state.readings)
        whole = self.tokens * len(state.scene.cover)
        return self.policy.choose(replace(state, left=max(0, whole - spent)))


def things(sample: Sample) -> tuple[Box, ...]:
    """Boxes of what a question is about, level-0 pixels; nuclei are boxes of one pixel.

    Of several kinds of areas those that the question names; all of them where it names none.
    """
    facts = sample.facts
    if sample.task == "detection":
        return tuple(Box.from_corners(*area.corners) for area in sample.boxes)
    if facts.centres:
        return tuple(Box(x, y, 1, 1) for x, y in facts.centres)
    words = " ".join((sample.question, *sample.choices)).casefold()
    named = [label for label in facts.known if label.casefold() in words]
    areas = [area for area in facts.areas if area.label in named or not named]
    return tuple(Box.from_corners(*area.corners) for area in areas)


@dataclass(frozen=True, slots=True)
class Oracle:
    """Knows the labels: reads the windows that show the most of what is asked about.

    A bound on choosing, not on answering. Counts need the other windows as well, coarsely. Where
    there is nothing, the window least unlike the others is read.

    Parameters
    ----------
    things : tuple of Box
        Level-0 pixels.
    """

    things: tuple[Box, ...]
    name: str = "oracle"
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `Policy.choose`."""
        if state.readings:
            return Choice(())
        if state.form == "count":
            return self._all(state)
        scene, tokens = state.scene, state.affordable(FINE)
        places = [place for place in range(len(scene.grid)) if scene.worth[place]]
        windows = [scene.grid.window(place) for place in places]
        shares = _shares(windows, self.things)
        picks: list[Pick] = []
        while shares.size and len(picks) < state.allowance // tokens:
            gains = shares.sum(1)
            best = int(gains.argmax())
            if gains[best] < LEAST_GAIN:
                break
            picks.append(Pick(windows[best], tokens, "holds what is asked about"))
            shares = np.minimum(shares, 1 - shares[best])  # what is shown already gains no more
        if not picks and places:
            dullest = min(range(len(places)), key=lambda at: float(scene.surprise[places[at]]))
            picks.append(Pick(windows[dullest], tokens, "holds nothing"))
        return Choice(tuple(picks))

    def _all(self, state: State) -> Choice:
        """Every window of the cover, those that hold the most finely as far as the budget goes."""
        grid = state.scene.grid
        coarse, fine = state.affordable(COARSE), state.affordable(FINE)
        cover = [grid.window(int(place)) for place in state.scene.cover]
        held = _shares(cover, self.things).sum(1)
        order = np.argsort(-held, kind="stable")[: state.allowance // coarse].tolist()
        spare = state.allowance - coarse * len(order)
        finely = {at for at in order[: spare // max(1, fine - coarse)] if held[at] > 0}
        picks = (Pick(cover[at], fine if at in finely else coarse) for at in sorted(order))
        return Choice(tuple(picks))


def _shares(windows: Sequence[Region], things: Sequence[Box]) -> NDArray[np.float64]:
    """Share of each thing that each window shows, float64 (windows, things)."""
    a = np.array([window.box.corners for window in windows]).reshape(-1, 1, 4)
    b = np.array([thing.corners for thing in things]).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    areas = np.array([thing.area for thing in things])
    shares: NDArray[np.float64] = np.maximum(sides, 0).prod(axis=-1) / areas
    return shares

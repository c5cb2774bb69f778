"""What a policy knows of a region, as the net of windows reads it. NumPy alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import Grid, State, is_positive
from napari_pathreason.geometry import Region
from napari_pathreason.types import Form, Reading

from ._allocators import word_ids
from ._window_net import BUDGET_LEVELS, FLAGS, QUARTER_PX, QUESTION, WindowInputs

FORMS: tuple[Form, ...] = get_args(Form)
LEVELS: tuple[int | None, ...] = (16, 64, None)
"""Visual tokens of a window at each level that the net knows, rising; None for native size."""
SAME = 1 - 1e-9
"""Share from which on two windows are one."""
_BESIDE = [(dy, dx) for dy in (-2, 0, 2) for dx in (-2, 0, 2) if (dy, dx) != (0, 0)]


def level_tokens(state: State, levels: Sequence[int | None]) -> tuple[int, ...]:
    """Visual tokens of a window at each level, of what the state's budgets hold."""
    highest = state.budgets[-1]
    return tuple(highest if one is None else state.affordable(one) for one in levels)


def window_inputs(state: State, levels: Sequence[int | None] = LEVELS) -> WindowInputs[Any]:
    """What the net reads of one question."""
    scene, grid = state.scene, state.scene.grid
    words = word_ids(state.query)
    flags, question = read_features(state, levels)
    parts, around = grid_indices(grid)
    worth = scene.worth / max(1, scene.worth.sum())
    return WindowInputs(
        quarters=scene.quarters(QUARTER_PX).reshape(-1, QUARTER_PX, QUARTER_PX, 3),
        parts=parts,
        around=around,
        owner=np.zeros(len(grid), np.int64),
        mean=worth[None].astype(np.float32),
        looks=_looks(state),
        flags=flags,
        words=np.array([words]),
        shares=np.full((1, len(words)), 1 / len(words), np.float32),
        question=question[None],
    )


def grid_indices(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of each window (windows, 4), and the windows beside it (windows, 8).

    At a border the window itself stands for one that is not there.
    """
    row, column = np.divmod(np.arange(len(grid)), grid.columns)
    across = grid.columns + 1
    parts = [(row + dy) * across + column + dx for dy in (0, 1) for dx in (0, 1)]
    around = []
    for dy, dx in _BESIDE:
        y, x = row + dy, column + dx
        there = (y >= 0) & (y < grid.rows) & (x >= 0) & (x < grid.columns)
        around.append(np.where(there, y * grid.columns + x, row * grid.columns + column))
    return np.stack(parts, 1), np.stack(around, 1)


def _looks(state: State) -> NDArray[np.float32]:
    """Colour and texture of each window, its surprise, its tissue, its size."""
    scene = state.scene
    width, height = scene.grid.side
    side = (width * height) ** 0.5
    micrometres = 0.0 if state.mpp is None else np.log2(side * state.mpp / 256)
    alike = [float(state.mpp is not None), micrometres, np.log2(side / 512)]
    columns = [scene.looks, scene.surprise[:, None], scene.tissue[:, None]]
    columns.append(np.broadcast_to(alike, (len(scene.grid), len(alike))))
    return np.concatenate(columns, 1).astype(np.float32)


def read_features(
    state: State, levels: Sequence[int | None]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What was read of each window, and of the region.

    Returns
    -------
    tuple
        float (windows, FLAGS): at which level the window itself was read, and what its answer was;
        then the share of it that windows show, such with a finding, the same times confidence, and
        such without. And float (QUESTION,): the form of the question, and what the readings say
        together.
    """
    grid, query = state.scene.grid, state.query
    flags = np.zeros((len(grid), FLAGS), np.float32)
    cover = max(1, len(state.scene.cover))
    question = np.zeros(QUESTION, np.float32)
    question[FORMS.index(state.form)] = 1
    question[5] = np.log2(cover) / 4
    latest = list({one.view.region: one for one in state.readings}.values())
    if not latest:
        return flags, question
    found = np.array([is_positive(one, query) for one in latest], np.float32)
    confident = np.array([one.confidence or 0.0 for one in latest], np.float32)
    shares = shares_of(grid, [one.view.region for one in latest])
    tokens = level_tokens(state, levels)
    for at, one in enumerate(latest):
        own = np.flatnonzero(shares[:, at] >= SAME)
        if not own.size:  # a window of the user's, off the grid
            continue
        flags[own, level_of(one, tokens)] = 1
        flags[own, 3] = 2 * found[at] - 1
        flags[own, 4] = confident[at]
        flags[own, 5] = float(not one.answer.readable)
        flags[own, 6] = np.log1p(_number(one)) / 3
    flags[:, 7] = shares.max(1)
    flags[:, 8] = (shares * found).max(1)
    flags[:, 9] = (shares * found * confident).max(1)
    flags[:, 10] = (shares * (1 - found)).max(1)
    texts = Counter(one.answer.text for one in latest)
    question[6:] = (
        1.0,
        min(2.0, len(latest) / cover),
        found.mean(),
        (found * confident).max(),
        confident.min(),
        max(texts.values()) / len(latest),
    )
    return flags, question


def level_of(reading: Reading, tokens: Sequence[int]) -> int:
    """Level at which a window was read."""
    read = reading.view.tokens
    return next((at for at, most in enumerate(tokens) if read <= most), BUDGET_LEVELS - 1)


def shares_of(grid: Grid, regions: Sequence[Region]) -> NDArray[np.float32]:
    """Share of each window that each region shows, float (windows, regions)."""
    places = range(len(grid))
    own = np.array([grid.window(place).box.corners for place in places])[:, None]
    others = np.array([one.box.corners for one in regions]).reshape(1, -1, 4)
    sides = np.minimum(own[..., 2:], others[..., 2:]) - np.maximum(own[..., :2], others[..., :2])
    shares = np.maximum(sides, 0).prod(axis=-1) / (grid.side[0] * grid.side[1])
    return np.asarray(shares, np.float32)


def _number(reading: Reading) -> float:
    """What a window counts, or how many boxes it holds."""
    text = reading.answer.text
    if text.isdecimal() and len(text) < 6:
        return float(text)
    return float(len(reading.detections))

"""What a policy knows of a region, as the net of windows reads it. NumPy alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.engine import Grid, State, is_positive
from napari_pathreason.geometry import Region
from napari_pathreason.types import Form, Query, Reading

from ._allocators import word_ids
from ._window_net import BUDGET_LEVELS, FLAGS, QUARTER_PX, QUESTION, WindowInputs

FORMS: tuple[Form, ...] = get_args(Form)
LEVELS: tuple[int | None, ...] = (16, 64, None)
"""Visual tokens of a window at each level that the net knows, rising; None for native size."""
SAME = 1 - 1e-6
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


@dataclass(frozen=True, slots=True)
class WindowAnswers:
    """What some windows answered, as numbers.

    Parameters
    ----------
    level : int (answers,)
        At which each window was read.
    found : float (answers,)
        1 where something is there, else 0.
    confident : float (answers,)
        Confidence, 0 where it is not known.
    unreadable : float (answers,)
        1 where the reply could not be read, else 0.
    number : float (answers,)
        What it counts, or how many boxes it holds.
    texts : tuple of str
    """

    level: NDArray[np.int64]
    found: NDArray[np.float32]
    confident: NDArray[np.float32]
    unreadable: NDArray[np.float32]
    number: NDArray[np.float32]
    texts: tuple[str, ...]

    def only(self, places: Sequence[int]) -> WindowAnswers:
        """Some of them."""
        at = list(places)
        return WindowAnswers(
            self.level[at],
            self.found[at],
            self.confident[at],
            self.unreadable[at],
            self.number[at],
            tuple(self.texts[i] for i in at),
        )


def answers_of(query: Query, readings: Sequence[Reading], tokens: Sequence[int]) -> WindowAnswers:
    """What readings say, as numbers; ``tokens`` are a window's at each level."""
    return WindowAnswers(
        np.array([level_of(one, tokens) for one in readings], np.int64),
        np.array([is_positive(one, query) for one in readings], np.float32),
        np.array([one.confidence or 0.0 for one in readings], np.float32),
        np.array([not one.answer.readable for one in readings], np.float32),
        np.array([_number(one) for one in readings], np.float32),
        tuple(one.answer.text for one in readings),
    )


def read_features(
    state: State, levels: Sequence[int | None]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What was read of each window, and of the region; see `answer_features`."""
    grid = state.scene.grid
    latest = list({one.view.region: one for one in state.readings}.values())
    answers = answers_of(state.query, latest, level_tokens(state, levels))
    shares = shares_of(grid, [one.view.region for one in latest])
    return answer_features(state.form, len(state.scene.cover), shares, answers)


def answer_features(
    form: Form, cover: int, shares: NDArray[np.float32], answers: WindowAnswers
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What was read of each window, and of the region.

    Parameters
    ----------
    form : Form
        Of the question.
    cover : int
        Windows that cover the region's tissue.
    shares : float (windows, answers)
        Of each window, what each window that was read shows of it.
    answers : WindowAnswers
        Each of another window.

    Returns
    -------
    tuple
        float (windows, FLAGS): at which level the window itself was read, and what its answer was;
        then the share of it that windows show, such with a finding, the same times confidence, and
        such without. And float (QUESTION,): the form of the question, and what the readings say
        together.
    """
    flags = np.zeros((len(shares), FLAGS), np.float32)
    question = np.zeros(QUESTION, np.float32)
    question[FORMS.index(form)] = 1
    question[5] = np.log2(max(1, cover)) / 4
    if not answers.texts:
        return flags, question
    found, confident = answers.found, answers.confident
    window, at = np.nonzero(shares >= SAME)  # none of a window of the user's, off the grid
    flags[window, answers.level[at]] = 1
    flags[window, 3] = 2 * found[at] - 1
    clipped = confident.clip(0.05, 0.95)  # log-odds up to 3: doubt and confidence lie far apart
    odds = np.log(clipped / (1 - clipped))
    flags[window, 4] = odds[at]
    flags[window, 5] = answers.unreadable[at]
    flags[window, 6] = np.log1p(answers.number[at]) / 3
    flags[:, 7] = shares.max(1)
    flags[:, 8] = (shares * found).max(1)
    flags[:, 9] = (shares * found * confident).max(1)
    flags[:, 10] = (shares * (1 - found)).max(1)
    question[6:] = (
        1.0,
        min(2.0, len(answers.texts) / max(1, cover)),
        found.mean(),
        (found * confident).max(),
        odds.min(),
        max(Counter(answers.texts).values()) / len(answers.texts),
    )
    return flags, question


def level_of(reading: Reading, tokens: Sequence[int]) -> int:
    """Level at which a window was read."""
    read = reading.view.tokens
    return next((at for at, most in enumerate(tokens) if read <= most), BUDGET_LEVELS - 1)


def shares_of(grid: Grid, regions: Sequence[Region]) -> NDArray[np.float32]:
    """Share of each window that each region shows, float (windows, regions)."""
    own = grid.boxes[:, None]
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

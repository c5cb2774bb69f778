"""What the net of windows learns from, as tensors: what it sees of regions, what windows said.

Quarters of a region's windows are kept as bytes and once for all questions about it; what was read
is put on top for each trajectory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_pathreason.engine import Grid
from napari_pathreason.models import (
    LEVELS,
    SHAPES,
    WindowAnswers,
    WindowInputs,
    answer_features,
    answers_of,
    gains,
    near_windows,
    new_weights,
    see,
    shares_of,
    window_costs,
    window_inputs,
    window_net_flops,
    word_ids,
)

from ._window_table import Picks, WindowQuestion


class WindowNet(nn.Module):
    """The weights of `models.gains` as parameters."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        for name, array in new_weights(seed).items():
            self.register_parameter(_plain(name), nn.Parameter(torch.from_numpy(array)))

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """By their names in `models.SHAPES`."""
        return {name: getattr(self, _plain(name)) for name in SHAPES}

    def as_arrays(self) -> dict[str, NDArray[np.float32]]:
        """The same as NumPy arrays."""
        return {name: one.detach().cpu().numpy().copy() for name, one in self.weights.items()}


def _plain(name: str) -> str:
    return name.replace(".", "_")


@dataclass(frozen=True, slots=True)
class Tabled:
    """A question of the table as the net reads it.

    Parameters
    ----------
    question : WindowQuestion
    inputs : WindowInputs
        Before anything is read, NumPy arrays.
    near : int (windows, others)
        See `models.near_windows`.
    shares : float (windows, windows)
        Of each window, what each other shows of it.
    costs : float (levels,)
        See `models.window_costs`.
    readable : bool (windows, levels)
    answers : WindowAnswers
        Of all readings.
    places : mapping
        Where the answer of (place, level) stands among them.
    choosing : float
        What choosing costs in two rounds, as a share of all windows at native size; 0 where that
        is counted in tokens, as of a model on a server.
    """

    question: WindowQuestion
    inputs: WindowInputs[NDArray[Any]]
    near: NDArray[np.int64]
    shares: NDArray[np.float32]
    costs: NDArray[np.float64]
    readable: NDArray[np.bool_]
    answers: WindowAnswers
    places: Mapping[tuple[int, int], int]
    choosing: float

    def features(self, picks: Picks) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What was read of each window and of the region, once these windows were."""
        latest = dict(picks)
        answers = self.answers.only([self.places[pick] for pick in latest.items()])
        cover = len(self.question.scene.cover)
        return answer_features(
            self.question.state.form, cover, self.shares[:, list(latest)], answers
        )

    def finer(self, picks: Picks) -> NDArray[np.bool_]:
        """What may be read in another round: as `models.readable_levels`."""
        allowed = self.readable.copy()
        for place, level in picks:
            allowed[place, : level + 1] = False
        return allowed

    def cost(self, picks: Picks) -> float:
        """FLOPs of windows, as a share of all windows at native size."""
        return float(sum(self.costs[level] for _, level in picks))


def tabled(questions: Sequence[WindowQuestion]) -> list[Tabled]:
    """Questions as the net reads them; what they share is kept once."""
    quarters: dict[int, NDArray[np.uint8]] = {}
    of_grids: dict[tuple[Any, ...], tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
    every = []
    for question in questions:
        scene, grid = question.scene, question.scene.grid
        inputs = window_inputs(question.state, LEVELS)
        own = quarters.setdefault(id(scene), inputs.quarters)
        values = {name: getattr(inputs, name) for name in inputs.names()} | {"quarters": own}
        form = grid.rows, grid.columns, grid.side, grid.region.width, grid.region.height
        if form not in of_grids:
            of_grids[form] = near_windows(grid), _shares_within(grid)
        near, shares = of_grids[form]
        readings = list(question.readings.items())
        state = question.state
        native = state.flops[-1] * max(1, len(scene.cover)) if state.flops else math.inf
        words = len(word_ids(question.query))
        look = 2 * window_net_flops(len(own), len(grid), words) + scene.flops
        every.append(
            Tabled(
                question,
                WindowInputs(**values),
                near,
                shares,
                window_costs(state, question.tokens),
                question.readable,
                answers_of(question.query, [one for _, one in readings], question.tokens),
                {pick: at for at, (pick, _) in enumerate(readings)},
                look / native,
            )
        )
    return every


def _shares_within(grid: Grid) -> NDArray[np.float32]:
    return shares_of(grid, [grid.window(place) for place in range(len(grid))])


class Batch:
    """Some questions, whose quarters are seen once for all trajectories.

    Parameters
    ----------
    questions : sequence of Tabled
    """

    def __init__(self, questions: Sequence[Tabled]) -> None:
        self.questions = questions
        sizes = [len(one.inputs.quarters) for one in questions]
        self._starts = np.cumsum([0, *sizes])[:-1]
        self._windows = max(len(one.inputs.parts) for one in questions)
        self.most = max(len(one.question.scene.cover) for one in questions)

    def see(self, net: WindowNet, rng: Random | None = None) -> torch.Tensor:
        """Features of all quarters; ``rng`` mirrors them, as tissue has no upside."""
        pixels = np.concatenate([one.inputs.quarters for one in self.questions])
        values = torch.from_numpy(pixels).float() / 127.5 - 1
        if rng is not None:
            values = values.flip([axis for axis in (1, 2) if rng.random() < 0.5])
            values = values.swapaxes(1, 2) if rng.random() < 0.5 else values
        features: torch.Tensor = see(net.weights, values)
        return features

    def gains(
        self, net: WindowNet, features: torch.Tensor, of: Sequence[int], read: Sequence[Picks]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What each window adds for some rows, filled up to as many windows.

        Parameters
        ----------
        net : WindowNet
        features : tensor
            As `see` gave them.
        of : sequence of int
            Which question each row is.
        read : sequence of Picks
            What each row has read.

        Returns
        -------
        tuple
            Float tensors (rows, windows, levels) and (rows,), as of `models.gains`.
        """
        inputs, places = self._inputs(of, read)
        each, saturation = gains(net.weights, features, inputs)
        filled = torch.cat([each, each.new_zeros(1, each.shape[1])])
        return filled[places], saturation

    def _inputs(
        self, of: Sequence[int], read: Sequence[Picks]
    ) -> tuple[WindowInputs[torch.Tensor], torch.Tensor]:
        """Inputs of all rows, and where each row's windows stand among them."""
        rows = [self.questions[at] for at in of]
        sizes = [len(one.inputs.parts) for one in rows]
        ends = np.cumsum([0, *sizes])
        total = int(ends[-1])
        places = np.full((len(rows), self._windows), total)
        mean = np.zeros((len(rows), total), np.float32)
        most = max(one.inputs.words.shape[1] for one in rows)
        words = np.zeros((len(rows), most), np.int64)
        shares = np.zeros((len(rows), most), np.float32)
        features = [
            one.features(picks) if picks else (one.inputs.flags, one.inputs.question[0])
            for one, picks in zip(rows, read, strict=True)
        ]
        for row, one in enumerate(rows):
            start, end, count = ends[row], ends[row + 1], one.inputs.words.shape[1]
            places[row, : sizes[row]] = np.arange(start, end)
            mean[row, start:end] = one.inputs.mean[0]
            words[row, :count], shares[row, :count] = one.inputs.words[0], one.inputs.shares[0]
        parts = [one.inputs.parts + self._starts[at] for one, at in zip(rows, of, strict=True)]
        around = [one.inputs.around + ends[row] for row, one in enumerate(rows)]
        arrays = {
            "quarters": np.zeros(0, np.uint8),  # they are seen already
            "parts": np.concatenate(parts),
            "around": np.concatenate(around),
            "owner": np.repeat(np.arange(len(rows)), sizes),
            "mean": mean,
            "looks": np.concatenate([one.inputs.looks for one in rows]),
            "flags": np.concatenate([flags for flags, _ in features]),
            "words": words,
            "shares": shares,
            "question": np.stack([question for _, question in features]),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return WindowInputs(**tensors), torch.from_numpy(places)

    def near(self, of: Sequence[int]) -> torch.Tensor:
        """`Tabled.near` of some rows, filled up."""
        return self._filled([self.questions[at].near for at in of])

    def costs(self, of: Sequence[int]) -> torch.Tensor:
        """`Tabled.costs` of some rows."""
        return torch.from_numpy(np.stack([self.questions[at].costs for at in of])).float()

    def allowed(self, of: Sequence[int], read: Sequence[Picks]) -> torch.Tensor:
        """What each row may read, filled up with what it may not."""
        rows = zip(of, read, strict=True)
        return self._filled([self.questions[at].finer(picks) for at, picks in rows])

    def _filled(self, arrays: Sequence[NDArray[Any]]) -> torch.Tensor:
        filled = np.zeros((len(arrays), self._windows, arrays[0].shape[1]), arrays[0].dtype)
        for row, array in enumerate(arrays):
            filled[row, : len(array)] = array
        return torch.from_numpy(filled)

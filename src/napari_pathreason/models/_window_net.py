"""A light net that says what each window of a region is expected to add to the answer.

Written once for NumPy arrays and for tensors alike: what is trained with torch chooses windows in
the viewer and the shell without it. Only functions that both know by one name are used.

A window is seen as its four quarters of 32 x 32 px, its neighbours, and how far it is from the
region's mean; beside them stand colour and texture, what the question says, and what was read so
far. The answer about several windows is worth less than the sum of its parts, so gains saturate:
a set whose gains sum up to G is expected to add (1 - exp(-rho G)) / rho to the score, with rho from
1 up, so that nothing adds more than a whole answer (`worth`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._allocators import WORD_BUCKETS

QUARTER_PX = 32
"""Side of a quarter of a window as the net sees it, pixels."""
LOOKS, FLAGS, QUESTION = 19, 11, 12
"""Numbers of features of a window, of what was read of it, and of the question and the region."""
BUDGET_LEVELS = 3
"""Budgets that a window may be read at, rising."""
_CHANNELS, _SHRINKS = (24, 48, 48), (4, 2, 2)
_WORD, _HIDDEN = 16, 64
_TOGETHER = 4096  # quarters that are turned into floats at once

A = TypeVar("A")
"""A NumPy array or a tensor."""
Weights = Mapping[str, Any]
"""Parameters by name, all arrays or all tensors."""


@dataclass(frozen=True, slots=True)
class WindowInputs(Generic[A]):
    """What the net reads of some questions, one behind another.

    Parameters
    ----------
    quarters : uint8 (quarters, 32, 32, 3)
        Half windows of all regions.
    parts : int (windows, 4)
        Of each window, its quarters.
    around : int (windows, 8)
        Of each window, those beside it.
    owner : int (windows,)
        Question that each window belongs to.
    mean : float (questions, windows)
        Weights of the mean over a region's windows that are worth reading.
    looks : float (windows, LOOKS)
    flags : float (windows, FLAGS)
    words : int (questions, words)
        `word_ids`, filled up with 0.
    shares : float (questions, words)
        Weight of each word, 0 of what was filled up.
    question : float (questions, QUESTION)
    """

    quarters: A
    parts: A
    around: A
    owner: A
    mean: A
    looks: A
    flags: A
    words: A
    shares: A
    question: A

    def names(self) -> tuple[str, ...]:
        """Names of its arrays."""
        return tuple(field.name for field in fields(self))


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    before = 3
    for number, (channels, shrink) in enumerate(zip(_CHANNELS, _SHRINKS, strict=True)):
        yield f"see.{number}", (shrink * shrink * before, channels)
        yield f"see.{number}.bias", (channels,)
        before = channels
    yield "words", (WORD_BUCKETS, _WORD)
    for name, size in (("own", before), ("unlike", before), ("near", before)):
        yield f"window.{name}", (size, _HIDDEN)
    yield "window.looks", (LOOKS, _HIDDEN)
    yield "window.flags", (FLAGS, _HIDDEN)
    for part in ("shift", "gate"):
        yield f"{part}.words", (_WORD, _HIDDEN)
        yield f"{part}.question", (QUESTION, _HIDDEN)
    yield "window.bias", (_HIDDEN,)
    yield "hidden", (_HIDDEN, _HIDDEN)
    yield "hidden.bias", (_HIDDEN,)
    yield "gain", (_HIDDEN, BUDGET_LEVELS)
    yield "gain.bias", (BUDGET_LEVELS,)
    yield "saturation.words", (_WORD, 1)
    yield "saturation.question", (QUESTION, 1)
    yield "saturation.bias", (1,)


SHAPES: Mapping[str, tuple[int, ...]] = dict(_shapes())
"""Shape of each parameter."""


def new_weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights to train from: He's for what is multiplied, small gains."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in SHAPES.items():
        scale = 0.0 if name.endswith("bias") else (2 / shape[0]) ** 0.5
        if name == "words":
            scale = 1.0
        elif name.startswith(("gain", "gate", "saturation")):
            scale *= 0.1
        weights[name] = (rng.standard_normal(shape) * scale).astype(np.float32)
    return weights


def see(weights: Weights, quarters: Any) -> Any:
    """Features of half windows, float (quarters, features).

    Parameters
    ----------
    weights : mapping
    quarters : float (quarters, 32, 32, 3)
        Values -1 to 1.
    """
    features, side = quarters, QUARTER_PX
    count = quarters.shape[0]
    for number, (channels, shrink) in enumerate(zip(_CHANNELS, _SHRINKS, strict=True)):
        side //= shrink
        cut = features.reshape(count, side, shrink, side, shrink, -1).swapaxes(2, 3)
        flat = cut.reshape(count * side * side, -1)
        flat = flat @ weights[f"see.{number}"] + weights[f"see.{number}.bias"]
        features = flat.clip(min=0).reshape(count, side, side, channels)
    return features.reshape(count, side * side, -1).mean(1)


def gains(weights: Weights, features: Any, inputs: WindowInputs[Any]) -> tuple[Any, Any]:
    """What reading each window is expected to add.

    Parameters
    ----------
    weights : mapping
    features : float (quarters, features)
        As `see` gives it.
    inputs : WindowInputs

    Returns
    -------
    tuple
        Gains, float (windows, BUDGET_LEVELS), and rho of each question, from 1 up, float
        (questions,): see `worth`.
    """
    w, owner = weights, inputs.owner
    own = features[inputs.parts].mean(1)
    unlike = own - (inputs.mean @ own)[owner]
    near = own[inputs.around].mean(1)
    words = (w["words"][inputs.words] * inputs.shares[..., None]).sum(1)
    shift = words @ w["shift.words"] + inputs.question @ w["shift.question"]
    gate = 1 + words @ w["gate.words"] + inputs.question @ w["gate.question"]
    hidden = (
        own @ w["window.own"]
        + unlike @ w["window.unlike"]
        + near @ w["window.near"]
        + inputs.looks @ w["window.looks"]
        + inputs.flags @ w["window.flags"]
        + shift[owner]
        + w["window.bias"]
    )
    hidden = _bent(hidden) * gate[owner]
    hidden = _bent(hidden @ w["hidden"] + w["hidden.bias"])
    root = words @ w["saturation.words"] + inputs.question @ w["saturation.question"]
    root = root + w["saturation.bias"]
    return hidden @ w["gain"] + w["gain.bias"], 1 + (root * root)[:, 0]


def _bent(values: Any) -> Any:
    """A rectifier that leaks, so that no unit is lost for good."""
    return 0.9 * values.clip(min=0) + 0.1 * values


def worth(gain: Any, saturation: Any, exp: Any = np.exp) -> Any:
    """What a gain adds to an answer that nothing was added to: ``(1 - exp(-rho g)) / rho``.

    After a sum of gains G it adds ``exp(-rho G)`` times as much.

    Parameters
    ----------
    gain : float or array or tensor
        Taken to be -1 at the least.
    saturation : float or array or tensor
        rho, above 0.
    exp : callable
        `numpy.exp`, or torch's.
    """
    return (1 - exp(-saturation * gain.clip(min=-1))) / saturation


def expected(
    weights: Weights, inputs: WindowInputs[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`gains` of NumPy arrays, many quarters one batch after another."""
    parts = []
    for first in range(0, len(inputs.quarters), _TOGETHER):
        quarters = inputs.quarters[first : first + _TOGETHER].astype(np.float32) / 127.5 - 1
        parts.append(see(weights, quarters))
    each, saturation = gains(weights, np.concatenate(parts), inputs)
    return each.astype(np.float64), saturation.astype(np.float64)


def window_net_flops(quarters: int, windows: int, words: int) -> float:
    """FLOPs of one look at a region; a multiply-add counts as two."""
    total, side, before = 0.0, QUARTER_PX, 3
    for channels, shrink in zip(_CHANNELS, _SHRINKS, strict=True):
        side //= shrink
        total += quarters * side * side * shrink * shrink * before * channels
        before = channels
    each = (3 * before + LOOKS + FLAGS + _HIDDEN + BUDGET_LEVELS) * _HIDDEN
    question = (words + 2 * _HIDDEN + 1) * _WORD + QUESTION * (2 * _HIDDEN + 1)
    return 2 * (total + windows * each + question)

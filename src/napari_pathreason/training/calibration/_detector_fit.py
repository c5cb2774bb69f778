"""Fitting what the training pictures look like; `models` judges other pictures by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.models import OODDetector, Wording, size_class

AXES = 48
SHRINK = 0.1
"""Share of each covariance that goes to its diagonal."""
IN_DISTRIBUTION_SHARE = 0.99
"""Share of the val pictures of each kind that shall not be strange."""
DETAIL_SHARE = 0.995
"""Share of the known pictures of each kind and size that shall have detail enough."""
FEWEST = 60
"""Pictures of a kind and size below which the size next to it stands in."""

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture: place of its domain, visual tokens, features, colours, detail."""

    kind: int
    tokens: int
    features: Array
    colours: Array
    detail: float


def fit_detector(
    train: Sequence[Seen],
    val: Sequence[Seen],
    domains: tuple[str, ...],
    wording: Wording,
    signature: Array,
) -> OODDetector:
    """Distributions from ``train``, reaches from ``val``; every kind must be among ``train``."""
    looks = np.stack([one.features for one in train]).astype(np.float64)
    centre, spread = looks.mean(0), looks.std(0) + 1e-6
    axes = _main_axes((looks - centre) / spread)
    sizes = len(BUDGET_GRID)
    means = np.full((len(domains), sizes, axes.shape[1]), np.nan)
    whiten = np.zeros((len(domains), sizes, axes.shape[1], axes.shape[1]))
    threshold = np.full((len(domains), sizes), np.nan)
    colour_mean, colour_whiten = np.zeros((len(domains), 6)), np.zeros((len(domains), 6, 6))
    colour_threshold = np.zeros(len(domains))
    middles, leasts = np.full_like(threshold, np.nan), np.full_like(threshold, np.nan)
    for kind in range(len(domains)):
        known = [one for one in train if one.kind == kind]
        other = [one for one in val if one.kind == kind] or known
        place, size = _places(known, centre, spread, axes)
        counts = np.bincount(size, minlength=sizes)
        kept = np.flatnonzero(counts >= min(FEWEST, counts.max()))
        for one in kept:
            means[kind, one] = place[size == one].mean(0)
            # few tokens vary more than many: a covariance of all sizes would hide what is strange
            whiten[kind, one] = _whitening(place[size == one] - means[kind, one])
        place, size = _places(other, centre, spread, axes)
        nearest = kept[np.abs(size[:, None] - kept).argmin(1)]
        differences = place - means[kind, nearest]
        apart = np.linalg.norm(np.einsum("nij,nj->ni", whiten[kind, nearest], differences), axis=1)
        threshold[kind, kept] = _reaches(apart, nearest, kept)
        for one in kept:
            # all that are known: of `val` alone a hundredth would be a picture or two
            levels = [s.detail for s in (*known, *other) if size_class(s.tokens) == one]
            middles[kind, one] = np.median(levels)
            leasts[kind, one] = np.quantile(levels, 1 - DETAIL_SHARE)
        seen = np.stack([one.colours for one in known]).astype(np.float64)
        colour_mean[kind] = seen.mean(0)
        colour_whiten[kind] = _whitening(seen - seen.mean(0))
        seen = np.stack([one.colours for one in other]) - colour_mean[kind]
        apart = np.linalg.norm(seen @ colour_whiten[kind].T, axis=1)
        colour_threshold[kind] = np.quantile(apart, IN_DISTRIBUTION_SHARE)
    return OODDetector(
        domains,
        wording,
        centre=centre.astype(np.float32),
        spread=spread.astype(np.float32),
        axes=axes.astype(np.float32),
        means=means.astype(np.float32),
        whiten=whiten.astype(np.float32),
        threshold=threshold.astype(np.float32),
        colour_mean=colour_mean.astype(np.float32),
        colour_whiten=colour_whiten.astype(np.float32),
        colour_threshold=colour_threshold.astype(np.float32),
        detail=middles.astype(np.float32),
        detail_least=leasts.astype(np.float32),
        signature=signature,
    )


def _main_axes(looks: Matrix) -> Matrix:
    """Main axes, (numbers, axes); the signs are fixed so that a repetition gives the same."""
    _, vectors = np.linalg.eigh(looks.T @ looks / len(looks))
    axes = vectors[:, ::-1][:, : min(AXES, max(len(looks) // 4, 1))]
    return axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)


def _places(
    seen: Sequence[Seen], centre: Matrix, spread: Matrix, axes: Matrix
) -> tuple[Matrix, NDArray[np.int64]]:
    looks = np.stack([one.features for one in seen])
    return ((looks - centre) / spread) @ axes, np.array([size_class(one.tokens) for one in seen])


def _whitening(apart: Matrix) -> Matrix:
    """W with |W d|^2 = d C^-1 d, of differences (n, axes) from the mean."""
    covariance = apart.T @ apart / max(len(apart) - 1, 1)
    diagonal = np.diag(np.diag(covariance)) + 1e-6 * np.eye(len(covariance))
    shrunk = (1 - SHRINK) * covariance + SHRINK * diagonal
    whitening: Matrix = np.linalg.cholesky(np.linalg.inv(shrunk)).T
    return whitening


def _reaches(apart: Matrix, size: NDArray[np.int64], kept: NDArray[np.int64]) -> Matrix:
    """Each size's own median, all times one factor: a quantile of few pictures would be chance."""
    middle = np.median(apart)
    medians = np.array(
        [np.median(apart[size == one]) if (size == one).sum() >= 5 else middle for one in kept]
    )
    relative = apart / np.maximum(medians[np.searchsorted(kept, size)], 1e-9)
    found: Matrix = np.maximum(medians, 1e-9) * np.quantile(relative, IN_DISTRIBUTION_SHARE)
    return found

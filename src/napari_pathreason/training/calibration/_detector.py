"""The OOD detector: features of training pictures, and their distribution by domain and size.

`models` scores other pictures by it. Features are those of the vision encoder at the budget that a
picture is read at, colours and detail those of its pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID, plan
from napari_pathreason.geometry import Region
from napari_pathreason.models import (
    LEAST_TOKENS,
    FeatureHook,
    OODDetector,
    VLMPerformer,
    Wording,
    colours,
    detail,
    learn_wording,
    size_class,
    words_of,
)
from napari_pathreason.slides import open_slide
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.convert import CANNOT_TELL
from napari_pathreason.training.samples import Pictures, Sample

UNNAMED = "user"
"""Source of samples that name none; see `Sample`."""

BUDGETS = tuple(budget for budget in BUDGET_GRID if budget <= 256)
"""Each picture is read at one of them, drawn anew for each."""

SIDES = (128, 192, 256, 384, 512, 768, 1024)
"""Sides of the regions of a slide, level-0 pixels."""

BLANK = 0.1
"""Mean optical density below which a region of a slide is glass, not tissue."""

AXES = 48
"""Main axes of the features, at the most."""
SHRINK = 0.1
"""Share of each covariance that goes to its diagonal."""
IN_DISTRIBUTION_SHARE = 0.99
"""Share of the val pictures of each kind that shall be in distribution."""
DETAIL_SHARE = 0.995
"""Share of all pictures of each kind and size that shall have detail enough."""
FEWEST = 60
"""Pictures of a kind and size below which the size next to it stands in."""

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]
Reader = Callable[[tuple[int, int]], NDArray[np.uint8]]
"""Gives a region at a size (width, height)."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """A picture: place of its domain, visual tokens, features, colours, detail."""

    domain: int
    tokens: int
    features: Array
    colours: Array
    detail: float


def domain_of(sample: Sample, names: Mapping[str, str]) -> str:
    """What the images of a sample's source are called.

    Parameters
    ----------
    sample : Sample
    names : mapping of str to str
        Domains by source, as a recipe states them; others go by the name of their source, and
        samples that name no source are ``training`` images.
    """
    if sample.source in names:
        return names[sample.source]
    return "training" if sample.source == UNNAMED else sample.source.replace("_", " ")


def own(samples: Sequence[Sample]) -> list[Sample]:
    """Samples whose question suits their picture; the others ask of something else on purpose."""
    return [sample for sample in samples if sample.topic != CANNOT_TELL]


def learn_domains(
    samples: Sequence[Sample], names: Mapping[str, str]
) -> tuple[tuple[str, ...], Wording]:
    """Kinds of pictures, and how each kind is asked about."""
    domains = tuple(sorted({domain_of(sample, names) for sample in samples}))
    questions = {(domains.index(domain_of(s, names)), s.query) for s in samples}
    words = [(domain, words_of(TASKS[q.task].messages(q))) for domain, q in questions]
    return domains, learn_wording(words, len(domains))


def sample_features(
    performer: VLMPerformer,
    hook: FeatureHook,
    samples: Sequence[Sample],
    pictures: Pictures,
    domains: tuple[str, ...],
    names: Mapping[str, str],
    most: int,
    seed: int,
) -> Iterator[ImageFeatures]:
    """At most ``most`` pictures of a domain, evenly from its sources, each at one budget.

    ``names`` are those that `learn_domains` made the domains of.
    """
    sources: dict[str, dict[str, dict[object, Sample]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        if (domain := domain_of(sample, names)) in domains:
            for place in (*(view.region for view in sample.views),) or (sample.region,):
                shown = sample.model_copy(update={"region": place, "views": ()})
                sources[domain][sample.source].setdefault((sample.image, place), shown)
    for domain in sorted(sources):
        share = -(-most // len(sources[domain]))
        for source, by_picture in sorted(sources[domain].items()):
            rng = Random(f"{seed}-{source}")
            for sample in rng.sample(list(by_picture.values()), min(share, len(by_picture))):
                region = pictures.region(sample)

                def read(
                    size: tuple[int, int], sample: Sample = sample, region: Region = region
                ) -> NDArray[np.uint8]:
                    return pictures.read(sample, region, size)

                image = _features(performer, hook, domains.index(domain), region, read, rng)
                if image is not None:
                    yield image


def slide_features(
    performer: VLMPerformer, hook: FeatureHook, file: Path, most: int, seed: int
) -> Iterator[ImageFeatures]:
    """Regions of a slide with tissue in them, of several sizes and budgets; their domain is -1."""
    rng = Random(f"{seed}-{file.name}")
    with open_slide(file) as slide:
        for _ in range(4 * most):
            side = min(rng.choice(SIDES), slide.width, slide.height)
            x, y = rng.randint(0, slide.width - side), rng.randint(0, slide.height - side)
            region = Region(x, y, side, side)

            def read(size: tuple[int, int], region: Region = region) -> NDArray[np.uint8]:
                return slide.read_region(region, size).pixels

            image = _features(performer, hook, -1, region, read, rng)
            if image is None or image.colours[:3].mean() < BLANK:
                continue
            yield image
            most -= 1
            if not most:
                return


def _features(
    performer: VLMPerformer,
    hook: FeatureHook,
    domain: int,
    region: Region,
    read: Reader,
    rng: Random,
) -> ImageFeatures | None:
    """None where the region is too small to tell anything."""
    dims = performer.info.dims
    readings = [plan(region, budget, dims.token_px) for budget in BUDGETS]
    readings = [reading for reading in readings if reading.tokens >= LEAST_TOKENS]
    if not readings:
        return None
    reading = rng.choice(readings)
    pixels = read(reading.size)
    features = hook.at(pixels, dims.patch, dims.merge, performer.normalisation)
    return ImageFeatures(domain, reading.tokens, features, colours(pixels), detail(pixels))


def fit_detector(
    train: Sequence[ImageFeatures],
    val: Sequence[ImageFeatures],
    domains: tuple[str, ...],
    wording: Wording,
    signature: Array,
) -> OODDetector:
    """Distributions from ``train``, thresholds from ``val``; every domain must be among ``train``.

    Parameters
    ----------
    train, val : sequence of ImageFeatures
    domains : tuple of str
    wording : Wording
        How each domain is asked about.
    signature : float32 array
        Of the encoder (`FeatureHook.signature`).
    """
    features = np.stack([one.features for one in train]).astype(np.float64)
    centre, spread = features.mean(0), features.std(0) + 1e-6
    axes = _main_axes((features - centre) / spread)
    sizes = len(BUDGET_GRID)
    means = np.full((len(domains), sizes, axes.shape[1]), np.nan)
    whiten = np.zeros((len(domains), sizes, axes.shape[1], axes.shape[1]))
    threshold = np.full((len(domains), sizes), np.nan)
    colour_mean, colour_whiten = np.zeros((len(domains), 6)), np.zeros((len(domains), 6, 6))
    colour_threshold = np.zeros(len(domains))
    middles, leasts = np.full_like(threshold, np.nan), np.full_like(threshold, np.nan)
    for domain in range(len(domains)):
        fitting = [one for one in train if one.domain == domain]
        other = [one for one in val if one.domain == domain] or fitting
        place, size = _places(fitting, centre, spread, axes)
        counts = np.bincount(size, minlength=sizes)
        own = np.flatnonzero(counts >= min(FEWEST, counts.max()))  # sizes of a distribution of own
        for one in own:
            means[domain, one] = place[size == one].mean(0)
            # few tokens vary more than many: a covariance of all sizes would hide what is unlike
            whiten[domain, one] = _whitening(place[size == one] - means[domain, one])
        place, size = _places(other, centre, spread, axes)
        nearest = own[np.abs(size[:, None] - own).argmin(1)]
        differences = place - means[domain, nearest]
        distances = np.linalg.norm(
            np.einsum("nij,nj->ni", whiten[domain, nearest], differences), axis=1
        )
        threshold[domain, own] = _thresholds(distances, nearest, own)
        for one in own:
            # all that there are: of `val` alone a hundredth would be a picture or two
            levels = [s.detail for s in (*fitting, *other) if size_class(s.tokens) == one]
            middles[domain, one] = np.median(levels)
            leasts[domain, one] = np.quantile(levels, 1 - DETAIL_SHARE)
        shades = np.stack([one.colours for one in fitting]).astype(np.float64)
        colour_mean[domain] = shades.mean(0)
        colour_whiten[domain] = _whitening(shades - shades.mean(0))
        shades = np.stack([one.colours for one in other]) - colour_mean[domain]
        distances = np.linalg.norm(shades @ colour_whiten[domain].T, axis=1)
        colour_threshold[domain] = np.quantile(distances, IN_DISTRIBUTION_SHARE)
    arrays = {
        "centre": centre,
        "spread": spread,
        "axes": axes,
        "means": means,
        "whiten": whiten,
        "threshold": threshold,
        "colour_mean": colour_mean,
        "colour_whiten": colour_whiten,
        "colour_threshold": colour_threshold,
        "detail": middles,
        "detail_least": leasts,
    }
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return OODDetector(domains, wording, **arrays, signature=signature)


def _main_axes(features: Matrix) -> Matrix:
    """Main axes, (numbers, axes); the signs are fixed so that a repetition gives the same."""
    _, vectors = np.linalg.eigh(features.T @ features / len(features))
    axes = vectors[:, ::-1][:, : min(AXES, max(len(features) // 4, 1))]
    return axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)


def _places(
    images: Sequence[ImageFeatures], centre: Matrix, spread: Matrix, axes: Matrix
) -> tuple[Matrix, NDArray[np.int64]]:
    """Place along the axes, (images, axes), and size class of each image."""
    features = np.stack([one.features for one in images])
    return ((features - centre) / spread) @ axes, np.array([size_class(i.tokens) for i in images])


def _whitening(differences: Matrix) -> Matrix:
    """W with |W d|^2 = d C^-1 d, of differences (n, axes) from the mean."""
    covariance = differences.T @ differences / max(len(differences) - 1, 1)
    diagonal = np.diag(np.diag(covariance)) + 1e-6 * np.eye(len(covariance))
    shrunk = (1 - SHRINK) * covariance + SHRINK * diagonal
    whitening: Matrix = np.linalg.cholesky(np.linalg.inv(shrunk)).T
    return whitening


def _thresholds(distances: Matrix, size: NDArray[np.int64], own: NDArray[np.int64]) -> Matrix:
    """Each size's own median, all times one factor: a quantile of few pictures would be noise."""
    middle = np.median(distances)
    medians = np.array(
        [np.median(distances[size == one]) if (size == one).sum() >= 5 else middle for one in own]
    )
    relative = distances / np.maximum(medians[np.searchsorted(own, size)], 1e-9)
    thresholds: Matrix = np.maximum(medians, 1e-9) * np.quantile(relative, IN_DISTRIBUTION_SHARE)
    return thresholds

"""Looking at training pictures: what `fit_detector` is fitted on, and slides held against it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID, plan
from napari_pathreason.geometry import Region
from napari_pathreason.models import (
    LEAST_TOKENS,
    FeatureHook,
    VLMPerformer,
    Wording,
    colours,
    detail,
    learn_wording,
    words_of,
)
from napari_pathreason.slides import open_slide
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.convert import CANNOT_TELL
from napari_pathreason.training.samples import Pictures, Sample

from ._detector_fit import Seen

UNNAMED = "user"
"""Source of samples that name none; see `Sample`."""

BUDGETS = tuple(budget for budget in BUDGET_GRID if budget <= 256)
"""Each picture is read at one of them, drawn anew for each."""

SIDES = (128, 192, 256, 384, 512, 768, 1024)
"""Sides of the regions of a slide, level-0 pixels."""

BLANK = 0.1
"""Mean optical density below which a region of a slide is glass, not tissue."""

Reader = Callable[[tuple[int, int]], NDArray[np.uint8]]


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
    """Domains that the samples show, and how each is asked about; ``names`` as of `domain_of`."""
    domains = tuple(sorted({domain_of(sample, names) for sample in samples}))
    questions = {(domains.index(domain_of(s, names)), s.query) for s in samples}
    asked = [(domain, words_of(TASKS[q.task].messages(q))) for domain, q in questions]
    return domains, learn_wording(asked, len(domains))


def see(
    performer: VLMPerformer,
    features: FeatureHook,
    samples: Sequence[Sample],
    pictures: Pictures,
    domains: tuple[str, ...],
    names: Mapping[str, str],
    most: int,
    seed: int,
) -> Iterator[Seen]:
    """At most ``most`` pictures of a domain, evenly from its sources, each at one budget.

    ``names`` are those that `learn_domains` made the domains of.
    """
    sources: dict[str, dict[str, dict[object, Sample]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        if (domain := domain_of(sample, names)) in domains:
            sources[domain][sample.source].setdefault((sample.image, sample.region), sample)
    for domain in sorted(sources):
        share = -(-most // len(sources[domain]))
        for source, found in sorted(sources[domain].items()):
            rng = Random(f"{seed}-{source}")
            for sample in rng.sample(list(found.values()), min(share, len(found))):
                region = pictures.region(sample)
                read = _reader(pictures, sample, region)
                if seen := _seen(performer, features, domains.index(domain), region, read, rng):
                    yield seen


def see_slide(
    performer: VLMPerformer, features: FeatureHook, file: Path, most: int, seed: int
) -> Iterator[Seen]:
    """Regions of a slide with tissue in them, of several sizes and budgets; their kind is -1."""
    rng = Random(f"{seed}-{file.name}")
    with open_slide(file) as slide:
        for _ in range(4 * most):
            side = min(rng.choice(SIDES), slide.width, slide.height)
            x, y = rng.randint(0, slide.width - side), rng.randint(0, slide.height - side)
            region = Region(x, y, side, side)

            def read(size: tuple[int, int], region: Region = region) -> NDArray[np.uint8]:
                return slide.read_region(region, size).pixels

            seen = _seen(performer, features, -1, region, read, rng)
            if seen is None or seen.colours[:3].mean() < BLANK:
                continue
            yield seen
            most -= 1
            if not most:
                return


def _reader(pictures: Pictures, sample: Sample, region: Region) -> Reader:
    return lambda size: pictures.read(sample, region, size)


def _seen(
    performer: VLMPerformer,
    features: FeatureHook,
    kind: int,
    region: Region,
    read: Reader,
    rng: Random,
) -> Seen | None:
    """None where the region is too small to tell anything."""
    dims = performer.info.dims
    readings = [plan(region, budget, dims.token_px) for budget in BUDGETS]
    readings = [reading for reading in readings if reading.tokens >= LEAST_TOKENS]
    if not readings:
        return None
    reading = rng.choice(readings)
    pixels = read(reading.size)
    seen = features.at(pixels, dims.patch, dims.merge, performer.normalisation)
    return Seen(kind, reading.tokens, seen, colours(pixels), detail(pixels))

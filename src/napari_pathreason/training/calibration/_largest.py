"""Up to how many visual tokens of one picture a model's replies can still be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from napari_pathreason.engine import Job, Performer, ask
from napari_pathreason.geometry import Region
from napari_pathreason.models import FixedAllocator
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.training.evaluation import pick
from napari_pathreason.training.samples import Pictures, Sample
from napari_pathreason.types import GenerationSettings, Request

SIDES = (8, 12, 16, 18, 20, 22, 24, 26, 28, 32)
"""Sides of the pictures that are tried, in visual tokens."""
PER_TOPIC = 2
"""Questions of each kind at each size."""
HOLDS = 0.95
"""Share of the replies that must be readable at a size and at all below."""
MAX_NEW_TOKENS = 192
"""Tokens written, at the most; what is longer than any answer of the training is no answer."""


@dataclass(frozen=True, slots=True)
class Held:
    """Of so many questions at a size, in visual tokens, how many replies could be read."""

    tokens: int
    questions: int
    readable: int


def readable_by_size(
    performer: Performer, samples: Sequence[Sample], pictures: Pictures, seed: int
) -> list[Held]:
    """Ask about pictures larger and larger, until the replies fall apart.

    A picture is filled with the sample's own, over and over: whatever its content, a reply that
    keeps its form can be read. Samples with views are left out: it is of one picture.

    Parameters
    ----------
    performer : Performer
    samples : sequence of Sample
        With known answers.
    pictures : Pictures
    seed : int
    """
    questions = pick([sample for sample in samples if not sample.views], PER_TOPIC, seed)
    held = []
    for side in tqdm(SIDES, unit="size"):
        pixels = side * performer.info.dims.token_px
        readable = 0
        for sample in questions:
            slide = slide_from_arrays([_filled(sample, pictures, pixels)], "sample")
            region = Region(0, 0, pixels, pixels)
            settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, zoom=False)
            job = Job(
                slide,
                Request(region, sample.query, "native", settings, policy="one_view"),
                bounded=False,
            )
            answer = ask(job, performer, FixedAllocator()).answer
            readable += answer.readable and answer.well_formed
        held.append(Held(side**2, len(questions), readable))
        if readable < len(questions) / 2:
            break
    return held


def largest(held: Sequence[Held]) -> int | None:
    """Visual tokens up to which all sizes hold; None where not even the smallest does."""
    most = None
    for size in held:
        if size.readable < HOLDS * size.questions:
            break
        most = size.tokens
    return most


def _filled(sample: Sample, pictures: Pictures, side: int) -> NDArray[np.uint8]:
    """A square of so many pixels, of the sample's region over and over."""
    region = pictures.region(sample)
    own = pictures.read(sample, region, (region.width, region.height))
    times = (-(-side // region.height), -(-side // region.width), 1)
    return np.tile(own, times)[:side, :side]

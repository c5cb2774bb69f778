"""Confidence of what is said of large regions: answers that windows were put together to, fitted.

Such an answer is that of the most telling window, or of most of them, and has its confidence: too
much of it where a few of many windows err. By how much differs by kind of question, so a region's
answer has a scale on top of that of its windows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from napari_pathreason.engine import (
    Job,
    Performer,
    ask,
    asks_windows,
    region_confidence,
)
from napari_pathreason.errors import SlideError
from napari_pathreason.models import FixedAllocator
from napari_pathreason.tasks import TASKS, form_of, is_right, topic_names
from napari_pathreason.training.evaluation import expected_calibration_error
from napari_pathreason.training.samples import Pictures, Sample, region_target
from napari_pathreason.types import (
    Calibration,
    Form,
    GenerationSettings,
    Metadata,
    Query,
    Request,
    TopicScale,
)

from ._confidence import (
    FEWEST,
    MAX_NEW_TOKENS,
    TOPIC_PRIOR,
    AnswerOutcome,
    Fits,
    fits_of,
    likeliest,
)

HALVES = 2


@dataclass(frozen=True, slots=True)
class KnownRegion:
    """An answer about a large region: the windows' confidence, and whether it was right.

    ``image`` tells the regions apart that share their tissue.
    """

    query: Query
    image: str
    windows: float
    right: bool


def ask_regions(
    performer: Performer, samples: Sequence[Sample], pictures: Pictures
) -> list[KnownRegion]:
    """Ask about large regions as users do, by the policy and the budget that ``auto`` means.

    Parameters
    ----------
    performer : Performer
        With the calibration of single pictures, and none of regions.
    samples : sequence of Sample
        Boxes and regions of one picture are left out, as are answers without a confidence.
    pictures : Pictures
    """
    info, known = performer.info, []
    settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS)
    for sample in tqdm(samples, desc="regions", unit="answer", mininterval=5):
        region = pictures.region(sample)
        request = Request(region, sample.query, settings=settings)
        large = asks_windows(request, info, info.max_visual_tokens)
        if sample.views or sample.task == "detection" or not large:
            continue
        try:
            result = ask(Job(pictures.slide(sample), request), performer, FixedAllocator())
        except SlideError:  # nothing of it can be read
            continue
        if result.confidence is None or len(result.readings) < 2:
            continue
        target = region_target(sample, region)
        score = TASKS[sample.task].score(result.answer, target)
        right = is_right(score, target.text, target.choices)
        known.append(KnownRegion(sample.query, str(sample.image), result.confidence, right))
    return known


def fit_regions(known: Sequence[KnownRegion], metadata: Metadata | None) -> tuple[TopicScale, ...]:
    """A scale for each form of answer and, held near to it, for each kind of question.

    Parameters
    ----------
    known : sequence of KnownRegion
    metadata : Metadata or None
        What the model says of its training: the kinds of question that its words tell apart.
    """
    of_form: dict[Form, list[AnswerOutcome]] = defaultdict(list)
    of_topics: dict[tuple[Form, tuple[str, ...]], list[AnswerOutcome]] = defaultdict(list)
    for one in known:
        outcome, form = AnswerOutcome(one.windows, 1.0, one.right), form_of(one.query)
        of_form[form].append(outcome)
        if names := topic_names(one.query, metadata):
            of_topics[form, names].append(outcome)
    scales, fits = [], dict[Form, Fits]()
    for form, outcomes in of_form.items():
        fits[form] = fits_of(outcomes)
        if len(outcomes) >= FEWEST:
            scales.append(TopicScale(form, (), likeliest(fits[form])))
    for (form, names), outcomes in of_topics.items():
        if len(outcomes) >= FEWEST:
            near = fits_of(outcomes, fits[form], TOPIC_PRIOR)
            scales.append(TopicScale(form, names, likeliest(near)))
    return tuple(scales)


def region_errors(known: Sequence[KnownRegion], metadata: Metadata | None) -> str:
    """How far the confidence of regions was off, before and after, in words.

    Each half of the regions is scaled by fits of the other.
    """
    images = Counter(one.image for one in known)
    half_of = {image: place % HALVES for place, image in enumerate(images)}
    before, after, right = [], [], []
    for half in range(HALVES):
        others = [one for one in known if half_of[one.image] != half]
        fitted = Calibration(regions=fit_regions(others, metadata))
        for one in known:
            if half_of[one.image] == half:
                before.append(one.windows)
                after.append(region_confidence(one.windows, one.query, fitted, metadata))
                right.append(one.right)
    ece = [
        expected_calibration_error(np.array(own, float), np.array(right, float))
        for own in (before, after)
    ]
    return f"regions: {len(known):,} answers, ECE {ece[0]:.3f} -> {ece[1]:.3f}"

"""Questions with known answers, put to a model: how sure it was, and whether it was right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from threading import Event

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from napari_pathreason.engine import Job, Performer, ask, read_probabilities
from napari_pathreason.models import FixedAllocator
from napari_pathreason.tasks import TASKS, is_right, match_boxes
from napari_pathreason.training.evaluation import SMALLEST, relative
from napari_pathreason.training.samples import Pictures, Sample, read_view, score_target
from napari_pathreason.types import Completion, GenerationSettings, Messages, Request

from ._scale_fit import Outcome

FORMS = ("choice", "open", "box")
BUDGETS = (4, 16, 64, 256)
"""Each question is asked at one of them, drawn anew for each."""
MAX_NEW_TOKENS = 192

Outcomes = dict[str, list[tuple[Outcome, ...]]]
"""By the form of the answer, one tuple for each: of boxes one outcome each, else a single one."""


def ask_known(
    performer: Performer, samples: Sequence[Sample], pictures: Pictures, seed: int
) -> Outcomes:
    """Outcomes of answers; a box is right as a scored match, as is no box; else see `is_right`.

    ``performer`` must be one without a calibration. What a zoom leaves of the boxes is
    what counts.
    """
    rng = Random(f"{seed}-budgets")
    found: Outcomes = {form: [] for form in FORMS}
    for sample in tqdm(samples, unit="answer", mininterval=5):
        form, outcomes = answer_outcomes(performer, sample, pictures, rng.choice(BUDGETS))
        if outcomes:
            found[form].append(outcomes)
    return found


def answer_outcomes(
    performer: Performer, sample: Sample, pictures: Pictures, budget: int
) -> tuple[str, tuple[Outcome, ...]]:
    heard = _Heard(performer)
    settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS)
    region = pictures.region(sample)
    job = Job(
        pictures.slide(sample), Request(region, sample.query, budget, settings), bounded=False
    )
    result = ask(job, heard, FixedAllocator())
    task, first = TASKS[sample.task], heard.completions[0]
    target = score_target(
        sample, read_view(sample, pictures, SMALLEST, performer.info.dims.token_px)
    )
    probabilities = read_probabilities(
        first.written, sample.query, task.parse(first.text, sample.query)
    )
    if probabilities.boxes:
        boxes = relative(result).boxes
        hits = {index for index, _, _ in match_boxes(boxes, target.boxes)}
        told = [found.confidence for found in result.detections]
        whole = len(told) == len(boxes)  # else an empty box was left out
        rights = [(c, i in hits) for i, c in enumerate(told) if c is not None and whole]
    elif probabilities.answer is None:
        rights = []
    elif probabilities.form == "box":
        rights = [(probabilities.answer, not target.boxes)]
    else:
        score = task.score(result.answer, target)
        rights = [(probabilities.answer, is_right(score, target.text, target.choices))]
    return probabilities.form, tuple(Outcome(c, probabilities.rationale, hit) for c, hit in rights)


class _Heard:
    """A performer whose completions are kept."""

    def __init__(self, performer: Performer) -> None:
        self._performer = performer
        self.info = performer.info
        self.completions: list[Completion] = []

    def generate(
        self,
        pixels: NDArray[np.uint8],
        messages: Messages,
        settings: GenerationSettings,
        cancel: Event,
    ) -> Iterator[str | Completion]:
        """Satisfies `Performer`."""
        for piece in self._performer.generate(pixels, messages, settings, cancel):
            if isinstance(piece, Completion):
                self.completions.append(piece)
            yield piece

"""Questions with known answers, put to a model: how sure it was, and whether it was right."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from threading import Event

from tqdm import tqdm

from napari_pathreason._types import Answer, AnswerBox, Completion, GenerationSettings
from napari_pathreason.engine import read_chances
from napari_pathreason.models import VLMPerformer
from napari_pathreason.tasks import TASKS, match_boxes

from ._pictures import Pictures
from ._sample import Sample
from ._scale_fit import Outcome
from ._targets import score_target
from ._view import View, read_view

FORMS = ("choice", "open", "box")
RUNGS = (4, 16, 64, 256)
"""Each question is asked at one of them, drawn anew for each."""
LONGEST = 192

Outcomes = dict[str, list[Outcome]]


def ask_known(
    performer: VLMPerformer, samples: Sequence[Sample], pictures: Pictures, seed: int
) -> Outcomes:
    """Outcomes by the form of the answer; a box is right as a scored match, as is no box."""
    rng = Random(f"{seed}-rungs")
    found: Outcomes = {form: [] for form in FORMS}
    for sample in tqdm(samples, unit="answer", mininterval=5):
        view = read_view(sample, pictures, rng.choice(RUNGS), performer.info.dims.cell)
        messages = TASKS[sample.task].messages(sample.query)
        settings = GenerationSettings(max_new_tokens=LONGEST)
        for done in performer.generate(view.pixels, messages, settings, Event()):
            if isinstance(done, Completion):
                form, outcomes = _outcomes(performer, sample, view, done)
                found[form] += outcomes
    return found


def _outcomes(
    performer: VLMPerformer, sample: Sample, view: View, done: Completion
) -> tuple[str, list[Outcome]]:
    task = TASKS[sample.task]
    answer, target = task.parse(done.text, sample.query), score_target(sample, view)
    chances = read_chances(done.written, sample.query, answer)
    if chances.boxes:
        height, width, _ = view.pixels.shape
        relative = performer.info.box_space == "relative"
        boxes = answer.boxes if relative else _relative(answer, width, height)
        hits = {index for index, _, _ in match_boxes(boxes, target.boxes)}
        rights = [(chance, i in hits) for i, chance in enumerate(chances.boxes)]
    elif chances.answer is None:
        rights = []
    elif chances.form == "box":
        rights = [(chances.answer, not target.boxes)]
    else:
        rights = [(chances.answer, task.score(answer, target) >= 1 - 1e-9)]
    return chances.form, [Outcome(chance, chances.rationale, hit) for chance, hit in rights]


def _relative(answer: Answer, width: int, height: int) -> tuple[AnswerBox, ...]:
    x, y = 1000 / width, 1000 / height
    return tuple(
        AnswerBox(box.label, box.x1 * x, box.y1 * y, box.x2 * x, box.y2 * y) for box in answer.boxes
    )

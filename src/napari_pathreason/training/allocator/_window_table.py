"""What a performer answers about every window of labelled regions, asked once at each budget.

From this table any choice of windows is scored without a call more, of one round or of two: the
answers are put together as the engine does it (`engine.combine_readings`), and held against the
label. Answers lie in ``output``/allocator, each under the question and the pixels that it belongs
to, so that a cut table goes on, and a larger set of questions asks only what is new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from napari_pathreason import models
from napari_pathreason.engine import (
    Job,
    Performer,
    Scene,
    State,
    answer_views,
    asks_windows,
    budget_flops,
    combine_readings,
    look_at,
    most_of_picture,
    to_boxes,
    view_of,
    window_budgets,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.files import Journal, check_sum, with_checksum
from napari_pathreason.geometry import Box, Region
from napari_pathreason.tasks import TASKS, Target, as_trained, is_finding
from napari_pathreason.training.samples import Pictures, Sample, region_target
from napari_pathreason.types import (
    Answer,
    Detection,
    GenerationSettings,
    ModelInfo,
    Query,
    Reading,
    Request,
    View,
)

Picks = Sequence[tuple[int, int]]
"""Windows as (place, level), in the order of reading."""
MAX_NEW_TOKENS = 192
"""Tokens of a reply, at the most; as in `pathreason evaluate`."""
TOGETHER = 32
"""Answers that are written down at once."""
THOUSAND = (1000, 1000)

_QUESTION = {"image", "region", "task", "question", "choices"}
"""Of a sample, what its answers hang on: a label that was corrected asks nothing again."""


@dataclass(frozen=True, slots=True)
class WindowQuestion:
    """A labelled question about a large region, and what its windows answered.

    Parameters
    ----------
    sample : Sample
    query : Query
        As the performer was asked.
    state : State
        What a policy knows before anything is read; its effort and budget mean nothing.
    target : Target
    tokens : tuple of int
        Of a window at each level.
    readings : mapping of (place, level) to Reading
    apart : tuple of str
        Labels of small things.
    """

    sample: Sample
    query: Query
    state: State
    target: Target
    tokens: tuple[int, ...]
    readings: dict[tuple[int, int], Reading]
    apart: tuple[str, ...] = ()
    _scores: dict[tuple[tuple[int, int], ...], float] = field(default_factory=dict)

    @property
    def scene(self) -> Scene:
        """The region's cheap look."""
        return self.state.scene

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which windows have an answer at which level, bool (windows, levels)."""
        readable = np.zeros((len(self.scene.grid), len(self.tokens)), np.bool_)
        for place, level in self.readings:
            readable[place, level] = True
        return readable

    def read(self, picks: Picks) -> tuple[Reading, ...]:
        """Readings of some windows."""
        return tuple(self.readings[pick] for pick in picks)

    def score(self, picks: Picks) -> float:
        """Score of the region's answer where these windows are read, 0 to 1.

        Of a window that is read twice the later reading counts. Zooms at small detections are
        left out: they need the performer.
        """
        key = tuple(sorted(dict(picks).items()))
        if key not in self._scores:
            self._scores[key] = self._score(self.read(key))
        return self._scores[key]

    @property
    def holds(self) -> bool:
        """Whether, by its label, what is asked for is there."""
        if self.query.task == "detection":
            return bool(self.target.boxes)
        return is_finding(self.query, self.sample.answer)

    def is_found(self, picks: Picks) -> bool:
        """Whether the region's answer says so where these windows are read."""
        combined = combine_readings(self.query, self.scene, self.read(picks), self.apart)
        if self.query.task == "detection":
            return bool(combined.detections)
        return is_finding(self.query, combined.answer.text)

    def _score(self, readings: Sequence[Reading]) -> float:
        combined = combine_readings(self.query, self.scene, readings, self.apart)
        answer = combined.answer
        if self.query.task == "detection":
            region = self.scene.grid.region
            boxes = to_boxes(combined.detections, region, THOUSAND, "relative")
            answer = Answer("", answer.text, boxes)
        return TASKS[self.query.task].score(answer, self.target)


def tabulate_windows(
    samples: Sequence[Sample],
    pictures: Pictures,
    performer: Performer,
    file: Path,
    levels: Sequence[int | None] = models.LEVELS,
    name: str = "windows",
) -> list[WindowQuestion]:
    """Have every window of the half-step grid answered at each level.

    Parameters
    ----------
    samples : sequence of Sample
        Those about regions that are not read by windows are left out.
    pictures : Pictures
    performer : Performer
        Any: of this machine, or on a server.
    file : Path
        JSONL that only grows; must belong to this performer, so let its name say which.
    levels : sequence of int or None
        Visual tokens of a window, rising; None for native size.
    name : str
        Of the progress bar.

    Raises
    ------
    QueryError
        If no sample is about a large region.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(file)
    known = _answers_in(journal)
    scenes: dict[tuple[str, Region], Scene] = {}
    questions = []
    with tqdm(total=len(samples), desc=name, unit="question", mininterval=5) as bar:
        for sample in samples:
            question = question_of(sample, pictures, performer.info, levels, scenes)
            if question is not None:
                _answer(question, pictures, performer, journal, known)
                questions.append(question)
            bar.update()
    if not questions:
        raise QueryError(
            "no question is about a large region, which windows could be read of; give larger "
            "regions, or set allocator.form to head"
        )
    return questions


def question_of(
    sample: Sample,
    pictures: Pictures,
    info: ModelInfo,
    levels: Sequence[int | None],
    scenes: dict[tuple[str, Region], Scene],
) -> WindowQuestion | None:
    """A question without answers; None of one that is not read by windows.

    Parameters
    ----------
    sample : Sample
    pictures : Pictures
    info : ModelInfo
        Of the performer.
    levels : sequence of int or None
        As of `tabulate_windows`.
    scenes : dict
        Of regions that were looked at; it grows.
    """
    region = pictures.region(sample)
    query = as_trained(sample.query, info.metadata)
    most = info.max_visual_tokens
    request = Request(region, query, settings=GenerationSettings(max_new_tokens=MAX_NEW_TOKENS))
    if sample.views or not asks_windows(request, info, most):
        return None
    where = json.dumps(sample.image), region
    if where not in scenes:
        scenes[where], _ = look_at(Job(pictures.slide(sample), request), info, most)
    scene = scenes[where]
    if not scene.worth.any():
        return None
    budgets = window_budgets(scene.grid.window(0), info, most_of_picture(most))
    mpp = pictures.slide(sample).info.mpp
    state = State(
        query,
        scene,
        budgets,
        None,
        small=tuple(label.casefold() for label in info.zoom_labels),
        flops=budget_flops(budgets, info),
        mpp=None if mpp is None else sum(mpp) / 2,
    )
    tokens = models.level_tokens(state, levels)
    target = region_target(sample, region)
    return WindowQuestion(sample, query, state, target, tokens, {}, info.zoom_labels)


def _answer(
    question: WindowQuestion,
    pictures: Pictures,
    performer: Performer,
    journal: Journal,
    known: dict[str, dict[str, Any]],
) -> None:
    """Fill in the answers of a question: those that are known, then those of the performer."""
    info, scene = performer.info, question.scene
    allowed = models.readable_levels(question.state, question.tokens)
    digest = hashlib.sha256(question.sample.model_dump_json(include=_QUESTION).encode())
    digest.update(scene.overview.tobytes())
    digest.update(pictures.sha256(question.sample).encode())  # the overview does not show all
    own = digest.hexdigest()[:16]
    slide = pictures.slide(question.sample)
    due: dict[View, tuple[int, int]] = {}
    for place, level in np.argwhere(allowed).tolist():
        region = scene.grid.window(place).clipped(slide.width, slide.height)
        view = view_of(region, question.tokens[level], info.dims.token_px, "window")
        line = known.get(_key(own, view))
        if line is None:
            due[view] = place, level
        elif not line.get("lost"):
            question.readings[place, level] = _reading(line, view)
    settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS)
    job = Job(slide, Request(scene.grid.region, question.query, settings=settings))
    lost, lines = dict(due), []
    # of one size together: so no pass is filled up
    for reading in answer_views(job, sorted(due, key=lambda view: view.tokens), performer):
        line = _line(own, reading)
        question.readings[lost.pop(reading.view)] = _reading(line, reading.view)
        lines.append(json.dumps(with_checksum(line)).encode())
        if len(lines) >= TOGETHER:
            journal.append(*lines)
            lines = []
    for view in lost:
        line = with_checksum({"key": _key(own, view), "lost": True})
        lines.append(json.dumps(line).encode())
    if lines:
        journal.append(*lines)


def _key(own: str, view: View) -> str:
    r = view.region
    return f"{own} {r.x} {r.y} {r.width} {r.height} {view.size[0]} {view.size[1]}"


def _line(own: str, reading: Reading) -> dict[str, Any]:
    """What a choice of windows needs of a reading."""
    boxes = [
        [one.label, one.box.x, one.box.y, one.box.w, one.box.h, one.confidence]
        for one in reading.detections
    ]
    return {
        "key": _key(own, reading.view),
        "text": reading.answer.text,
        "well_formed": reading.answer.well_formed,
        "confidence": reading.confidence,
        "boxes": boxes,
        "tokens": reading.visual_tokens,
    }


def _reading(line: dict[str, Any], view: View) -> Reading:
    found = tuple(
        Detection(label, Box(x, y, w, h), confidence)
        for label, x, y, w, h, confidence in line["boxes"]
    )
    return Reading(
        (view,),
        Answer("", line["text"], well_formed=line["well_formed"]),
        found,
        line["confidence"],
        visual_tokens=line["tokens"],
    )


def _answers_in(journal: Journal) -> dict[str, dict[str, Any]]:
    """What an earlier run wrote, by question, window and size."""
    answers = {}
    for line in journal.lines():
        with suppress(ValueError, TypeError, LookupError, AttributeError):  # then it is asked again
            record = check_sum(json.loads(line))
            answers[record["key"]] = record
    return answers

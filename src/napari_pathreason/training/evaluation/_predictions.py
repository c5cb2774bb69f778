"""An answered question: scored, recorded as a line, read back and scored anew.

Every figure of an evaluation is made of `Prediction`s, and `Scorer` is the one place where they are
made. A record holds what was asked, answered and measured; scores in it are for those who read it,
and are never taken from it, since the rules by which they were given may have changed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import IO, Any, Literal

import numpy as np

from napari_pathreason import tasks
from napari_pathreason.errors import QueryError
from napari_pathreason.files import new_record
from napari_pathreason.training.samples import (
    Phrasing,
    Pictures,
    Sample,
    View,
    confirmed,
    read_view,
    region_target,
)
from napari_pathreason.types import Answer, AnswerBox, TaskName

ModelCondition = Literal["model", "text_only", "unreasoned"]
"""How the model was asked: as users do, before a white picture, or with an empty rationale."""
Condition = ModelCondition | Literal["constant", "baseline"]
"""Who answered: the model, one fixed answer, the baseline."""

Matches = dict[str, tuple[int, int, int]]

SMALLEST = 4
"""Labels in shares of a picture are the same at every budget; the cheapest reading gives them."""
VIEWS = 512
"""Views in memory, masks of nuclei among them; each question is scored at many budgets."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One question answered; a line of the per-item record.

    What was asked and answered: ``index`` is the question's place among those asked, ``question``
    and ``choices`` are its words, ``reply`` the completion as it was written and ``boxes`` those of
    the answer after all zooms, ``truth`` and ``truth_boxes`` the label, boxes 0 to 1000 of
    the region. ``answer`` is empty where the reply could not be read. ``question``, ``reply`` and
    ``boxes`` are None in older records, which cannot be scored anew.

    Scores, which are reckoned from these and never taken from a record: ``score``, ``well_formed``;
    ``matched`` holds, for each label of a detection, (boxes matched at an overlap of 0.5, boxes
    predicted, boxes true); ``confirmed`` of ``cited`` facts hold in this picture, ``shuffled`` of
    them in another one of the same topic (None where there is no other).

    What was measured: ``budget`` is None for native size, ``side`` the longer side of the region in
    level-0 pixels, ``size`` the picture's (width, height) as the model saw it (of several
    pictures see `shown_size`), (0, 0) where no model was asked. Tokens, FLOPs and seconds are 0
    there too, and expected values where budgets were drawn blindly; seconds are NaN where the
    question shared its pass with others.
    ``confidence`` is 0 to 1, ``ood`` the OOD score, above 1 for a picture that is out of
    distribution; None where the model has neither. ``group`` names what the picture shares with
    others, such as a slide or an organ; empty where nothing is known of it. ``probability`` is
    that of the answer among its choices before it is calibrated, and ``box_confidences`` are those
    of ``boxes`` in their order; ``probabilities`` are those of ``choices`` in theirs, before
    they are calibrated too; None where they are not known. ``other_order`` is the
    answer to the same question with its choices reversed; None where that was not asked.
    ``of`` tells model and picture by their content (`Scorer.origin`); None in older records.
    """

    index: int
    condition: Condition
    budget: int | None
    task: TaskName
    topic: str
    side: int
    phrasing: Phrasing
    score: float
    answer: str
    truth: str
    question: str | None = None
    choices: tuple[str, ...] = ()
    reply: str | None = None
    boxes: tuple[AnswerBox, ...] | None = None
    truth_boxes: tuple[AnswerBox, ...] = ()
    well_formed: bool = True
    matched: Matches | None = None
    cited: int = 0
    confirmed: int = 0
    shuffled: int | None = None
    size: tuple[int, int] = (0, 0)
    tokens: float = 0
    native: int = 0
    flops: float = 0.0
    flops_native: float = 0.0
    seconds: float = 0.0
    confidence: float | None = None
    ood: float | None = None
    group: str = ""
    probability: float | None = None
    box_confidences: tuple[float, ...] | None = None
    probabilities: tuple[float, ...] | None = None
    other_order: str | None = None
    of: str | None = None

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is missing to parse the reply and to score it anew."""
        parts = {"question": self.question, "reply": self.reply, "boxes": self.boxes}
        return tuple(name for name, part in parts.items() if part is None)


class Scorer:
    """Scores answers against the labels of the questions asked.

    Parameters
    ----------
    samples : sequence of Sample
    pictures : Pictures
    token_px : int
        Side of a visual token in pixels.
    seed : int
        Of the other pictures that shuffled evidence is checked against.
    groups : sequence of str
        What each question's picture shares with others (`Prediction.group`); empty where none is
        known.
    model : str
        What tells the model that answers by its content; empty where that is out of reach.
    train : str
        The same of what the baseline is fitted on.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        pictures: Pictures,
        token_px: int,
        seed: int = 0,
        groups: Sequence[str] = (),
        model: str = "",
        train: str = "",
    ) -> None:
        self._model, self._train = model, train
        self.samples = samples
        self.pictures = pictures
        self.token_px = token_px
        self._groups = groups or [""] * len(samples)
        self._others = others(samples, seed)
        self._targets: dict[int, tasks.Target] = {}
        self._view = lru_cache(VIEWS)(self._read)

    def _read(self, index: int) -> View:
        view = read_view(self.samples[index], self.pictures, SMALLEST, self.token_px)
        return replace(view, pixels=np.empty((0, 0, 3), np.uint8))

    def origin(self, index: int, condition: Condition) -> str:
        """What tells who answered a question, and before which picture, by their content."""
        who = {"baseline": self._train, "constant": ""}.get(condition, self._model)
        words = f"{who} {self.pictures.sha256(self.samples[index])}"
        return hashlib.sha256(words.encode()).hexdigest()[:16]

    def target(self, index: int) -> tasks.Target:
        """The label of a question."""
        if index not in self._targets:
            sample = self.samples[index]
            self._targets[index] = region_target(sample, self.pictures.region(sample))
        return self._targets[index]

    def parse(self, index: int, text: str) -> Answer:
        """What a text says as the whole answer to a question."""
        sample = self.samples[index]
        return tasks.TASKS[sample.task].parse(
            f"<think></think><answer>{text}</answer>", sample.query
        )

    def item(
        self,
        index: int,
        condition: Condition,
        answer: Answer,
        budget: int | None = None,
        **measured: Any,
    ) -> Prediction:
        """The item of an answer, its boxes 0 to 1000 of the region.

        Parameters
        ----------
        index : int
        condition : Condition
        answer : Answer
        budget : int or None
        **measured
            Further fields of `Prediction`.
        """
        sample, region = self.samples[index], self.pictures.region(self.samples[index])
        return Prediction(
            index=index,
            condition=condition,
            budget=budget,
            task=sample.task,
            topic=sample.kind,
            side=max(region.width, region.height),
            phrasing=sample.phrasing,
            question=sample.question,
            choices=sample.choices,
            reply=answer.reply,
            boxes=answer.boxes,
            of=self.origin(index, condition),
            **self._scores(index, condition, answer),
            **measured,
        )

    def again(self, item: Prediction) -> Prediction:
        """The item with its reply parsed and scored anew; nothing may be missing in it.

        Boxes are those that zooms left, as far as their labels are asked for: what the zooms wrote
        is not in the record.
        """
        sample = self.samples[item.index]
        answer = tasks.TASKS[sample.task].parse(item.reply or "", sample.query)
        if sample.task == "detection" and answer.readable:
            labels = sample.choices or tuple(box.label for box in item.boxes or ())
            boxes = tuple(
                b for b in item.boxes or () if tasks.whole_choice(b.label, labels) is not None
            )
            answer = replace(answer, boxes=boxes, text=tasks.summary(boxes))
        if item.boxes is not None and len(answer.boxes) != len(item.boxes):
            item = replace(item, box_confidences=None)  # they are of boxes that are left out
        return replace(item, boxes=answer.boxes, **self._scores(item.index, item.condition, answer))

    def _scores(self, index: int, condition: Condition, answer: Answer) -> dict[str, Any]:
        sample, target = self.samples[index], self.target(index)
        detection = sample.task == "detection"
        scores: dict[str, Any] = {
            "score": tasks.TASKS[sample.task].score(answer, target),
            "answer": answer.text,
            "truth": tasks.summary(target.boxes) if detection else target.text,
            "truth_boxes": target.boxes,
            "well_formed": answer.well_formed,
            "matched": matches(sample.choices, answer.boxes, target.boxes) if detection else None,
            "group": self._groups[index],
        }
        other = self._others[index] if condition == "model" else None
        right = cited = elsewhere = 0
        if answer.rationale:  # else nothing is read for it
            right, cited = confirmed(answer.rationale, self._view(index))
            if other is not None:
                elsewhere, _ = confirmed(answer.rationale, self._view(other))
        return scores | {
            "cited": cited,
            "confirmed": int(right),
            "shuffled": None if other is None else int(elsewhere),
        }


def matches(
    labels: Sequence[str], predicted: Sequence[AnswerBox], truth: Sequence[AnswerBox]
) -> Matches:
    """Boxes (matched, predicted, true) of each label that was asked for."""
    pairs = tasks.match_boxes(predicted, truth)
    return {
        label: (
            sum(tasks.same_label(truth[j].label, label) for _, j, _ in pairs),
            sum(tasks.same_label(box.label, label) for box in predicted),
            sum(tasks.same_label(box.label, label) for box in truth),
        )
        for label in labels
    }


def others(samples: Sequence[Sample], seed: int) -> list[int | None]:
    """For each sample the index of one of the same topic about another picture; None if none."""
    topics: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        topics[sample.kind].append(index)
    pictures = [(sample.image, sample.region) for sample in samples]
    chosen: list[int | None] = [None] * len(samples)
    for topic, members in sorted(topics.items()):
        order = Random(f"{seed}-{topic}-others").sample(members, len(members))
        for place, index in enumerate(order):
            behind = order[place + 1 :] + order[:place]
            chosen[index] = next((n for n in behind if pictures[n] != pictures[index]), None)
    return chosen


def to_line(item: Prediction) -> str:
    """An item as a line of the per-item record; seconds that nobody took are null."""
    values = asdict(item)
    if math.isnan(item.seconds):
        values["seconds"] = None
    for name in ("boxes", "truth_boxes"):
        boxes = getattr(item, name)
        values[name] = None if boxes is None else [[*asdict(box).values()] for box in boxes]
    return json.dumps(values, ensure_ascii=False)


def from_line(line: str) -> Prediction:
    """The item of a line; any of `KeyError`, `TypeError`, `ValueError` if it is none.

    What this version does not know is left aside, what an older one did not write is missing.
    """
    values: dict[str, Any] = json.loads(line)
    if values["seconds"] is None:
        values["seconds"] = math.nan
    if values["matched"] is not None:
        values["matched"] = {label: tuple(counts) for label, counts in values["matched"].items()}
    for name in ("boxes", "truth_boxes"):
        if values.get(name) is not None:
            values[name] = tuple(AnswerBox(*box) for box in values[name])
    for name in ("choices", "size", "box_confidences", "probabilities"):
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    names = {field.name for field in fields(Prediction)}
    return Prediction(**{name: value for name, value in values.items() if name in names})


def open_record(path: Path | None) -> AbstractContextManager[IO[str] | None]:
    """A new file for `record`; None without a path."""
    return nullcontext() if path is None else new_record(path)


def record(items: Iterable[Prediction], file: IO[str] | None) -> Iterator[Prediction]:
    """Pass items on, each written and flushed first, so that a cut run keeps what it had."""
    for item in items:
        if file is not None:
            file.write(to_line(item) + "\n")
            file.flush()
        yield item


@dataclass(frozen=True, slots=True)
class Known:
    """Items of an earlier evaluation, parsed and scored anew.

    ``lacking`` says, a line each, which items of the record were left out, and why, and what those
    that were taken do not say.
    """

    items: tuple[Prediction, ...] = ()
    lacking: tuple[str, ...] = ()

    @property
    def baseline(self) -> list[Prediction]:
        """Answers of the baseline; none unless it was asked everything.

        It has no answer to some kinds of questions, so that it is known to be whole only once the
        model has been asked, which comes behind it.
        """
        if not any(item.condition == "model" for item in self.items):
            return []
        return [item for item in self.items if item.condition == "baseline"]


def read_known(file: Path | None, scorer: Scorer) -> Known:
    """Answers to the questions of ``scorer`` out of a file of ``evaluate --items``.

    Parameters
    ----------
    file : Path or None
        JSONL, packed where its name ends in ``.gz``.
    scorer : Scorer
        Of what is asked now; the file must be of the same questions. Answers of another model, or
        to another picture, are left out.

    Raises
    ------
    QueryError
        If the file cannot be read, or is of other questions.
    """
    if file is None:
        return Known()
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
        items = [from_line(line) for line in text.splitlines()]
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        raise QueryError(
            f"{file.name} is no record of `pathreason evaluate --items`; name such a file, or "
            "leave --known out"
        ) from None
    if not all(_asks_the_same(item, scorer.samples) for item in items):
        raise QueryError(
            f"{file.name} is of other questions; evaluate with the same --data, --per-topic "
            "and --seed, or leave --known out"
        )
    complete = [item for item in items if not item.lacks]
    origins = [
        None if i.of is None else i.of == scorer.origin(i.index, i.condition) for i in complete
    ]
    whole = [item for item, same in zip(complete, origins, strict=True) if same is not False]
    scored = {
        place: scorer.again(whole[place])  # all answers to a question at once: its labels are read
        for place in sorted(range(len(whole)), key=lambda place: whole[place].index)
    }
    lacking = []
    if parts := list(dict.fromkeys(part for item in items for part in item.lacks)):
        lacking.append(
            f"{file.name}: {len(items) - len(complete):,} of {len(items):,} kept answers lack the "
            f"{', '.join(parts)} and cannot be scored anew; they are asked for again"
        )
    if others := origins.count(False):
        lacking.append(
            f"{file.name}: {others:,} of {len(items):,} kept answers are of another model or to "
            "other pictures; they are asked for again"
        )
    if unsaid := origins.count(None):
        lacking.append(
            f"{file.name}: {unsaid:,} of {len(items):,} kept answers do not say of which model and "
            "pictures they are; they are taken for those of this one"
        )
    return Known(tuple(scored[place] for place in range(len(whole))), tuple(lacking))


def _asks_the_same(item: Prediction, samples: Sequence[Sample]) -> bool:
    if item.index >= len(samples):
        return False
    sample = samples[item.index]
    if item.question is None:
        return sample.kind == item.topic
    question = sample.kind, sample.question, sample.choices
    return question == (item.topic, item.question, item.choices)

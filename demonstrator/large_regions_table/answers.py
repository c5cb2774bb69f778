"""Questions about large regions, each asked in several ways; a line for each answer."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from demonstrator.large_regions import read_about
from napari_pathreason.engine import Allocator, Job, Performer, ask, learned_windows
from napari_pathreason.errors import QueryError
from napari_pathreason.files import Journal
from napari_pathreason.tasks import TASKS, match_boxes, summary
from napari_pathreason.training import Sample, read_samples
from napari_pathreason.training.evaluation import relative
from napari_pathreason.training.samples import Pictures, region_target
from napari_pathreason.types import Answer, AnswerBox, Result

from .choosing import Way

TOUCHING = 1e-9
"""Overlap of boxes that overlap at all."""


@dataclass(frozen=True, slots=True)
class LargeQuestion:
    """A labelled question about a large region.

    Parameters
    ----------
    form : str
        Folder of the samples: ``as_is`` or ``blended``.
    split : str
    index : int
        Place in the JSONL.
    sample : Sample
    dataset : str
    lesion : int
        Tiles of the region's lesion.
    sources : mapping of str to int
        That its answer rests on, and how many pieces show each.
    """

    form: str
    split: str
    index: int
    sample: Sample
    dataset: str
    lesion: int
    sources: dict[str, int]

    @property
    def key(self) -> tuple[str, str, int]:
        """By which its answers are told from others."""
        return self.form, self.split, self.index


def read_questions(
    data: Path, per_topic: int | None = None, topics: Sequence[str] = ()
) -> list[LargeQuestion]:
    """Questions of a JSONL that `demonstrator.large_regions` wrote, kinds of questions mixed.

    Parameters
    ----------
    data : Path
        Beside it lies what is known of the regions.
    per_topic : int, optional
        Of each set and topic the first ones; regions take turns in what lies in them.
    topics : sequence of str
        Kinds of questions; empty for all.

    Raises
    ------
    QueryError
        If one of the two files is missing or is none, or a topic is not asked.
    """
    regions = read_about(data)
    turns: Counter[tuple[str, str]] = Counter()
    questions: dict[int, list[LargeQuestion]] = defaultdict(list)
    for index, sample in enumerate(read_samples(data)):
        region = regions.get(sample.image) if isinstance(sample.image, str) else None
        if region is None:
            raise QueryError(
                f"{data.name} asks about {sample.image}, which nothing names; compose anew"
            )
        kind = region["set"], sample.topic
        if (per_topic is None or turns[kind] < per_topic) and (
            not topics or sample.topic in topics
        ):
            question = LargeQuestion(
                data.parent.name,
                data.stem,
                index,
                sample,
                region["set"],
                region["lesion"],
                region["sources"],
            )
            questions[turns[kind]].append(question)
        turns[kind] += 1
    if unknown := [topic for topic in topics if topic not in {name for _, name in turns}]:
        raise QueryError(f"{data.name} asks nothing about {unknown[0]!r}; see its topics")
    return [question for turn in sorted(questions) for question in questions[turn]]


@dataclass(frozen=True, slots=True)
class LargeAnswer:
    """An answer in one way; a line of the record.

    What was asked: ``form``, ``split`` and ``index`` name the question, ``question`` is its words,
    ``way`` how the region was read. What came of it: ``text``, ``boxes`` (0 to 1000 of the region),
    ``well_formed`` and ``confidence`` of the answer, ``views`` as (x, y, width, height, tokens) in
    level-0 pixels. What it cost: visual ``tokens`` and ``flops``, the choice of windows counted,
    ``pixels`` decoded, and ``seconds``; ``flops_native`` are those of all windows at native size,
    as far as they are known.
    """

    form: str
    split: str
    index: int
    question: str
    way: str
    text: str
    boxes: tuple[AnswerBox, ...]
    well_formed: bool
    confidence: float | None
    views: tuple[tuple[int, int, int, int, int], ...]
    tokens: int
    flops: float
    flops_native: float
    pixels: int
    seconds: float
    of: str = ""
    """What it belongs to, see `Answers.identity`; left out of the record for readers."""

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Of the question, and the way."""
        return self.form, self.split, self.index, self.way

    def to_line(self) -> str:
        """As a line of JSON."""
        values = asdict(self)
        values["boxes"] = [[*asdict(box).values()] for box in self.boxes]
        return json.dumps(values, ensure_ascii=False)


def from_line(line: str | bytes) -> LargeAnswer:
    """The answer of a line; any of `KeyError`, `TypeError`, `ValueError` if it is none."""
    values: dict[str, Any] = json.loads(line)
    values["boxes"] = tuple(AnswerBox(*box) for box in values["boxes"])
    values["views"] = tuple(tuple(view) for view in values["views"])
    names = {field.name for field in fields(LargeAnswer)}
    return LargeAnswer(**{name: value for name, value in values.items() if name in names})


class Answers:
    """Answers in a journal, so that a cut run goes on where it was.

    Parameters
    ----------
    path : Path
        JSONL that only grows. Delete it to ask anew, as after a change of what puts answers
        together; what the model said to each window is remembered elsewhere.
    model : str
        Hash of all that answers, its scales of confidence too.
    learned : str, optional
        Hash of the allocator that chooses windows, on which answers by it hang as well.

    Raises
    ------
    QueryError
        If it is none.
    """

    def __init__(self, path: Path, model: str, learned: str | None = None) -> None:
        self._model, self._learned = model, learned
        path.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(path)
        try:
            self._known = {one.key: one for one in map(from_line, self._journal.lines())}
        except (KeyError, TypeError, ValueError):
            raise QueryError(f"{path.name} holds no answers; name another file") from None

    def identity(self, question: LargeQuestion, way: Way, pictures: Pictures) -> str:
        """SHA-256 of what an answer hangs on: the sample, its picture, and what answers it."""
        learned = self._learned if way.policy == "learned" else None
        sample = question.sample.model_dump(mode="json")
        parts = [sample, pictures.sha256(question.sample), self._model, learned]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def find(self, question: LargeQuestion, way: Way, pictures: Pictures) -> LargeAnswer | None:
        """A known answer; None where the question, its picture or the model is another one now."""
        answer = self._known.get((*question.key, str(way)))
        same = answer is not None and answer.of == self.identity(question, way, pictures)
        return answer if same else None

    def add(self, answer: LargeAnswer) -> None:
        """Write an answer down."""
        self._known[answer.key] = answer
        self._journal.append(answer.to_line().encode())


def ask_in_every_way(
    questions: Sequence[LargeQuestion],
    ways: Sequence[Way],
    pictures: Pictures,
    performer: Performer,
    allocator: Allocator,
    answers: Answers,
) -> Iterator[tuple[LargeQuestion, Way, LargeAnswer]]:
    """Ask each question in each way, those apart that were answered before.

    All ways of a question come together, so that what a cut run leaves is paired.
    """
    for question in questions:
        for way in ways:
            answer = answers.find(question, way, pictures)
            if answer is None:
                answer = _ask(question, way, pictures, performer, allocator)
                answer = replace(answer, of=answers.identity(question, way, pictures))
                answers.add(answer)
            yield question, way, answer


def _ask(
    question: LargeQuestion,
    way: Way,
    pictures: Pictures,
    performer: Performer,
    allocator: Allocator,
) -> LargeAnswer:
    sample = question.sample
    request = way.request(sample, pictures.region(sample), seed=question.index)
    policy = way.own_policy(sample, learned_windows(allocator))
    job = Job(pictures.slide(sample), request, bounded=False, policy=policy)
    result = ask(job, performer, allocator)
    answer, tokens = relative(result), result.tokens
    return LargeAnswer(
        form=question.form,
        split=question.split,
        index=question.index,
        question=sample.question,
        way=str(way),
        text=answer.text,
        boxes=answer.boxes,
        well_formed=answer.well_formed,
        confidence=result.confidence,
        views=tuple(_views(result)),
        tokens=tokens.spent,
        flops=tokens.flops,
        flops_native=tokens.flops_native_windows,
        pixels=result.pixels_decoded,
        seconds=sum(result.seconds.values()),
    )


def _views(result: Result) -> Iterator[tuple[int, int, int, int, int]]:
    for view in result.views.views if result.views is not None else ():
        r = view.region
        yield r.x, r.y, r.width, r.height, view.tokens


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer beside its label.

    ``boxes`` are (matched at an overlap of 0.5, matched at any, predicted, true) of a detection,
    None of others.
    """

    question: LargeQuestion
    answer: LargeAnswer
    score: float
    boxes: tuple[int, int, int, int] | None


def score(question: LargeQuestion, answer: LargeAnswer, pictures: Pictures) -> Scored:
    """Score an answer anew; no score is taken from a record."""
    sample = question.sample
    target = region_target(sample, pictures.region(sample))
    parsed = Answer("", answer.text, answer.boxes, answer.well_formed)
    own = TASKS[sample.task].score(parsed, target)
    boxes = None
    if sample.task == "detection":
        boxes = (
            len(match_boxes(parsed.boxes, target.boxes)),
            len(match_boxes(parsed.boxes, target.boxes, TOUCHING)),
            len(parsed.boxes),
            len(target.boxes),
        )
    return Scored(question, answer, own, boxes)


def to_record(question: LargeQuestion, answer: LargeAnswer, pictures: Pictures) -> str:
    """A line for readers who lack the samples: the answer with its question, label and score."""
    sample = question.sample
    target = region_target(sample, pictures.region(sample))
    detection = sample.task == "detection"
    about = {
        "set": question.dataset,
        "topic": sample.topic,
        "choices": list(sample.choices),
        "lesion": question.lesion,
        "truth": summary(target.boxes) if detection else sample.answer,
        "truth_boxes": [[*asdict(box).values()] for box in target.boxes],
        "score": round(score(question, answer, pictures).score, 4),
    }
    own = json.loads(answer.to_line())
    del own["of"]
    return json.dumps(own | about, ensure_ascii=False)

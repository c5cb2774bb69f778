"""Asking a model labelled questions, by the same job that answers users.

Samples with views are prompts of their own, which `ask_views` puts to the performer.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import TypeVar

import numpy as np

from napari_pathreason.engine import (
    Allocator,
    Job,
    Performer,
    ask,
    ask_together,
    other_order,
    scale_of,
    scaled,
)
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.training.samples import Pictures, Sample, shown_size
from napari_pathreason.types import (
    Answer,
    GenerationSettings,
    Request,
    Result,
    Scale,
)

from ._predictions import ModelCondition, Prediction, Scorer
from ._several import ask_views

T = TypeVar("T")
Size = tuple[int, int]

MOST_TOKENS = 2048
"""Visual tokens of the questions that are asked together."""
MAX_NEW_TOKENS = 192
"""Tokens of a reply, at the most."""
UNREASONED = "<think></think><answer>"
"""Leaves the model no room for a rationale."""
TIMED = 3
"""Questions of each kind that are asked alone where others are asked together."""


def pick(samples: Sequence[Sample], per_topic: int | None, seed: int) -> list[Sample]:
    """At most ``per_topic`` samples of each topic, drawn by ``seed``; None for all of them."""
    topics: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        topics[sample.kind].append(sample)
    chosen = []
    for topic in sorted(topics):
        items = topics[topic]
        number = len(items) if per_topic is None else min(per_topic, len(items))
        chosen += Random(f"{seed}-{topic}").sample(items, number)
    return chosen


class Evaluator:
    """Asks one performer the same questions at several budgets.

    A picture that two budgets read at one size is asked once: greedy answers to the same pixels are
    the same, and the second item is the first with its budget changed.

    Parameters
    ----------
    samples : sequence of Sample
    pictures : Pictures
    performer, allocator : Performer, Allocator
    seed : int
        Of the other pictures that shuffled evidence is checked against.
    together : int
        Questions that share the model's passes, at the most. Above 1 only the first `TIMED` of
        each kind are asked alone, and the others tell no seconds.
    scorer : Scorer, optional
        Of the same samples; made here if left out.
    check_order : bool
        Ask questions with choices again with these reversed; see `Prediction.other_order`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        pictures: Pictures,
        performer: Performer,
        allocator: Allocator,
        seed: int = 0,
        together: int = 1,
        scorer: Scorer | None = None,
        check_order: bool = False,
    ) -> None:
        self._check_order = check_order
        self.samples = samples
        self._pictures = pictures
        self._performer = performer
        self._allocator = allocator
        self._together = together
        self._timed = _first_of_each_kind(samples, TIMED if together > 1 else len(samples))
        self._scorer = scorer or Scorer(samples, pictures, performer.info.dims.token_px, seed)
        self._answers: dict[tuple[int, ModelCondition, Size], Prediction] = {}

    def remember(self, items: Iterable[Prediction]) -> None:
        """Take answers that were given before, scored anew: they are not asked for again."""
        for item in items:
            if item.condition != "constant" and item.condition != "baseline":
                size = self._size(item.index, item.budget)
                self._answers[item.index, item.condition, size] = item

    def _size(self, index: int, budget: int | None) -> Size:
        token_px = self._performer.info.dims.token_px
        return shown_size(self.samples[index], self._pictures, budget, token_px)

    def run(self, budget: int | None, condition: ModelCondition = "model") -> Iterator[Prediction]:
        """Ask every question at a budget, in one of the ways of `ModelCondition`."""
        keys = [(index, condition, self._size(index, budget)) for index in range(len(self.samples))]
        for window in self.windows(keys, [size for _, _, size in keys]):
            new = [key for key in window if key not in self._answers]
            answers = self.ask([index for index, _, _ in new], budget, condition)
            self._answers.update(zip(new, answers, strict=True))
            if self._check_order and condition == "model":
                self._reverse(window, budget)
            yield from (replace(self._answers[key], budget=budget) for key in window)

    def _reverse(
        self, keys: Sequence[tuple[int, ModelCondition, Size]], budget: int | None
    ) -> None:
        """Ask those of some questions that have choices with these reversed, once each."""
        due = {
            key[0]: key
            for key in keys
            if self._answers[key].other_order is None
            and other_order(self.samples[key[0]].query) is not None
        }
        if not due:
            return
        turned = {
            index: self.samples[index].model_copy(
                update={"choices": self.samples[index].choices[::-1]}
            )
            for index in due
        }
        texts: dict[int, str] = {}
        plain = [index for index in due if not turned[index].views]
        jobs = [self._job(turned[index], budget, "model") for index in plain]
        results = ask_together(jobs, self._performer, self._allocator, most=MOST_TOKENS)
        texts |= {index: one.answer.text for index, one in zip(plain, results, strict=True)}
        viewed = [index for index in due if turned[index].views]
        answers = ask_views(
            self._performer,
            [turned[index] for index in viewed],
            self._pictures,
            budget,
            GenerationSettings(max_new_tokens=MAX_NEW_TOKENS),
        )
        texts |= {index: one.answer.text for index, one in zip(viewed, answers, strict=True)}
        for index, key in due.items():
            self._answers[key] = replace(self._answers[key], other_order=texts[index])

    def windows(self, questions: Sequence[T], sizes: Sequence[Size]) -> Iterator[Sequence[T]]:
        """Questions in groups that the model takes at once, by the sizes of their pictures."""
        token_px, begin, tokens = self._performer.info.dims.token_px, 0, 0
        for at, (width, height) in enumerate(sizes):
            own = width * height // token_px**2
            if at > begin and (at - begin >= self._together or tokens + own > MOST_TOKENS):
                yield questions[begin:at]
                begin, tokens = at, 0
            tokens += own
        if begin < len(questions):
            yield questions[begin:]

    def ask(
        self, indexes: Sequence[int], budget: int | None, condition: ModelCondition = "model"
    ) -> list[Prediction]:
        """Ask some questions at a budget; parameters as in `run`."""
        viewed = [index for index in indexes if self.samples[index].views]
        items = self._ask_views(viewed, budget, condition)
        plain = [index for index in indexes if index not in items]
        jobs = {index: self._job(self.samples[index], budget, condition) for index in plain}
        alone = {
            index: ask(job, self._performer, self._allocator)
            for index, job in jobs.items()
            if index in self._timed
        }
        rest = {index: job for index, job in jobs.items() if index not in alone}
        joint = ask_together(
            list(rest.values()), self._performer, self._allocator, most=MOST_TOKENS
        )
        results = alone | dict(zip(rest, joint, strict=True))
        items |= {
            index: self._item(index, budget, condition, results[index], timed=index in alone)
            for index in plain
        }
        return [items[index] for index in indexes]

    def _ask_views(
        self, indexes: Sequence[int], budget: int | None, condition: ModelCondition
    ) -> dict[int, Prediction]:
        """Items of samples with views, those whose seconds count alone, the rest together."""
        begin = UNREASONED if condition == "unreasoned" else ""
        settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, begin=begin)
        groups = [[index] for index in indexes if index in self._timed]
        groups.append([index for index in indexes if index not in self._timed])
        items = {}
        for group in groups:
            answers = ask_views(
                self._performer,
                [self.samples[index] for index in group],
                self._pictures,
                budget,
                settings,
                white=condition == "text_only",
            )
            for index, one in zip(group, answers, strict=True):
                done = one.completion
                items[index] = self._scorer.item(
                    index,
                    condition,
                    one.answer,
                    budget,
                    size=self._size(index, budget),
                    tokens=done.visual_tokens,
                    native=one.native,
                    flops=one.flops,
                    flops_native=one.flops_native,
                    seconds=done.seconds if index in self._timed else math.nan,
                    confidence=one.confidence,
                    probability=self._probability(index, one.confidence),
                    probabilities=one.choices or None,
                    ood=None if done.ood is None else done.ood.score,
                )
        return items

    def _probability(self, index: int, confidence: float | None) -> float | None:
        """Of an answer among its choices, before calibration; None where there are none."""
        sample = self.samples[index]
        if not sample.choices:
            return None
        info = self._performer.info
        scale = scale_of(sample.query, "choice", info.calibration, info.metadata)
        return uncalibrated(confidence, scale)

    def _job(self, sample: Sample, budget: int | None, condition: ModelCondition) -> Job:
        slide = self._pictures.slide(sample)
        if condition == "text_only":  # as large as the picture, without taking its memory
            white = np.broadcast_to(np.uint8(255), (slide.height, slide.width, 3))
            slide = slide_from_arrays([white], "sample")
        begin = UNREASONED if condition == "unreasoned" else ""
        return Job(
            slide,
            Request(
                self._pictures.region(sample),
                sample.query,
                "native" if budget is None else budget,
                GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, begin=begin),
                policy="one_view",
            ),
            bounded=False,
        )

    def _item(
        self, index: int, budget: int | None, condition: ModelCondition, result: Result, timed: bool
    ) -> Prediction:
        return self._scorer.item(
            index,
            condition,
            relative(result),
            budget,
            size=result.picture_size,
            tokens=result.tokens.read,
            native=result.tokens.native_picture,
            flops=result.tokens.flops,
            flops_native=result.tokens.flops_native_picture,
            seconds=sum(result.seconds.values()) if timed else math.nan,
            confidence=result.confidence,
            ood=None if result.ood is None else result.ood.score,
            probability=self._probability(index, result.confidence),
            probabilities=_probabilities(result),
            box_confidences=_box_confidences(result),
        )


def uncalibrated(confidence: float | None, scale: Scale) -> float | None:
    """The probability of an answer among its choices that a calibrated confidence was made of.

    A calibration may call both of two choices likely, so that its complement is no probability of
    the other one.
    """
    if confidence is None:
        return None
    return scaled(confidence, Scale(1 / scale.temperature, -scale.offset * scale.temperature))


def _probabilities(result: Result) -> tuple[float, ...] | None:
    """Of each choice, where one prompt was answered."""
    return (result.readings[0].choices or None) if len(result.readings) == 1 else None


def _box_confidences(result: Result) -> tuple[float, ...] | None:
    """Confidence of each box of the answer, in their order; None where one is not known."""
    each = [detection.confidence for detection in result.detections]
    known = tuple(confidence for confidence in each if confidence is not None)
    return known if len(known) == len(each) == len(result.answer.boxes) else None


def _first_of_each_kind(samples: Sequence[Sample], most: int) -> set[int]:
    kinds: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        kinds[sample.kind].append(index)
    return {index for indexes in kinds.values() for index in indexes[:most]}


def relative(result: Result) -> Answer:
    """The answer with its boxes in 0-1000 of the region, as labels are given."""
    if result.model.box_space == "relative":
        return result.answer
    if result.model.box_space == "relative_yx":
        swapped = tuple(
            replace(box, x1=box.y1, y1=box.x1, x2=box.y2, y2=box.x2) for box in result.answer.boxes
        )
        return replace(result.answer, boxes=swapped)
    x, y = (1000 / side for side in result.picture_size)
    boxes = tuple(
        replace(box, x1=box.x1 * x, x2=box.x2 * x, y1=box.y1 * y, y2=box.y2 * y)
        for box in result.answer.boxes
    )
    return replace(result.answer, boxes=boxes)

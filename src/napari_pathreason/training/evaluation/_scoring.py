"""From a reply to its scores: the one place where items are made, first and again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np

from napari_pathreason.tasks import TASKS, Target, summary, whole_choice
from napari_pathreason.training.samples import (
    Pictures,
    Sample,
    View,
    confirmed,
    read_view,
    region_target,
)
from napari_pathreason.types import Answer

from ._prediction import Condition, Prediction, matches

SMALLEST = 4
"""Labels in shares of a picture are the same at every budget; the cheapest reading gives them."""
KEPT = 512
"""Views, masks of nuclei among them, that are kept; each question is scored at many budgets."""


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
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        pictures: Pictures,
        token_px: int,
        seed: int = 0,
        groups: Sequence[str] = (),
    ) -> None:
        self.samples = samples
        self.pictures = pictures
        self.token_px = token_px
        self._groups = groups or [""] * len(samples)
        self._others = others(samples, seed)
        self._targets: dict[int, Target] = {}
        self._view = lru_cache(KEPT)(self._read)

    def _read(self, index: int) -> View:
        view = read_view(self.samples[index], self.pictures, SMALLEST, self.token_px)
        return replace(view, pixels=np.empty((0, 0, 3), np.uint8))

    def target(self, index: int) -> Target:
        """The label of a question."""
        if index not in self._targets:
            sample = self.samples[index]
            self._targets[index] = region_target(sample, self.pictures.region(sample))
        return self._targets[index]

    def parse(self, index: int, text: str) -> Answer:
        """What a text says as the whole answer to a question."""
        sample = self.samples[index]
        return TASKS[sample.task].parse(f"<think></think><answer>{text}</answer>", sample.query)

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
        scored = self._scored(index, condition, answer)
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
            **scored,
            **measured,
        )

    def again(self, item: Prediction) -> Prediction:
        """The item with its reply parsed and scored anew; nothing may be missing in it.

        Boxes are those that zooms left, as far as their labels are asked for: what the
        looks wrote is not kept.
        """
        sample = self.samples[item.index]
        answer = TASKS[sample.task].parse(item.reply or "", sample.query)
        if sample.task == "detection" and answer.readable:
            labels = sample.choices or tuple(box.label for box in item.boxes or ())
            boxes = tuple(b for b in item.boxes or () if whole_choice(b.label, labels) is not None)
            answer = replace(answer, boxes=boxes, text=summary(boxes))
        return replace(item, boxes=answer.boxes, **self._scored(item.index, item.condition, answer))

    def _scored(self, index: int, condition: Condition, answer: Answer) -> dict[str, Any]:
        sample, target = self.samples[index], self.target(index)
        detection = sample.task == "detection"
        words = summary(target.boxes) if detection else target.text
        scored: dict[str, Any] = {
            "score": TASKS[sample.task].score(answer, target),
            "answer": answer.text,
            "truth": words,
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
        return scored | {
            "cited": cited,
            "confirmed": int(right),
            "shuffled": None if other is None else int(elsewhere),
        }


def others(samples: Sequence[Sample], seed: int) -> list[int | None]:
    """For each sample the index of one of the same topic about another picture; None if none."""
    topics: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        topics[sample.kind].append(index)
    found: list[int | None] = [None] * len(samples)
    for topic, members in sorted(topics.items()):
        order = Random(f"{seed}-{topic}-others").sample(members, len(members))
        for place, index in enumerate(order):
            for other in order[place + 1 :] + order[:place]:
                if _picture(samples[other]) != _picture(samples[index]):
                    found[index] = other
                    break
    return found


def _picture(sample: Sample) -> tuple[Any, ...]:
    return sample.image, sample.region

"""What a completion is worth, by reward functions that a recipe names and weighs.

They have TRL's signature, so that one that was written for its GRPOTrainer serves here. Two are
here, ``task`` and ``paper``: the score of the answer, its form, the facts that it cites.
`score_completion` scores by this project's rules or, for comparison, as the paper's public code
does. The flaws of the latter are known (docs/paper_index.md) and kept: false boxes after the true
ones are free, a picture without lesions can never score, and two right words of two score 0.22.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch

from napari_pathreason import types
from napari_pathreason.engine import (
    VIEW_TOKENS,
    answer_of,
    refine,
    to_detections,
    zoom_windows,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Box, Region, iou
from napari_pathreason.tasks import TASKS, Target, same_choice, split_frame
from napari_pathreason.training.recipe import GRPORecipe, load_object
from napari_pathreason.training.samples import MOST_FACTS, Sample, View, confirmed, score_target
from napari_pathreason.types import Answer, AnswerBox, BoxSpace, TaskName

RewardFunction: TypeAlias = Callable[..., Sequence[float | None]]
"""``f(prompts, completions, **columns)``, a reward for each completion; see `Rewards.score`."""
RewardKind = Literal["task", "paper"]
KINDS: tuple[RewardKind, ...] = get_args(RewardKind)
DENIED = 1.5
"""What a cited fact that the labels deny costs, against 1 for one that they confirm."""


@dataclass(frozen=True, slots=True)
class RewardBreakdown:
    """A completion beside its label.

    ``score`` is the answer's, 0 to 1; ``well_formed`` says whether the form was kept; ``confirmed``
    of ``cited`` facts of the rationale hold, and ``words`` is its length.
    """

    score: float
    well_formed: bool
    words: int
    cited: int
    confirmed: int

    def reward(self, format_weight: float, evidence_weight: float = 0.0) -> float:
        """``score + format_weight * [well_formed] + evidence_weight * evidence``.

        The weights are 1 and 0 in the paper. ``evidence`` is
        ``(confirmed - DENIED * (cited - confirmed)) / MOST_FACTS``: a fact is rewarded where it is
        likelier to hold than 0.6, and silence leaves the reward as it is.
        """
        denied = self.cited - self.confirmed
        evidence = (self.confirmed - DENIED * denied) / MOST_FACTS
        return self.score + format_weight * self.well_formed + evidence_weight * evidence


@dataclass(frozen=True, slots=True)
class BoxRefiner:
    """What zooming in will make of boxes, where it errs in nothing; the reward of such boxes.

    A model whose boxes of small things are refined (`engine`, `Metadata.zoom_labels`) needs to
    point at them so that the zoomed view holds them. Its boxes are scored as a perfect refinement
    leaves them: a reward for its own sides would teach what is thrown away.

    ``labels`` are those that are refined, ``token_px`` is the side of a visual token in pixels.
    """

    labels: tuple[str, ...]
    token_px: int

    def refined(self, answer: Answer, truth: Sequence[AnswerBox], view: View) -> Answer:
        """The answer after refinement by true sides, boxes 0 to 1000 of the region.

        A detection takes the sides of the true thing nearest to it that its zoomed view holds
        whole. Where that holds none, or one that another detection took, the detection stays and
        costs what a false one does: a model that is not punished for detections makes many.

        Parameters
        ----------
        answer : Answer
        truth : sequence of AnswerBox
            0 to 1000 of the region, as the answer's.
        view : View
        """
        columns, rows = view.grid
        region = Region(0, 0, *view.size)
        detections = list(to_detections(answer.boxes, region, view.size, "relative"))
        if len(detections) < len(answer.boxes):  # one without an area has no place to zoom to
            return answer
        things = to_detections(truth, region, view.size, "relative")
        shown = types.View(region, view.size, columns * rows)
        zoomed = zoom_windows(
            detections,
            [shown] * len(detections),
            self.labels,
            self.token_px,
            columns * rows // VIEW_TOKENS,
        )
        if not zoomed:  # an answer in words too: it has no boxes, and stays as it was written
            return answer
        for place, window in zoomed.items():
            inside = [thing for thing in things if _contains(window.box, thing.box)]
            detections[place] = refine(detections[place], inside) or detections[place]
        return answer_of(answer, detections, region, view.size, "relative")


def _contains(window: Box, thing: Box) -> bool:
    (x1, y1, x2, y2), (left, top, right, bottom) = thing.corners, window.corners
    return left <= x1 and top <= y1 and x2 <= right and y2 <= bottom


def score_completion(
    text: str,
    sample: Sample,
    view: View,
    kind: RewardKind,
    refiner: BoxRefiner | None = None,
    box_space: BoxSpace = "relative",
) -> RewardBreakdown:
    """Score a completion by the labels.

    Parameters
    ----------
    text : str
    sample, view : Sample, View
        The question, and its labels in the frame that the model saw.
    kind : {"task", "paper"}
        ``task``: `Task.score`;
        ``paper``: the right choice, BLEU-4, AP50 in listing order, and a form that asks for the
        two tags alone.
    refiner : BoxRefiner, optional
        Of a model whose boxes are refined; they are scored as that leaves them.
    box_space : BoxSpace
        How the model writes boxes: 0 to 1000 of the picture, x or y first, or its pixels as it was
        shown, as a base Qwen2.5-VL does.
    """
    task = TASKS[sample.task]
    answer, target = task.parse(text, sample.query), score_target(sample, view)
    if answer.boxes:
        height, width = view.pixels.shape[:2]
        answer = replace(answer, boxes=on_thousand(answer.boxes, box_space, (width, height)))
    right, cited = confirmed(answer.rationale, view)
    paper = kind == "paper"
    if refiner is not None and not paper:
        answer = refiner.refined(answer, target.boxes, view)
    return RewardBreakdown(
        score=paper_score(answer, target, sample.task) if paper else task.score(answer, target),
        # an answer alone is no fault, and no form with a rationale either, which is what pays
        well_formed="<think>" in text and (split_frame(text)[2] if paper else answer.well_formed),
        words=len(answer.rationale.split()),
        cited=cited,
        confirmed=right,
    )


def on_thousand(
    boxes: Sequence[AnswerBox], space: BoxSpace, size: tuple[int, int]
) -> tuple[AnswerBox, ...]:
    """Boxes 0 to 1000 of a picture, x first, that a model wrote in its own space.

    ``size`` is the (width, height) of the picture as it was shown.
    """
    if space == "relative":
        return tuple(boxes)
    if space == "relative_yx":
        return tuple(replace(b, x1=b.y1, y1=b.x1, x2=b.y2, y2=b.x2) for b in boxes)
    x, y = (1000 / side for side in size)
    return tuple(
        replace(box, x1=box.x1 * x, x2=box.x2 * x, y1=box.y1 * y, y2=box.y2 * y) for box in boxes
    )


def paper_score(answer: Answer, target: Target, task: TaskName) -> float:
    """What the paper's public code gives: AP50, the exact choice, or BLEU-4."""
    if task == "detection":
        return ap50(answer.boxes, target.boxes)
    if target.choices:
        return float(same_choice(answer.text, target.text, target.choices))
    return bleu4(answer.text, target.text)


@dataclass(frozen=True, slots=True)
class Rewarded:
    """How completions are rewarded.

    ``rewards`` float (completions,) is the weighted sum, NaN where no function applies;
    ``by_function`` holds what each gave (completions,), NaN where it does not apply;
    ``breakdowns`` say how each answer scores, whatever the recipe rewards.
    """

    rewards: torch.Tensor
    by_function: dict[str, torch.Tensor]
    breakdowns: list[RewardBreakdown]

    def figures(self) -> dict[str, float]:
        """Means for the log; a function that applies nowhere is left out."""
        means = {"reward": self.rewards.nanmean()}
        means |= {f"rewards/{name}/mean": own.nanmean() for name, own in self.by_function.items()}
        return {name: round(float(mean), 4) for name, mean in means.items() if not mean.isnan()}


class Rewards:
    """The reward functions of a recipe, each with its weight.

    Parameters
    ----------
    settings : GRPORecipe
    beside : sequence of Path
        Folders in which own functions are looked for; see `load_object`.
    refiner : BoxRefiner, optional
    box_space : BoxSpace
        Both as of `score_completion`.

    Raises
    ------
    QueryError
        If a function is not there; names it.
    """

    def __init__(
        self,
        settings: GRPORecipe,
        beside: Sequence[Path] = (),
        refiner: BoxRefiner | None = None,
        box_space: BoxSpace = "relative",
    ) -> None:
        self._settings, self._refiner, self._box_space = settings, refiner, box_space
        # how answers score in the log: as the paper has it where that is what they are paid for
        paper = "paper" in settings.rewards and "task" not in settings.rewards
        self._shown: RewardKind = "paper" if paper else "task"
        own: dict[str, RewardFunction] = {kind: self._make(kind) for kind in KINDS}
        self.functions = {
            name: own[name] if name in own else _load(name, beside) for name in settings.rewards
        }
        """By the names that the recipe has for them."""
        self._weights = settings.reward_weights or (1.0,) * len(settings.rewards)

    def _make(self, kind: RewardKind) -> RewardFunction:
        settings = self._settings

        def reward(
            completions: Sequence[str],
            sample: Sequence[Sample],
            view: Sequence[View],
            breakdown: Sequence[RewardBreakdown],
            **_: Any,
        ) -> list[float]:
            if kind != self._shown:
                breakdown = self._break_down(completions, sample, view, kind)
            return [
                each.reward(settings.format_weight, settings.evidence_weight) for each in breakdown
            ]

        return reward

    def _break_down(
        self,
        texts: Sequence[str],
        samples: Sequence[Sample],
        views: Sequence[View],
        kind: RewardKind,
    ) -> list[RewardBreakdown]:
        return [
            score_completion(text, sample, view, kind, self._refiner, self._box_space)
            for text, sample, view in zip(texts, samples, views, strict=True)
        ]

    def score(
        self,
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        questions: Sequence[tuple[Sample, View]],
        step: int,
    ) -> Rewarded:
        """Ask every function.

        Each is called with lists of one entry a completion: ``prompts`` and ``completions`` (text),
        ``completion_ids``, the fields of `Sample`, and beside them ``sample``, ``view`` (`View`)
        and ``breakdown`` (`RewardBreakdown`); and with ``trainer_state``, transformers' own.
        ``answer`` and ``boxes`` (of `AnswerBox`, 0 to 1000 of the region) are the label in the
        frame that the model saw, which may have been turned; the other fields are the sample's.

        Parameters
        ----------
        completions : sequence of str
        completion_ids : sequence of sequence of int
        questions : sequence of (Sample, View)
            That of each completion.
        step : int
            Steps of the run that came before.

        Raises
        ------
        QueryError
            If a function gives another number of rewards.
        """
        from transformers import TrainerState

        state = TrainerState(global_step=step, max_steps=self._settings.steps)
        columns = self.columns(completions, completion_ids, questions, state)
        each = torch.tensor(
            [ask(name, function, columns) for name, function in self.functions.items()]
        )  # (functions, completions)
        weights = torch.tensor(self._weights)[:, None]
        rewards = (each * weights).nansum(0).masked_fill(each.isnan().all(0), math.nan)
        return Rewarded(rewards, dict(zip(self.functions, each, strict=True)), columns["breakdown"])

    def columns(
        self,
        completions: Sequence[str],
        completion_ids: Sequence[Sequence[int]],
        questions: Sequence[tuple[Sample, View]],
        state: Any,
    ) -> dict[str, Any]:
        """What every function is called with; ``state`` is transformers' ``TrainerState``.

        The other parameters are those of `score`.
        """
        samples, views = [sample for sample, _ in questions], [view for _, view in questions]
        labels = [score_target(sample, view) for sample, view in questions]
        return {
            **{name: [getattr(each, name) for each in samples] for name in Sample.model_fields},
            "answer": [label.text for label in labels],
            "boxes": [label.boxes for label in labels],
            "sample": samples,
            "view": views,
            "breakdown": self._break_down(completions, samples, views, self._shown),
            "prompts": [_prompt(sample, self._box_space) for sample in samples],
            "completions": list(completions),
            "completion_ids": list(completion_ids),
            "trainer_state": state,
        }


def _load(reference: str, beside: Sequence[Path]) -> RewardFunction:
    if ":" not in reference:
        raise QueryError(
            f"grpo.rewards names {reference!r}; give {', '.join(KINDS)}, or module:function"
        )
    function: RewardFunction = load_object(reference, beside)
    if not callable(function):
        raise QueryError(f"{reference} of grpo.rewards is no function")
    return function


def ask(name: str, function: RewardFunction, columns: dict[str, Any]) -> list[float]:
    """Rewards of one function for `Rewards.columns`, NaN where it does not apply.

    Raises
    ------
    QueryError
        If it gives another number of rewards.
    """
    rewards = [math.nan if reward is None else float(reward) for reward in function(**columns)]
    if len(rewards) != len(columns["completions"]):
        raise QueryError(
            f"the reward function {name} gave {len(rewards)} rewards for "
            f"{len(columns['completions'])} completions; give one for each, or None"
        )
    return rewards


def _prompt(sample: Sample, box_space: BoxSpace) -> str:
    """The text that stands behind the picture, or behind the last one."""
    messages = TASKS[sample.task].messages(sample.query, (), box_space)
    return str(messages[-1]["content"][-1]["text"])


def ap50(predicted: Sequence[AnswerBox], truth: Sequence[AnswerBox]) -> float:
    """Average precision at an overlap of 0.5, boxes in listing order, labels left aside.

    Each box takes the best true one that is still free; area under the interpolated curve of
    precision over recall; 0 where there are no true boxes, or none predicted.
    """
    if not predicted or not truth:
        return 0.0
    free = [_box(box) for box in truth]
    hits = 0
    curve = []  # (recall, precision) after each box
    for count, box in enumerate(predicted, 1):
        best = max(free, key=lambda true: iou(_box(box), true), default=None)
        if best is not None and iou(_box(box), best) >= 0.5:
            free.remove(best)
            hits += 1
        curve.append((hits / len(truth), hits / count))
    area, reached = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        area += (recall - reached) * max(precision for _, precision in curve[index:])
        reached = recall
    return area


def bleu4(predicted: str, truth: str) -> float:
    """BLEU of a sentence against one other, orders 1 to 4 weighed alike, smoothing 4.

    Papineni et al. (2002); smoothing after Chen and Cherry (2014), method 4, with the constants
    and the corner cases of NLTK, which the paper's code calls.
    """
    words, others = predicted.split(), truth.split()
    shares = []
    missing = 0
    for order in range(1, 5):
        grams = _grams(words, order)
        shared = sum((grams & _grams(others, order)).values())
        if order == 1 and not shared:
            return 0.0
        among = max(1, sum(grams.values()))
        if not shared and len(words) > 1:
            missing += 1
            shares.append(math.log(len(words)) / (5 * 2**missing) / among)
        elif shared:
            shares.append(shared / among)
    brevity = 1.0 if len(words) > len(others) else math.exp(1 - len(others) / len(words))
    return brevity * math.exp(sum(math.log(share) for share in shares) / 4)


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def _box(box: AnswerBox) -> Box:
    return Box.from_corners(box.x1, box.y1, box.x2, box.y2)

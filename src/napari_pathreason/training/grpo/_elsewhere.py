"""The rewards of this project for TRL's ``GRPOTrainer``, as its ``reward_funcs``.

`make_reward` is for a trainer that somebody else runs, on the columns of a data set that
`data export` wrote (for ms-swift see `recipes/ms_swift_rewards.py`); `reward_funcs` are those of a
recipe, on our own samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from napari_pathreason.tasks import TASKS, Target, split_frame
from napari_pathreason.training.samples import Sample, View
from napari_pathreason.types import AnswerBox, BoxSpace, Query

from ._rewards import (
    KINDS,
    RewardFunction,
    RewardKind,
    Rewards,
    ask,
    on_thousand,
    paper_score,
)
from ._rollout import answer_figures

Completion = str | Sequence[Mapping[str, Any]]
"""A text, or a conversation whose last turn is it."""


def make_reward(
    kind: RewardKind = "task", format_weight: float = 1.0, box_space: BoxSpace = "relative"
) -> Callable[..., list[float]]:
    """A reward function in TRL's signature.

    Parameters
    ----------
    kind : {"task", "paper"}
        See `score_completion`.
    format_weight : float
        What the whole form ``<think>...</think><answer>...</answer>`` adds.
    box_space : BoxSpace
        How the model writes boxes; pixels ("resized") need the column ``picture_size`` or
        ``images``.

    Returns
    -------
    callable
        ``f(completions, task, question, choices, answer, boxes, **columns)``, a reward for each.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no reward {kind!r}; take one of {', '.join(KINDS)}")

    def reward(
        completions: Sequence[Completion],
        task: Sequence[Any],
        question: Sequence[str],
        choices: Sequence[Sequence[str]],
        answer: Sequence[str],
        boxes: Sequence[Sequence[Mapping[str, Any]]],
        images: Sequence[Sequence[Any]] | None = None,
        picture_size: Sequence[Sequence[int]] | None = None,
        **_: Any,
    ) -> list[float]:
        rewards = []
        for place, completion in enumerate(completions):
            text = _text_of(completion)
            query = Query(task[place], question[place], tuple(choices[place]))
            true = tuple(AnswerBox(box["label"], *box["bbox_2d"]) for box in boxes[place])
            offered = () if query.task == "detection" else query.options
            target = Target(answer[place], true, offered)
            reply = TASKS[query.task].parse(text, query)
            whole = split_frame(text)[2] if kind == "paper" else reply.well_formed
            if reply.boxes:
                size = (1000, 1000)
                if picture_size is not None:
                    size = picture_size[place][0], picture_size[place][1]
                elif images is not None:
                    size = images[place][0].size
                elif box_space == "resized":
                    raise ValueError("boxes in pixels need the column picture_size, or images")
                reply = replace(reply, boxes=on_thousand(reply.boxes, box_space, size))
            score = (
                paper_score(reply, target, query.task)
                if kind == "paper"
                else TASKS[query.task].score(reply, target)
            )
            rewards.append(score + format_weight * ("<think>" in text and whole))
        return rewards

    reward.__name__ = f"{kind}_reward"
    return reward


def _text_of(completion: Completion) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content", "") if completion else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, Mapping))


def reward_funcs(rewards: Rewards, tokenizer: Any) -> list[Callable[..., list[float]]]:
    """The functions of a recipe for a trainer whose rows hold ``sample`` and ``view``.

    Each is called as the own loop calls it, and bears its name of the recipe. Completions are read
    from their tokens, as answers are, and not as a template parses them. The first one also tells
    the trainer's log what the answers score, whatever is rewarded.

    Parameters
    ----------
    rewards : Rewards
    tokenizer : transformers tokenizer

    Returns
    -------
    list of callable
        ``f(completion_ids, sample, view, trainer_state, log_metric, **columns)``; NaN where a
        function does not apply.
    """

    def make(name: str, function: RewardFunction, first: bool) -> Callable[..., list[float]]:
        def reward(
            completion_ids: Sequence[Sequence[int]],
            sample: Sequence[Sample],
            view: Sequence[View],
            trainer_state: Any,
            log_metric: Callable[[str, float], None],
            **_: Any,
        ) -> list[float]:
            texts = [
                tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                for ids in completion_ids
            ]
            questions = list(zip(sample, view, strict=True))
            columns = rewards.columns(texts, completion_ids, questions, trainer_state)
            if first:
                for figure, value in answer_figures(columns["breakdown"], sample).items():
                    log_metric(figure, value)
            return ask(name, function, columns)

        reward.__name__ = name
        return reward

    return [
        make(name, function, not place)
        for place, (name, function) in enumerate(rewards.functions.items())
    ]

"""GRPO of an allocator that writes, in one loop: a number of tokens, or windows with theirs.

A second adapter on the performer's weights sees a region coarsely and writes several texts for each
question; each is worth what the performer scores where it leads to, less its cost. Left out on
purpose: turned and restained overviews, as the scores are of the picture as it is; reading ahead,
as overviews are small; one lambda for each effort, as each would be another adapter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator

from napari_pathreason.budgets import flops
from napari_pathreason.errors import QueryError
from napari_pathreason.models import NORMALISATION, PromptBatch, TextForm, save_text_allocator
from napari_pathreason.training.grpo import Learner, Rollout, join_processes, prompts_of
from napari_pathreason.training.model import start_second_lora
from napari_pathreason.training.recipe import AllocatorRecipe, LoraRecipe, Recipe
from napari_pathreason.training.run import TrainingLoop, learnt_adapter
from napari_pathreason.types import ModelInfo, Prompt

from ._tables import performer_folder

PANELS = {
    "reward": "reward",
    "score": "score of what was chosen",
    "cost": "cost; 1 is native",
    "tokens": "visual tokens allocated",
    "format": "share in the whole form",
    "nothing": "share that chose nothing",
    "length": "tokens written",
    "entropy": "entropy (nats a token)",
}
"""Panels of the learning curve."""

Scored = TypeVar("Scored")
"""A text beside what it leads to."""


class Questions(Protocol[Scored]):
    """Labelled questions that texts are written about."""

    @property
    def info(self) -> ModelInfo:
        """Of the performer."""

    @property
    def calls(self) -> int:
        """How often the performer was asked."""

    def __len__(self) -> int: ...

    def prompt(self, place: int) -> Prompt:
        """What the allocator reads of a question."""

    def score(self, place: int, text: str, own_flops: float) -> Scored:
        """What a text about a question leads to; ``own_flops`` were spent on writing it."""

    def rewards(self, each: Sequence[Scored]) -> torch.Tensor:
        """Reward of each text, float (texts,); NaN where what it leads to cannot be read."""

    def figures(self, each: Sequence[Scored]) -> dict[str, float]:
        """Means over texts, for the log."""


def join_writers(recipe: Recipe, out: Path) -> tuple[Accelerator, Path, LoraRecipe]:
    """Take part in a run of an allocator that writes; ``out`` is its folder.

    Returns
    -------
    tuple
        The processes that learn together, the folder of the performer, and the second adapter.

    Raises
    ------
    QueryError
        If there is no performer to allocate for, or the recipe has no ``lora``.
    """
    if recipe.lora is None:
        raise QueryError("an allocator that writes is a second adapter; give the recipe a lora")
    accelerator = join_processes(recipe, recipe.allocator.text, out)
    with accelerator.main_process_first():  # the others find what the first has copied
        folder = performer_folder(recipe)
    return accelerator, folder, recipe.lora


def learn_to_write(
    recipe: Recipe,
    accelerator: Accelerator,
    folder: Path,
    lora: LoraRecipe,
    train: Questions[Scored],
    val: Questions[Scored],
    out: Path,
    of: Mapping[str, Any],
    *,
    windows: bool = False,
) -> None:
    """Train until ``recipe.allocator.text.steps``, and put the adapter beside the performer.

    Parameters
    ----------
    recipe : Recipe
    accelerator : Accelerator
        Of `join_writers`.
    folder : Path
        Of the performer.
    lora : LoraRecipe
    train, val : Questions
        To learn from, and held out.
    out : Path
        Folder of the run.
    of : mapping
        To which run its states belong.
    windows : bool
        Whether windows are written, not a number.
    """
    settings: AllocatorRecipe = recipe.allocator
    text = settings.text
    learner = Learner(
        accelerator, recipe, text, lambda: start_second_lora(str(folder), lora, recipe.seed)
    )
    loop = TrainingLoop(accelerator, recipe, text, out, "allocator", PANELS, of)
    rank, processes = accelerator.process_index, accelerator.num_processes

    def make(source: Questions[Scored], places: Sequence[int]) -> PromptBatch:
        """What the allocator reads of some questions."""
        each = [source.prompt(at) for at in places]
        pictures, chats = [one.pictures for one in each], [[one.messages] for one in each]
        info = source.info
        family = NORMALISATION[info.family]
        prompts = prompts_of(pictures, chats, learner.tokenizer, info.dims, family)
        return prompts.to(accelerator.device)

    def read(
        source: Questions[Scored],
        places: Sequence[int],
        prompts: PromptBatch,
        rollout: Rollout,
    ) -> list[Scored]:
        """What completions lead to; as many of each question, one question behind another."""
        lengths = rollout.mask.sum(1).tolist()
        texts = rollout.texts(learner.tokenizer)
        each = len(texts) // len(places)
        visual = prompts.visual_tokens
        words = [all_ - own for all_, own in zip(prompts.lengths, visual, strict=True)]
        dims = source.info.dims
        return [
            source.score(
                places[i // each],
                one,
                flops(dims, visual[i // each], words[i // each], lengths[i]),
            )
            for i, one in enumerate(texts)
        ]

    def validate() -> dict[str, float]:
        """Greedy texts for held-out questions."""
        scored: list[Scored] = []
        count = min(len(val), text.validate_samples)
        for begin in range(0, count, text.batch_size):
            places = range(begin, min(begin + text.batch_size, count))
            prompts = make(val, places)
            scored += read(val, places, prompts, learner.sample_greedily(prompts))
        reward = round(float(val.rewards(scored).nanmean()), 4)
        means = {"reward": reward} | val.figures(scored)
        return {f"val_{name}": value for name, value in means.items()}

    with loop:
        while loop.step < loop.last:
            started = time.perf_counter()
            first = (loop.step * processes + rank) * text.batch_size
            places = in_turn(len(train), recipe.seed, first, text.batch_size)
            prompts = make(train, places)

            # write several texts for every question
            rollout = learner.sample(prompts, loop.step)
            sampled = time.perf_counter() - started

            # what the performer scores where they lead to
            scored = read(train, places, prompts, rollout)
            rewards = train.rewards(scored).view(len(places), text.num_generations)

            # make the better ones of each group more likely
            learnt = learner.learn(
                prompts, rollout, rewards, loop.step, scale_rewards=settings.scaled
            )
            rollouts = (loop.step + 1) * processes * text.batch_size * text.num_generations
            record = {
                **learnt,
                **train.figures(scored),
                "length": round(float(rollout.mask.sum(1).float().mean()), 2),
                "cut_off": round(float((~rollout.finished).float().mean()), 4),
                "rollouts": rollouts,
                "performer_calls": train.calls,
                "seconds": round(time.perf_counter() - started, 3),
                "seconds_sampling": round(sampled, 3),
            }
            loop.end_step(record, validate, shown=("reward", "cost"))
    config, matrices = learnt_adapter(accelerator, learner.model)
    if accelerator.is_main_process:
        form = TextForm(text.overview, text.max_completion_length, text.effort)
        save_text_allocator(folder, form, config, matrices, windows=windows)
    accelerator.wait_for_everyone()


def in_turn(count: int, seed: int, first: int, most: int) -> list[int]:
    """Places of a step's questions: each is asked once before any is asked again.

    Parameters
    ----------
    count, seed : int
    first : int
        How many were asked before.
    most : int
    """
    return [_order(count, seed, at // count)[at % count] for at in range(first, first + most)]


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> list[int]:
    return Random(f"{seed}-{epoch}").sample(range(count), count)

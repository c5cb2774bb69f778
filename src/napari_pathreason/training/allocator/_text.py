"""Reinforcement learning of an allocator that writes its number (GRPO), in one loop.

The paper's own form: a second adapter on the performer's weights sees an overview, is told how many
tokens that has and how many there are, and writes a number. s(N) is tabulated before, as for the
head: a number is snapped to the budget grid, so each completion's reward is looked up, and the
performer is asked once for each size of a question, however many completions name it. It is gone
from memory before the adapter is put on. Left out on purpose: turned and restained overviews, as
s(N) was measured on the picture as it is; reading ahead, as overviews are small; one lambda for
each effort, as each would be another adapter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from random import Random

from napari_pathreason.budgets import flops, plan
from napari_pathreason.errors import QueryError
from napari_pathreason.models import NORMALISATION, PromptBatch, TextForm, save_text_allocator
from napari_pathreason.tasks import allocation_messages
from napari_pathreason.training.grpo import Learner, Rollout, join_processes, prompts_of
from napari_pathreason.training.model import start_second_lora
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import TrainingLoop, alone, learnt_adapter

from ._rewards import ScoredAllocation, score_allocation, text_figures, text_rewards
from ._state import make_room, text_identity
from ._tables import ScoreTable, native_flops, performer_folder, train_val_tables

PANELS = {
    "reward": "reward",
    "score": "score of the budget",
    "cost": "cost; 1 is native",
    "tokens": "visual tokens allocated",
    "format": "share in the whole form",
    "no_number": "share without a number",
    "length": "tokens written",
    "entropy": "entropy (nats a token)",
}
"""Panels of the learning curve."""


@alone
def train_text_allocator(recipe: Recipe) -> Path:
    """Train until ``allocator.text.steps``; continues from ``output``/allocator/text.

    With other lambdas or another performer it begins anew, and keeps the tables of s(N).

    Returns
    -------
    Path
        Folder of the performer, beside whose weights the allocator now lies.

    Raises
    ------
    QueryError
        If there is no performer to allocate for, or the recipe has no ``lora``.
    """
    if recipe.lora is None:
        raise QueryError("an allocator that writes is a second adapter; give the recipe a lora")
    settings, lora = recipe.allocator, recipe.lora
    text, out = settings.text, Path(recipe.output) / "allocator/text"
    accelerator = join_processes(recipe, text, out)
    with accelerator.main_process_first():  # the others find what the first has copied
        folder = performer_folder(recipe)
    train, val = train_val_tables(recipe, folder, accelerator)
    natives, val_natives = (native_flops(table.rows, settings.cost) for table in (train, val))
    learner = Learner(
        accelerator, recipe, text, lambda: start_second_lora(str(folder), lora, recipe.seed)
    )
    tokenizer = learner.tokenizer
    with accelerator.main_process_first():
        of = text_identity(recipe, (train.file, val.file))
        make_room(out, of)
    called = {"run": of, "data": train.data_sha256}
    loop = TrainingLoop(accelerator, recipe, text, out, "allocator", PANELS, called)
    rank, processes = accelerator.process_index, accelerator.num_processes

    def make(source: ScoreTable, places: Sequence[int]) -> PromptBatch:
        """What the allocator reads of some questions."""
        dims, overviews, chats = source.info.dims, [], []
        for at in places:
            sample = source.samples[at]
            region = source.pictures.region(sample)
            reading = plan(region, text.overview, dims.token_px)
            overviews.append([source.pictures.read(sample, region, reading.size)])
            chats.append([allocation_messages(sample.query, reading.tokens, reading.native)])
        family = NORMALISATION[source.info.family]
        prompts = prompts_of(overviews, chats, tokenizer, dims, family)
        return prompts.to(accelerator.device)

    def read(
        source: ScoreTable,
        natives: Sequence[float],
        places: Sequence[int],
        prompts: PromptBatch,
        rollout: Rollout,
    ) -> list[ScoredAllocation]:
        """What completions allocate; as many of each question, one question behind another."""
        lengths = rollout.mask.sum(1).tolist()
        texts = rollout.texts(tokenizer)
        each = len(texts) // len(places)
        visual = prompts.visual_tokens
        words = [all_ - own for all_, own in zip(prompts.lengths, visual, strict=True)]
        return [
            score_allocation(
                one,
                source.rows[places[i // each]],
                flops(source.info.dims, visual[i // each], words[i // each], lengths[i]),
                natives[places[i // each]],
            )
            for i, one in enumerate(texts)
        ]

    def validate() -> dict[str, float]:
        """Greedy numbers for held-out questions."""
        scored: list[ScoredAllocation] = []
        count = min(len(val.samples), text.validate_samples)
        for begin in range(0, count, text.batch_size):
            places = range(begin, min(begin + text.batch_size, count))
            prompts = make(val, places)
            scored += read(val, val_natives, places, prompts, learner.sample_greedily(prompts))
        reward = round(float(text_rewards(scored, settings).mean()), 4)
        means = {"reward": reward} | text_figures(scored)
        return {f"val_{name}": value for name, value in means.items()}

    with loop:
        while loop.step < loop.last:
            started = time.perf_counter()
            first = (loop.step * processes + rank) * text.batch_size
            places = in_turn(len(train.samples), recipe.seed, first, text.batch_size)
            prompts = make(train, places)

            # write several numbers for every question
            rollout = learner.sample(prompts, loop.step)
            sampled = time.perf_counter() - started

            # look up what the performer scores there
            scored = read(train, natives, places, prompts, rollout)
            rewards = text_rewards(scored, settings).view(len(places), text.num_generations)

            # make the better ones of each group more likely
            learnt = learner.learn(
                prompts, rollout, rewards, loop.step, scale_rewards=settings.scaled
            )
            rollouts = (loop.step + 1) * processes * text.batch_size * text.num_generations
            record = {
                **learnt,
                **text_figures(scored),
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
        save_text_allocator(folder, form, config, matrices)
    accelerator.wait_for_everyone()
    return folder


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

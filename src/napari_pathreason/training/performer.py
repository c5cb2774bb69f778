"""Reinforcement learning of the performer (GRPO), one loop that reads from top to bottom.

Each step draws pictures, a budget and questions, lets the model answer each question several times,
scores the answers by their labels, and makes those that did better than the others of their group
more likely. No rationale is ever shown to it: what it thinks is its own.
Left out on purpose: a value model, resampling of groups that teach nothing (they are counted),
gradient accumulation, sharding of a model that learns as a whole (`_sharding` is for adapters), and
old log-probabilities of a second model: the first of several steps on the same completions gives
them for nothing.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from napari_pathreason.errors import QueryError
from napari_pathreason.models import (
    NORMALISATION,
    described_in,
    find_base,
    find_checkpoint,
    read_info,
)
from napari_pathreason.training.grpo import (
    PANELS,
    BudgetPolicy,
    Learner,
    Pointing,
    Prompts,
    assess,
    build_prompts,
    draw_budget,
    figures,
    join_processes,
)
from napari_pathreason.training.model import start_model
from napari_pathreason.training.recipe import ModelRecipe, Recipe
from napari_pathreason.training.run import Draw, resume, save_model, save_state
from napari_pathreason.training.samples import (
    Augmentation,
    Pictures,
    Sample,
    View,
    read_samples,
    read_views,
)

from .run import build_metadata, model_name


class Step(NamedTuple):
    """Questions of a step in the order of their prompts."""

    asked: list[tuple[Sample, View]]
    prompts: Prompts
    budgets: list[int]


def train_performer(recipe: Recipe, policy: BudgetPolicy | None = None) -> Path:
    """Train until ``recipe.grpo.steps``; continues from the last checkpoint of ``output``/grpo.

    Parameters
    ----------
    recipe : Recipe
    policy : BudgetPolicy, optional
        An allocator's; without one budgets are drawn by the recipe's weights.

    Returns
    -------
    Path
        Folder of the checkpoint that `load_models` reads.

    Raises
    ------
    QueryError
        If there is no model to start from.
    ModelError
        If that model cannot be read.
    """
    settings, out = recipe.grpo, Path(recipe.output) / "grpo"
    last = min(settings.steps, settings.stop_after or settings.steps)
    begin = starting_point(recipe)
    begun, name = find_checkpoint(begin)
    about = described_in(begun, find_base(begun, name))
    info = read_info(about, name, begun)
    dims, pointing = info.dims, Pointing(recipe.metadata.zoom_labels, info.dims.token_px)
    accelerator = join_processes(recipe, settings)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    metadata = build_metadata(recipe, train, settings.budgets, info.max_visual_tokens)
    copied = recipe.model_copy(update={"model": ModelRecipe(start=str(begun))})
    learner = Learner(accelerator, recipe, settings, lambda: start_model(copied, ()))
    tokenizer = learner.tokenizer
    step, log = resume(accelerator, out, recipe)
    pictures = Pictures(folder)
    augmentation = recipe.data.augmentation
    data = recipe.data.model_copy(update={"questions": settings.questions})
    draw = Draw(train, data, settings.budgets, recipe.seed)
    fixed = Draw(val, data, settings.budgets, recipe.seed)
    rank, device = accelerator.process_index, accelerator.device

    def make(source: Draw, at: int, change: Augmentation | None) -> Step:
        asked, budgets = [], []
        for drawn in source.batch(at, rank, settings.pictures, settings.tokens):
            budget = drawn.budget
            if policy is not None and source is draw:
                budget = draw_budget(
                    drawn.samples, policy, settings.budgets, settings.floor, drawn.rng
                )
            views = read_views(drawn.samples, pictures, budget, dims.token_px, change, drawn.rng)
            asked.append(list(zip(drawn.samples, views, strict=True)))
            budgets.append(budget)
        prompts = build_prompts(asked, tokenizer, dims, NORMALISATION[info.family])
        return Step([question for each in asked for question in each], prompts, budgets)

    def validate() -> dict[str, float]:
        """Greedy answers to held-out questions."""
        sums: dict[str, list[float]] = {}
        for at in range(max(1, settings.validate_samples // settings.pictures)):
            held = make(fixed, at, None)
            drawn = learner.write(held.prompts.to(device))
            assessed = [
                assess(text, *question, settings.reward, pointing)
                for text, question in zip(drawn.texts(tokenizer), held.asked, strict=True)
            ]
            for name, value in figures(assessed, [s for s, _ in held.asked], drawn).items():
                sums.setdefault(f"val_{name}", []).append(value)
        return {name: round(sum(values) / len(values), 4) for name, values in sums.items()}

    bar = tqdm(total=last, initial=step, desc="grpo", unit="step", mininterval=5)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make, draw, step, augmentation)
        while step < last:
            started = time.perf_counter()
            asked, prompts, budgets = coming.result()
            coming = reader.submit(make, draw, step + 1, augmentation)
            prompts = prompts.to(device)

            # answer every question several times
            drawn = learner.draw(prompts, step)
            drew = time.perf_counter() - started

            # score the answers by the labels
            questions = [question for question in asked for _ in range(settings.group)]
            assessed = [
                assess(text, *question, settings.reward, pointing)
                for text, question in zip(drawn.texts(tokenizer), questions, strict=True)
            ]
            weights = settings.format_weight, settings.evidence_weight
            text_rewards = torch.tensor([each.reward(*weights) for each in assessed])
            rewards = text_rewards.view(len(asked), settings.group)

            # make the better ones of each group more likely
            learnt = learner.learn(prompts, drawn, rewards, step, scale=settings.scaled)
            step += 1

            record: dict[str, Any] = {
                "step": step,
                **figures(assessed, [sample for sample, _ in questions], drawn),
                **learnt,
                "budget": round(sum(budgets) / len(budgets), 1),
                "seconds": round(time.perf_counter() - started, 3),
                "seconds_drawing": round(drew, 3),
            }
            if step % settings.validate_every == 0 or step == last:
                record |= validate()
            if accelerator.is_main_process:
                log.write(record)
                bar.update()
                bar.set_postfix(score=record["score"], format=record["format"], refresh=False)
            if step % settings.checkpoint_every == 0 or step == last:
                save_state(accelerator, out, step)
                if accelerator.is_main_process:
                    log.draw(PANELS)
    bar.close()
    adapted = begin if recipe.lora is not None else None
    named = model_name(recipe)
    save_model(accelerator, learner.model, tokenizer, out / "model", named, metadata, adapted)
    return out / "model"


def starting_point(recipe: Recipe) -> str:
    """``embedded``, folder or hub id of the model that the loop begins with.

    Raises
    ------
    QueryError
        If supervised fine-tuning has not written one yet.
    """
    if recipe.grpo.start is not None:
        return recipe.grpo.start
    folder = Path(recipe.output) / "model"
    if not (folder / "config.json").is_file():
        raise QueryError(
            "there is no model to continue from; run `pathreason train sft` with this recipe "
            "first, or name one as grpo.start"
        )
    return str(folder)

"""Reinforcement learning of the performer (GRPO), one loop that reads from top to bottom.

Each step samples pictures, a budget and questions, lets the model answer each question several
times, scores the answers by their labels, and makes those that did better than the others of their
group more likely. No rationale is ever shown to it: what it thinks is its own.
Left out on purpose: a value model, resampling of groups that teach nothing (they are counted),
sharding of a model that learns as a whole (`prepare_shards` is for
adapters), and old log-probabilities of a second model: the first of several steps on the same
completions gives them for nothing.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from napari_pathreason import models
from napari_pathreason.errors import QueryError
from napari_pathreason.training import grpo, run
from napari_pathreason.training.model import start_model
from napari_pathreason.training.recipe import ModelRecipe, Recipe
from napari_pathreason.training.samples import Augmentation, Sample, View, read_views


class Step(NamedTuple):
    """Questions of a step in the order of their prompts."""

    questions: list[tuple[Sample, View]]
    prompts: models.PromptBatch
    budgets: list[int]


@run.alone
def train_performer(recipe: Recipe, policy: run.BudgetPolicy | None = None) -> Path:
    """Train until ``recipe.grpo.steps``; continues from the last checkpoint of ``output``/grpo.

    Parameters
    ----------
    recipe : Recipe
    policy : BudgetPolicy, optional
        Of the allocator beside the model that the loop begins with; without one budgets are sampled
        by the recipe's weights.

    Returns
    -------
    Path
        Folder of the checkpoint that `load_models` reads.

    Raises
    ------
    QueryError
        If there is no model to start from, a reward function is not there, or ``output``/grpo holds
        the state of another run.
    ModelError
        If that model cannot be read.
    """
    settings, out = recipe.grpo, Path(recipe.output) / "grpo"
    begin = starting_point(recipe)
    begun, name = models.find_checkpoint(begin)
    about = models.described_in(begun, models.find_base(begun, name))
    info = models.read_info(about, name, begun)
    dims, refiner = info.dims, grpo.BoxRefiner(recipe.metadata.zoom_labels, info.dims.token_px)
    space = info.box_space or "relative"
    functions = grpo.Rewards(settings, recipe.beside, refiner, space)
    accelerator = grpo.join_processes(recipe, settings, out)
    processes = accelerator.num_processes
    identify = partial(
        run.identity_of,
        *(recipe, "grpo", settings, begin, processes),
        performer_alone=policy is None,
    )
    of = identify()
    run.check_same_run(run.last_checkpoint(out), of, out)
    data = run.read_data(recipe, settings.budgets, info.max_visual_tokens)
    copied = recipe.model_copy(update={"model": ModelRecipe(start=str(begun))})
    learner = grpo.Learner(accelerator, recipe, settings, lambda: start_model(copied))
    run.check_unchanged(of, identify())
    tokenizer = learner.tokenizer
    loop = run.TrainingLoop(accelerator, recipe, settings, out, "grpo", grpo.PANELS, of)
    augmentation = recipe.data.augmentation
    sampling = recipe.data.model_copy(update={"questions": settings.questions})
    taught = run.PictureSampler(data.train, sampling, settings.budgets, recipe.seed)
    held_out = run.PictureSampler(data.val, sampling, settings.budgets, recipe.seed)
    rank, device = accelerator.process_index, accelerator.device
    parts = settings.gradient_accumulation

    def make(source: run.PictureSampler, at: int, change: Augmentation | None) -> Step:
        by_picture, budgets = [], []
        for picture in source.batch(at, rank, settings.batch_size, settings.tokens):
            samples, budget = picture.samples, picture.budget
            if policy is not None and source is taught:
                budget = run.sample_budget(
                    samples, policy, settings.budgets, settings.floor, picture.rng
                )
            views = read_views(samples, data.pictures, budget, dims.token_px, change, picture.rng)
            by_picture.append(list(zip(samples, views, strict=True)))
            budgets.append(budget)
        normalisation = models.NORMALISATION[info.family]
        prompts = grpo.build_prompts(by_picture, tokenizer, dims, normalisation, space)
        return Step([question for each in by_picture for question in each], prompts, budgets)

    def reward(
        rollout: grpo.Rollout, questions: list[tuple[Sample, View]]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Rewards of completions, (completions,), and figures of them for the log."""
        texts, ids = rollout.texts(tokenizer), rollout.ids()
        found = functions.score(texts, ids, questions, loop.step)
        samples = [sample for sample, _ in questions]
        return found.rewards, grpo.figures(found.breakdowns, samples, rollout) | found.figures()

    def validate() -> dict[str, float]:
        """Greedy answers to held-out questions."""
        found = []
        for at in range(max(1, settings.validate_samples // settings.batch_size)):
            step = make(held_out, at, None)
            rollout = learner.sample_greedily(step.prompts.to(device))
            found.append((len(step.questions), reward(rollout, step.questions)[1]))
        figures = grpo.over_processes(accelerator, found)
        return {f"val_{name}": value for name, value in figures.items()}

    with loop, ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make, taught, loop.step * parts, augmentation)
        while loop.step < loop.last:
            started, sampled = time.perf_counter(), 0.0
            answered, scored, budgets = [], [], []
            for at in range(loop.step * parts, (loop.step + 1) * parts):
                step = coming.result()
                coming = reader.submit(make, taught, at + 1, augmentation)
                prompts = step.prompts.to(device)

                # answer every question several times
                since = time.perf_counter()
                rollout = learner.sample(prompts, at)
                sampled += time.perf_counter() - since

                # score the answers by the labels
                questions = [q for q in step.questions for _ in range(settings.num_generations)]
                rewards, figures = reward(rollout, questions)
                answered.append((prompts, rollout, rewards.view(-1, settings.num_generations)))
                scored.append((len(questions), figures))
                budgets += step.budgets

            # make the better ones of each group more likely
            learnt = learner.learn_from(answered, loop.step, scale_rewards=settings.scaled)
            own = (sum(number for number, _ in scored), learnt)
            record = {
                **grpo.over_processes(accelerator, scored),
                **grpo.over_processes(accelerator, [own]),
                "budget": round(sum(budgets) / len(budgets), 1),
                "seconds": round(time.perf_counter() - started, 3),
                "seconds_sampling": round(sampled, 3),
            }
            loop.end_step(record, validate, shown=("score", "format"))
    adapted = begin if recipe.lora is not None else None
    named, folder = run.model_name(recipe), out / "model"
    run.save_model(
        accelerator, learner.model, tokenizer, folder, named, data.metadata, adapted, space
    )
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

"""Reinforcement learning of the performer (GRPO), one loop that reads from top to bottom.

Each step draws pictures, a rung and questions, lets the model answer each question several times,
scores the answers by their labels, and makes those that did better than the others of their group
more likely. No rationale is ever shown to it: what it thinks is its own.
Left out on purpose: a value model, resampling of groups that teach nothing (they are counted),
gradient accumulation, sharded models, and old log-probabilities of a second model: the first of
several steps on the same completions gives them for nothing.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed
from tqdm import tqdm

from napari_pathreason._errors import QueryError
from napari_pathreason.models._adapter import find_base
from napari_pathreason.models._checkpoint import find_checkpoint
from napari_pathreason.models._config import read_card, read_info
from napari_pathreason.models._inputs import VISION_TOKENS
from napari_pathreason.models._loading import described_in
from napari_pathreason.models._pixels import NORMALISATION

from ._actor import Actor
from ._adapters import keep_adapters_alone
from ._advantages import group_advantages, zero_variance
from ._budgets import BudgetPolicy, draw_budget
from ._checkpoints import resume, save_model, save_state
from ._draw import Draw
from ._log import RunLog
from ._optimise import optimizer_of, schedule
from ._pictures import Pictures
from ._policy_losses import aggregate, clipped_surrogate, k3
from ._prompts import Prompts, build_prompts
from ._provenance import provenance
from ._recipe import ModelRecipe, Recipe
from ._reference import AdaptedReference, Reference
from ._rewards import judge
from ._rollout import roll_out, stop_ids
from ._rollout_figures import PANELS, figures
from ._sample import Sample, read_samples
from ._start import start_model
from ._view import Augmentation, View, read_views


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
        An allocator's; without one rungs are drawn by the recipe's weights.

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
    info = read_info(about, name)
    accelerator = Accelerator(mixed_precision=settings.precision)
    if accelerator.distributed_type == DistributedType.FSDP:
        raise QueryError(
            "GRPO draws completions of different lengths on each process, which a sharded model "
            "cannot; launch it with recipes/accelerate/ddp.yaml"
        )
    set_seed(recipe.seed)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))

    def load() -> tuple[Actor, Any]:
        copied = recipe.model_copy(update={"model": ModelRecipe(start=str(begun))})
        model, tokenizer = start_model(copied, ())
        never = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
        # evaluation mode throughout: drawing and learning must look at one distribution
        sparing = recipe.lora is not None and recipe.lora.checkpointing
        return Actor(model, never, settings.temperature, sparing).eval(), tokenizer

    actor, tokenizer = load()
    reference: Reference | None = None
    if recipe.lora is not None:
        keep_adapters_alone(accelerator)
        reference = AdaptedReference(actor) if settings.beta else None
    elif settings.beta:
        reference = load()[0].requires_grad_(False).to(accelerator.device)
    dims, stops = info.dims, stop_ids(actor.model, tokenizer)
    model, optimizer = accelerator.prepare(actor, optimizer_of(actor, settings))
    actor = accelerator.unwrap_model(model)
    step = resume(accelerator, out)
    with accelerator.main_process_first():  # both replace files: one process after the other
        log = RunLog(out, step)
        provenance(out, recipe, folder)
    pictures = Pictures(folder)
    augmentation = Augmentation(recipe.data.turn, recipe.data.stain)
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
            views = read_views(drawn.samples, pictures, budget, dims.cell, change, drawn.rng)
            asked.append(list(zip(drawn.samples, views, strict=True)))
            budgets.append(budget)
        prompts = build_prompts(asked, tokenizer, dims, NORMALISATION[info.family])
        return Step([question for each in asked for question in each], prompts, budgets)

    def validate() -> dict[str, float]:
        """Greedy answers to held-out questions."""
        sums: dict[str, list[float]] = {}
        for at in range(max(1, settings.validate_samples // settings.pictures)):
            held = make(fixed, at, None)
            with accelerator.autocast():
                drawn = roll_out(
                    actor,
                    held.prompts.to(device),
                    1,
                    settings.longest,
                    stops,
                    tokenizer.pad_token_id,
                    None,
                )
            judged = [
                judge(text, *question, settings.reward)
                for text, question in zip(drawn.texts(tokenizer), held.asked, strict=True)
            ]
            for name, value in figures(judged, [s for s, _ in held.asked], drawn).items():
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
            random = torch.Generator().manual_seed(
                Random(f"rollout-{recipe.seed}-{step}-{rank}").getrandbits(63)
            )
            with accelerator.autocast():
                drawn = roll_out(
                    actor,
                    prompts,
                    settings.group,
                    settings.longest,
                    stops,
                    tokenizer.pad_token_id,
                    random,
                )
            drew = time.perf_counter() - started

            # score the answers by the labels
            questions = [question for question in asked for _ in range(settings.group)]
            judged = [
                judge(text, *question, settings.reward)
                for text, question in zip(drawn.texts(tokenizer), questions, strict=True)
            ]
            weights = settings.format_weight, settings.evidence_weight
            earned = torch.tensor([each.reward(*weights) for each in judged])
            rewards = earned.view(len(asked), settings.group)
            advantages = group_advantages(rewards, scale=settings.scaled).view(-1).to(device)

            # make the better ones of each group more likely
            reference_log_p = None
            if reference is not None:
                with torch.no_grad(), accelerator.autocast():
                    reference_log_p = reference(
                        prompts, drawn.tokens, drawn.mask, settings.group
                    ).log_p
            tokens = accelerator.reduce(drawn.mask.sum().float(), reduction="mean").item()
            for group in optimizer.param_groups:
                share = schedule(step, settings.warmup, settings.steps)
                group["lr"] = settings.lr * group["share"] * share
            high = settings.clip if settings.clip_high is None else settings.clip_high
            old_log_p = None
            for _ in range(settings.iterations):
                said = model(prompts, drawn.tokens, drawn.mask, settings.group)
                if old_log_p is None:
                    old_log_p = said.log_p.detach()
                each = clipped_surrogate(said.log_p, old_log_p, advantages, settings.clip, high)
                distance = None
                if reference_log_p is not None:
                    distance = k3(said.log_p, reference_log_p)
                    each = each + settings.beta * distance
                loss = aggregate(
                    each, drawn.mask, settings.loss, tokens=tokens, longest=settings.longest
                )
                accelerator.backward(loss)
                norm = accelerator.clip_grad_norm_(model.parameters(), settings.max_norm)
                optimizer.step()
                optimizer.zero_grad()
            step += 1

            record: dict[str, Any] = {
                "step": step,
                "reward": round(float(rewards.mean()), 4),
                **figures(judged, [sample for sample, _ in questions], drawn),
                "groups": len(rewards),
                "zero_variance": int(zero_variance(rewards).sum()),
                "entropy": round(float(said.entropy[drawn.mask].mean()), 4),
                "loss": round(loss.item(), 5),
                "norm": round(float(norm), 4),
                "budget": round(sum(budgets) / len(budgets), 1),
                "lr": settings.lr * share,
                "seconds": round(time.perf_counter() - started, 3),
                "seconds_drawing": round(drew, 3),
            }
            if distance is not None:
                record["kl"] = round(float(distance[drawn.mask].mean()), 6)
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
    card = read_card(about, info.name)
    if recipe.lora is not None:
        card["name"] = Path(recipe.output).name
    save_model(accelerator, model, tokenizer, out / "model", card, begin if recipe.lora else None)
    return out / "model"


def starting_point(recipe: Recipe) -> str:
    """Folder or hub id of the model that the loop begins with.

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

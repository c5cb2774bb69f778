"""Reinforcement learning of the allocator, one loop that reads from top to bottom.

s(N) is tabulated once: the performer answers each question at every budget (`_budget_scores`). Then
the expected reward over the budget grid is exact, and its gradient is the policy gradient without a
single rollout more. A ranking of the budgets warms the policy up; one head for each effort learns
at its own price. The state that does best on held-out questions is kept.
Left out on purpose: minibatches (the net is so small that all questions fit in a step), several
processes, a value model, sampling.
"""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from napari_pathreason.models import EFFORTS, AllocatorNet, PolicyAllocator, save_allocator
from napari_pathreason.training.allocation import (
    Overviews,
    Returns,
    Tabulated,
    entropy,
    expected_gain,
    identity,
    performer_folder,
    ranking_loss,
    read_overviews,
    resume,
    returns,
    save,
    taught_and_held,
)
from napari_pathreason.training.recipe import Cost, Recipe
from napari_pathreason.training.run import start_log, tracking

from .text_allocator import train_text_allocator

PANELS = {
    "reward": "reward, all efforts",
    "score": "score, balanced",
    "cost": "cost, balanced; 1 is native",
    "entropy": "entropy, nats",
}


def train_allocator(recipe: Recipe) -> Path:
    """Train until ``recipe.allocator.steps``; continues from ``output``/allocator.

    With other lambdas or another performer it begins anew, and keeps what is known of s(N). The
    text form has a loop of its own (`train_text_allocator`).

    Returns
    -------
    Path
        Folder of the performer, beside whose weights the allocator now lies.

    Raises
    ------
    QueryError
        If there is no performer to allocate for.
    """
    if recipe.allocator.form == "text":
        return train_text_allocator(recipe)
    settings, out = recipe.allocator, Path(recipe.output) / "allocator"
    last = min(settings.steps, settings.stop_after or settings.steps)
    tracker = Accelerator(**tracked) if (tracked := tracking(recipe, out)) else None
    folder = performer_folder(recipe)
    tables = taught_and_held(recipe, folder)
    (seen, train), (held, val) = (_shown(known, settings.cost) for known in tables)
    rewards, val_rewards = train.rewards(settings), val.rewards(settings)

    torch.manual_seed(recipe.seed)
    net = AllocatorNet()
    optimizer = torch.optim.AdamW(net.parameters(), settings.lr, weight_decay=settings.weight_decay)
    of = identity(recipe, (tables[0].file, tables[1].file))
    step, best, kept = resume(out, of, net, optimizer)
    log = start_log(tracker, out, recipe, step)
    bar = tqdm(total=last, initial=step, desc="allocator", unit="step", mininterval=5)
    while step < last:
        logits = seen.logits(net, Random(f"{recipe.seed}-{step}"))
        if step < settings.warm_steps:
            loss = ranking_loss(logits.flatten(0, 1), rewards.flatten(0, 1))
        else:
            loss = -(expected_gain(logits, rewards) + settings.entropy * entropy(logits)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1

        record: dict[str, Any] = {"step": step, "lr": settings.lr, "loss": round(float(loss), 6)}
        record |= figures(logits.detach(), train, rewards)
        if step % settings.validate_every == 0 or step == last:
            with torch.no_grad():
                told = figures(held.logits(net), val, val_rewards)
            record |= {f"val_{name}": value for name, value in told.items()}
            if told["reward"] > best:
                best, kept = told["reward"], {k: v.clone() for k, v in net.state_dict().items()}
        log.write(record)
        bar.update()
        if step % settings.checkpoint_every == 0 or step == last:
            save(out, of, net, optimizer, step, best, kept)
            log.draw(PANELS)
    bar.close()
    log.close()
    net.load_state_dict(kept)
    save_allocator(folder, PolicyAllocator(net.eval(), int(seen.native.max())))
    return folder


def figures(logits: torch.Tensor, outcome: Returns, rewards: torch.Tensor) -> dict[str, float]:
    """What the likeliest budgets bring: means over the questions; ``X_effort`` at each effort."""
    chosen = logits.argmax(-1)
    told = {
        "reward": float(rewards.gather(2, chosen[..., None]).mean()),
        "entropy": float(entropy(logits).mean()),
    }
    for at, effort in enumerate(EFFORTS):
        for name, values in (("score", outcome.scores), ("cost", outcome.costs)):
            told[f"{name}_{effort}"] = float(values.gather(1, chosen[:, at : at + 1]).mean())
    told |= {name: told[f"{name}_balanced"] for name in ("score", "cost")}
    return {name: round(value, 5) for name, value in told.items()}


def _shown(known: Tabulated, cost: Cost) -> tuple[Overviews, Returns]:
    """What the net reads of some questions, and what each budget brings."""
    seen = read_overviews(known.samples, known.pictures, known.info.dims.token_px)
    return seen, returns(seen, known.table, cost)

"""Reinforcement learning of the allocator, one loop that reads from top to bottom.

s(N) is tabulated once: the performer answers each question at every budget (`_tables`). Then the
expected reward over the budget grid is exact, and its gradient is the policy gradient without a
single rollout more. A ranking of the budgets warms the policy up; one head for each effort learns
at its own lambda. The weights that do best on held-out questions are kept.
Left out on purpose: minibatches (the net is so small that all questions fit in a step), several
processes that learn (all ask their share of s(N), then the first one learns), a value model,
sampling.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import torch
from accelerate import Accelerator

from napari_pathreason.models import EFFORTS, AllocatorNet, PolicyAllocator, save_allocator
from napari_pathreason.training.recipe import Cost, Recipe
from napari_pathreason.training.run import alone, by_first, join

from ._head_data import Overviews, Returns, read_overviews, returns
from ._rewards import entropy, expected_gain, ranking_loss
from ._state import NetLoop, identity
from ._tables import ScoreTable, performer_folder, train_val_tables
from ._text import train_text_allocator
from ._text_windows import train_text_windows
from ._windows import train_windows_allocator

PANELS = {
    "reward": "reward, all efforts",
    "score": "score, balanced",
    "cost": "cost, balanced; 1 is native",
    "entropy": "entropy, nats",
}


@alone
def train_allocator(recipe: Recipe) -> Path:
    """Train until ``recipe.allocator.steps``; continues from ``output``/allocator.

    With other lambdas or another performer it begins anew, and keeps the tables of s(N). The
    forms that write and that of windows have loops of their own (`train_text_allocator`,
    `train_text_windows`, `train_windows_allocator`).

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
    if recipe.allocator.form == "text_windows":
        return train_text_windows(recipe)
    if recipe.allocator.form == "windows":
        return train_windows_allocator(recipe)
    accelerator = join(recipe, Path(recipe.output) / "allocator")
    with accelerator.main_process_first():  # the others find what the first has copied
        folder = performer_folder(recipe)
    tables = train_val_tables(recipe, folder, accelerator)
    by_first(accelerator, lambda: _train(recipe, accelerator, folder, tables))
    return folder


def _train(
    recipe: Recipe, tracker: Accelerator, folder: Path, tables: tuple[ScoreTable, ScoreTable]
) -> None:
    settings, out = recipe.allocator, Path(recipe.output) / "allocator"
    (overviews, train), (val_overviews, val) = (_tensors(one, settings.cost) for one in tables)
    rewards, val_rewards = train.rewards(settings), val.rewards(settings)

    torch.manual_seed(recipe.seed)
    net = AllocatorNet()
    optimizer = torch.optim.AdamW(net.parameters(), settings.lr, weight_decay=settings.weight_decay)
    of = identity(recipe, (tables[0].file, tables[1].file))

    @torch.no_grad()
    def validate() -> dict[str, float]:
        return figures(val_overviews.logits(net), val, val_rewards)

    data = tables[0].data
    loop = NetLoop(tracker, recipe, settings, out, "allocator", PANELS, of, data, net, optimizer)
    with loop:
        while loop.step < loop.last:
            logits = overviews.logits(net, Random(f"{recipe.seed}-{loop.step}"))
            if loop.step < settings.warm_steps:
                loss = ranking_loss(logits.flatten(0, 1), rewards.flatten(0, 1))
            else:
                loss = -(expected_gain(logits, rewards) + settings.entropy * entropy(logits)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record = {"lr": settings.lr, "loss": round(loss.item(), 6)}
            loop.end_step(record | figures(logits.detach(), train, rewards), validate)
    loop.take_best()
    save_allocator(folder, PolicyAllocator(net.eval(), int(overviews.native.max())))


def figures(logits: torch.Tensor, outcome: Returns, rewards: torch.Tensor) -> dict[str, float]:
    """Of the likeliest budgets: means over the questions; ``X_effort`` at each effort."""
    chosen = logits.argmax(-1)
    means = {
        "reward": float(rewards.gather(2, chosen[..., None]).mean()),
        "entropy": float(entropy(logits).mean()),
    }
    for at, effort in enumerate(EFFORTS):
        for name, values in (("score", outcome.scores), ("cost", outcome.costs)):
            means[f"{name}_{effort}"] = float(values.gather(1, chosen[:, at : at + 1]).mean())
    means |= {name: means[f"{name}_balanced"] for name in ("score", "cost")}
    return {name: round(value, 5) for name, value in means.items()}


def _tensors(table: ScoreTable, cost: Cost) -> tuple[Overviews, Returns]:
    """What the net reads of some questions, and the outcome of each budget."""
    overviews = read_overviews(table.samples, table.pictures, table.info.dims.token_px)
    return overviews, returns(overviews, table.rows, cost)

"""Both branches in turn: sft, then [performer, allocator] as often as the recipe says.

The performer of a round learns at the budgets that the allocator of the round before would give,
above a floor of the recipe's own; the allocator of a round is tabulated on that round's performer.
Left out on purpose: an allocator that goes on from the last one's weights. Its table is new, and it
learns in a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from napari_pathreason.budgets import plan
from napari_pathreason.engine import Allocator
from napari_pathreason.models import BUDGETS, load_allocator, load_models, read_info
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import Pictures, Sample, read_samples

from .allocator import train_allocator
from .performer import train_performer
from .run import BudgetPolicy, alone, by_first, copy_checkpoint, join, model_name
from .sft import train_sft

OF_ONE_PICTURE = ("head", "text")
"""Forms of allocators that give one picture its budget. Those of windows leave the performer's
budgets to the recipe: windows of a few budgets are what it reads."""


@alone
def train_bilateral(recipe: Recipe) -> Path:
    """Train both branches; every stage resumes by itself, a finished one is passed over quickly.

    Round r lies in ``output``/round-r.

    Returns
    -------
    Path
        ``output``/bilateral: performer and allocator in one folder, as `load_models` reads them.
    """
    if recipe.grpo.start is None:
        train_sft(recipe)
    begin, policy = recipe.grpo.start or str(Path(recipe.output) / "model"), None
    metadata = recipe.metadata.model_copy(update={"name": model_name(recipe)})  # not of a round
    for number in range(1, recipe.bilateral.rounds + 1):
        out = Path(recipe.output) / f"round-{number}"
        grpo = recipe.grpo.model_copy(update={"start": begin})
        allocator = recipe.allocator.model_copy(update={"start": str(out / "grpo/model")})
        parts = {"output": str(out), "seed": recipe.seed + number, "metadata": metadata}
        turn = recipe.model_copy(update=parts | {"grpo": grpo, "allocator": allocator})
        begin = str(train_performer(turn, policy))
        folder = train_allocator(turn)
        if number < recipe.bilateral.rounds and turn.allocator.form in OF_ONE_PICTURE:
            policy = _policy_of(folder, turn)
    target = Path(recipe.output) / "bilateral"
    by_first(join(recipe, target), lambda: copy_checkpoint(Path(begin), target))
    return target


def _policy_of(folder: Path, turn: Recipe) -> BudgetPolicy:
    """What the allocator beside a performer would give; one that writes brings its own model."""
    written = turn.allocator.form == "text"
    allocator = load_models(folder).allocator if written else load_allocator(folder)
    token_px = read_info(folder, folder.name).dims.token_px
    data = Path(turn.data.folder)
    pictures = Pictures(data)
    pictures.hold(read_samples(data / "train.jsonl"))  # as the performer that learns by it does
    return learned_policy(allocator, pictures, token_px, turn.grpo.budgets)


def learned_policy(
    allocator: Allocator, pictures: Pictures, token_px: int, budgets: Mapping[int, float]
) -> BudgetPolicy:
    """An allocator's probabilities, at the balanced effort, of the budgets that training samples.

    What it gives to budgets beyond goes to the largest of ``budgets``, what lies between two of
    them to the larger one.
    """
    offered = sorted(budgets)

    @lru_cache(maxsize=1 << 16)  # a writing allocator takes as long as an answer
    def probabilities(sample: Sample) -> Sequence[float]:
        region = pictures.region(sample)
        reading = plan(region, allocator.overview_budget, token_px)
        overview = pictures.read(sample, region, reading.size)
        allocation = allocator.allocate(overview, sample.query, reading.native, "balanced")
        shares = dict.fromkeys(budgets, 0.0)
        shared = allocation.probabilities or [float(allocation.budget == b) for b in BUDGETS]
        for budget, share in zip(BUDGETS, shared, strict=True):
            wanted = reading.native if budget is None else budget
            shares[next((one for one in offered if one >= wanted), offered[-1])] += share
        return list(shares.values())

    return probabilities

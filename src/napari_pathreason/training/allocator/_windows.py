"""Reinforcement learning of an allocator of windows, one loop that reads from top to bottom.

Every window of the labelled regions is answered once at each budget (`_window_table`); from then on
any choice of windows, of two rounds too, is scored without the performer. A start by regression:
the net learns what sets of windows that were drawn at random add to the answer, to nothing and to
what was read before. Then policy gradient: trajectories of two rounds are drawn from the policy
itself, each rewarded by the score of its answer minus lambda times its cost, mean-centred over the
trajectories of a question. Gains know nothing of lambda, so one net serves all efforts. The weights
that do best on held-out questions are kept, chosen from as the engine does it (`models.take`).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import torch
from accelerate import Accelerator
from tqdm import tqdm

from napari_pathreason import models
from napari_pathreason.engine import ROUNDS, Performer
from napari_pathreason.files import write_json
from napari_pathreason.models import EFFORTS, Offer, WindowAllocator, save_windows, take, worth
from napari_pathreason.tasks import SCORING
from napari_pathreason.training.evaluation import pick
from napari_pathreason.training.recipe import Recipe, WindowsRecipe
from napari_pathreason.training.run import alone, by_first, check_unchanged, data_identity, join
from napari_pathreason.training.samples import Pictures, Sample, read_samples
from napari_pathreason.types import Effort

from ._held_out import choosing_cost, doubts_of_choice, means, uniform_figures
from ._state import NetLoop
from ._tables import performer_folder
from ._window_data import Batch, Tabled, WindowNet, tabled
from ._window_sets import (
    Stakes,
    draw_sets,
    log_probability,
    mean_centred,
)
from ._window_table import MAX_NEW_TOKENS, Picks, tabulate_windows

PANELS = {
    "reward": "reward, all efforts",
    "score": "score, balanced",
    "cost": "cost, balanced; 1 is native windows",
    "entropy": "entropy, nats",
}
_VALIDATED = 32  # questions that are chosen for at once


@alone
def train_windows_allocator(recipe: Recipe) -> Path:
    """Train until ``recipe.allocator.windows.steps``; continues from ``output``/allocator/windows.

    With other settings, another performer or other questions it begins anew, and keeps the answers
    of windows. ``allocator.start`` may be the address of a server.

    Returns
    -------
    Path
        Folder of the performer, beside whose weights the allocator now lies; of one on a server
        that which lies with the user's settings.

    Raises
    ------
    QueryError
        If there is no performer to allocate for, or no question is about a large region.
    """
    accelerator = join(recipe, Path(recipe.output) / "allocator/windows")
    by_first(accelerator, lambda: _train(recipe, accelerator))
    return _place_of(recipe)


def _train(recipe: Recipe, tracker: Accelerator) -> None:
    settings, out = recipe.allocator.windows, Path(recipe.output) / "allocator/windows"
    folder = _place_of(recipe)
    train, val, of, data = _questions(recipe, folder)
    torch.manual_seed(recipe.seed)
    net = WindowNet(recipe.seed)
    optimizer = torch.optim.AdamW(net.parameters(), settings.lr, weight_decay=settings.weight_decay)
    out.mkdir(parents=True, exist_ok=True)
    loop = NetLoop(tracker, recipe, settings, out, "windows", PANELS, of, data, net, optimizer)
    with loop:
        if loop.step == 0:
            loop.begin({f"val_{k}": v for k, v in uniform_figures(val).items()})
        while loop.step < loop.last:
            rng = Random(f"{recipe.seed}-{loop.step}")
            batch = Batch([rng.choice(train) for _ in range(settings.batch_size)])
            if loop.step < settings.warm_steps:
                loss, record = warm_loss(net, batch, settings, rng)
            else:
                left = max(1, settings.steps - settings.warm_steps)
                done = (loop.step - settings.warm_steps) / left
                loss, record = policy_loss(net, batch, settings, rng, done)
                if settings.anchor > 0:  # gains stay what they are called, and the policy steady
                    loss = loss + settings.anchor * warm_loss(net, batch, settings, rng)[0]
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), settings.max_grad_norm)
            optimizer.step()
            record = {"lr": settings.lr, "loss": round(loss.item(), 6)} | record
            loop.end_step(record, partial(greedy_figures, net, val, settings))
    loop.take_best()
    doubts = doubts_of_choice(val, greedy_sets(net, val, settings, "balanced"))
    figures = greedy_figures(net, val, settings) | uniform_figures(val)
    write_json(out / "held_out.json", figures | {"doubts": doubts})
    for doubt in doubts:
        tqdm.write(f"what was learnt of windows: {doubt}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)  # of a server none lies there yet
    save_windows(folder, WindowAllocator(net.as_arrays(), settings.lambdas, settings.levels))


def _place_of(recipe: Recipe) -> Path:
    """Folder of the allocator: that of the performer, or a server's among the user's settings."""
    start = recipe.allocator.start
    if start is not None and models.is_address(start):
        return models.allocator_folder(models.resolve_address(start))
    return performer_folder(recipe)


def _questions(
    recipe: Recipe, folder: Path
) -> tuple[list[Tabled], list[Tabled], str, dict[str, str]]:
    """Questions to learn from and held-out ones with their answers, the run's name, the data's.

    Raises
    ------
    QueryError
        If the data are replaced while they are read.
    """
    place = Path(recipe.data.folder)
    data, pictures = data_identity(place), Pictures(place)
    parts = [samples_of(recipe, part) for part in ("train", "val")]
    for part in parts:
        pictures.hold(part)
    check_unchanged(data, data_identity(place))
    digest = hashlib.sha256(f"{SCORING} {MAX_NEW_TOKENS}".encode())
    start = recipe.allocator.start
    performer: Performer
    with ExitStack() as opened:
        if start is not None and models.is_address(start):
            performer = opened.enter_context(closing(models.load_server(start)))
            digest.update(models.resolve_address(start).digest.encode())
        else:
            performer = models.load_performer(folder)
            answered = models.checkpoint_sha256(folder, folder.name, allocators=False)
            digest.update(answered.encode())
        path = Path(recipe.output) / f"allocator/windows-{digest.hexdigest()[:12]}.jsonl"
        levels = recipe.allocator.windows.levels
        tables = [
            tabled(tabulate_windows(own, pictures, performer, path, levels, f"windows of {name}"))
            for name, own in zip(("train", "val"), parts, strict=True)
        ]
    lengths = {"steps", "stop_after", "checkpoint_every"}
    digest.update(recipe.allocator.windows.model_dump_json(exclude=lengths).encode())
    for table in tables:
        for one in table:
            sample = one.question.sample
            digest.update(f"{sample.model_dump_json()} {pictures.sha256(sample)}".encode())
    digest.update(str(recipe.seed).encode())
    return tables[0], tables[1], digest.hexdigest(), data


def samples_of(recipe: Recipe, part: str) -> list[Sample]:
    """Samples to learn from, or held out; see `AllocatorRecipe.learn_from`."""
    settings, data = recipe.allocator, Path(recipe.data.folder)
    each = settings.questions if part == "train" else settings.validate_questions
    if settings.learn_from == "train":
        return pick(read_samples(data / f"{part}.jsonl"), each, recipe.seed)
    both = settings.questions + settings.validate_questions
    samples = pick(read_samples(data / "val.jsonl"), both, recipe.seed)
    held_out = part == "val"
    return [s for s in samples if (crc32(json.dumps(s.image).encode()) % 3 == 0) == held_out]


def warm_loss(
    net: WindowNet, batch: Batch, settings: WindowsRecipe, rng: Random
) -> tuple[torch.Tensor, dict[str, float]]:
    """Squared error of what drawn sets of windows are expected to add, mean over questions.

    Half of the questions have read some windows before: there the gain itself is learnt, a loss
    too. Where nothing is read there is no answer to gain upon, so that only differences between the
    sets of a question are learnt; and what a set is worth there is the answer that the net itself
    would come to by a second round, less what that costs: a window may be worth reading for where
    it leads to.
    """
    count = settings.num_generations
    before = [random_first(one, rng) if rng.random() < 0.5 else () for one in batch.questions]
    features = batch.see(net, rng)
    each, saturation = batch.gains(net, features, range(len(before)), before)
    of: list[int] = []
    sets: list[Picks] = []
    for row, one in enumerate(batch.questions):
        most = max(1, len(one.question.scene.cover))
        for _ in range(count):
            size = 1 if rng.random() < 0.5 else rng.randint(1, most)
            picks = random_set(one, size, before[row], rng)
            if not before[row] and rng.random() < 0.2:
                picks = random_first(one, rng)
            if picks:
                of.append(row)
                sets.append(picks)
    scores = _values(net, batch, features.detach(), settings, of, before, sets, rng)
    errors = []
    for row in dict.fromkeys(of):
        own = [at for at, other in enumerate(of) if other == row]
        value = scores[own]
        gain = torch.stack([each[row][tuple(torch.tensor(sets[at]).T)].sum() for at in own])
        expected = worth(gain, saturation[row], torch.exp)
        if before[row]:
            value = value - batch.questions[row].question.score(before[row])
        else:
            value, expected = value - value.mean(), expected - expected.mean()
        errors.append(((expected - value) ** 2).mean())
    return torch.stack(errors).mean(), {}


@torch.no_grad()
def _values(
    net: WindowNet,
    batch: Batch,
    features: torch.Tensor,
    settings: WindowsRecipe,
    of: Sequence[int],
    before: Sequence[Picks],
    sets: Sequence[Picks],
    rng: Random,
) -> torch.Tensor:
    """Scores of sets, those of a first round with what the net would read in a second one."""
    lambdas = {row: settings.lambdas[rng.choice(EFFORTS)] for row in set(of)}
    first = [at for at, row in enumerate(of) if not before[row]]
    values = [
        batch.questions[row].question.score((*before[row], *picks))
        for row, picks in zip(of, sets, strict=True)
    ]
    if first:
        rows, read = [of[at] for at in first], [sets[at] for at in first]
        for at, picks in zip(first, _taken(net, batch, features, rows, read, lambdas), strict=True):
            one = batch.questions[of[at]]
            cost = lambdas[of[at]] * one.cost(picks)
            values[at] = max(values[at], one.question.score((*sets[at], *picks)) - cost)
    return torch.tensor(values)


def random_first(one: Tabled, rng: Random) -> Picks:
    """Windows as of a first round: now and then all that cover the region, coarsely."""
    cover = [int(place) for place in one.question.scene.cover]
    if rng.random() < 0.5:
        level = 0 if rng.random() < 0.7 else rng.randrange(one.readable.shape[1])
        return [(place, level) for place in cover if one.readable[place, level]]
    return random_set(one, rng.randint(1, max(1, len(cover))), (), rng)


def random_set(one: Tabled, size: int, before: Picks, rng: Random) -> Picks:
    """Windows drawn at random that show little twice.

    Now and then the surprising ones come first, or those that were read before.
    """
    allowed = one.finer(before)
    places = np.flatnonzero(np.asarray(allowed.any(1))).tolist()
    rng.shuffle(places)
    way = rng.random()
    if way < 0.4:
        surprise = one.question.scene.surprise
        keys = {place: rng.expovariate(1.0) / (0.1 + surprise[place]) for place in places}
        places.sort(key=keys.__getitem__)
    elif way < 0.7:
        read = {place for place, _ in before}
        places.sort(key=lambda place: place not in read)
    same = rng.choice(range(allowed.shape[1])) if rng.random() < 0.5 else None
    picks: list[tuple[int, int]] = []
    blocked: set[int] = set()
    for place in places:
        if len(picks) >= size:
            break
        if place in blocked:
            continue
        levels = [int(level) for level in allowed[place].nonzero()[0]]
        picks.append((place, same if same in levels else rng.choice(levels)))
        blocked.update(one.near[place].tolist())
    return picks


def policy_loss(
    net: WindowNet, batch: Batch, settings: WindowsRecipe, rng: Random, progress: float = 0.0
) -> tuple[torch.Tensor, dict[str, float]]:
    """Policy gradient of trajectories of two rounds; figures of what they did.

    The bonus for entropy ends with ``progress``, 0 to 1: windows cost little, and a policy that is
    paid to hesitate reads more of them than are worth it.
    """
    count = settings.num_generations
    efforts = [rng.choice(EFFORTS) for _ in batch.questions]
    of = [at for at in range(len(batch.questions)) for _ in range(count)]
    lambdas = torch.tensor([settings.lambdas[efforts[at]] for at in of])
    generator = torch.Generator().manual_seed(rng.getrandbits(62))
    features = batch.see(net, rng)
    read: list[Picks] = [()] * len(of)
    log_p, entropy = torch.zeros(len(of)), torch.zeros(len(of))
    for number in range(ROUNDS):
        if number == 0:  # all trajectories of a question begin alike
            each, saturation = batch.gains(
                net, features, range(len(batch.questions)), read[::count]
            )
            each, saturation = (one.repeat_interleave(count, 0) for one in (each, saturation))
        else:
            each, saturation = batch.gains(net, features, of, read)
        stakes = Stakes(
            each,
            saturation,
            batch.costs(of),
            lambdas,
            batch.allowed(of, read),
            batch.near(of),
            torch.full((len(of),), number == 0),
            settings.temperature,
        )
        sampled = draw_sets(replace(stakes, gains=each.detach()), batch.most, generator)
        own, spread = log_probability(stakes, sampled)
        log_p, entropy = log_p + own, entropy + spread / ROUNDS
        read = [(*one, *sampled.picks(row, each.shape[2])) for row, one in enumerate(read)]
    questions = [batch.questions[at] for at in of]
    outcomes = [
        (one.question.score(p), one.cost(p)) for one, p in zip(questions, read, strict=True)
    ]
    scores, costs = torch.tensor(outcomes).T
    returns = scores - lambdas * costs
    advantages = mean_centred(returns.view(-1, count)).flatten()
    loss = -(advantages * log_p).mean() - (1 - progress) * settings.entropy * entropy.mean()
    figures = {"reward": returns, "score": scores, "cost": costs, "entropy": entropy.detach()}
    return loss, {name: round(float(values.mean()), 5) for name, values in figures.items()}


@torch.no_grad()
def greedy_sets(
    net: WindowNet, questions: Sequence[Tabled], settings: WindowsRecipe, effort: Effort
) -> list[Picks]:
    """Windows that the policy reads in its rounds, chosen as the engine does it."""
    chosen: list[Picks] = []
    for first in range(0, len(questions), _VALIDATED):
        batch = Batch(questions[first : first + _VALIDATED])
        features, of = batch.see(net), range(len(batch.questions))
        read: list[Picks] = [() for _ in of]
        lambdas = dict.fromkeys(of, settings.lambdas[effort])
        for _ in range(ROUNDS):
            new = _taken(net, batch, features, of, read, lambdas, effort)
            read = [(*before, *picks) for before, picks in zip(read, new, strict=True)]
        chosen += read
    return chosen


def _taken(
    net: WindowNet,
    batch: Batch,
    features: torch.Tensor,
    of: Sequence[int],
    read: Sequence[Picks],
    lambdas: Mapping[int, float],
    effort: Effort = "high",
) -> list[Picks]:
    """What `models.take` takes next of some rows; ``lambdas`` are those of their questions."""
    each, saturation = batch.gains(net, features, of, read)
    every: list[Picks] = []
    for row, (at, before) in enumerate(zip(of, read, strict=True)):
        one = batch.questions[at]
        own = each[row, : len(one.near)].double().numpy()
        tokens, rho = one.question.tokens, float(saturation[row])
        offer = Offer(own, one.finer(before), rho, one.costs, tokens, one.near)
        limit = replace(one.question.state, effort=effort).allowance
        limit -= sum(tokens[level] for _, level in before)
        every.append(take(offer, lambdas[at], limit, must=not before).picks)
    return every


def greedy_figures(
    net: WindowNet, questions: Sequence[Tabled], settings: WindowsRecipe
) -> dict[str, float]:
    """Means over questions of what the policy does; ``X_effort`` at each effort.

    Costs are shares of the FLOPs of all windows at native size, the choice itself counted.
    """
    figures: dict[str, float] = {}
    rewards = []
    for effort in EFFORTS:
        sets = greedy_sets(net, questions, settings, effort)
        score, cost = means(questions, sets)
        cost += choosing_cost(questions)
        rewards.append(score - settings.lambdas[effort] * cost)
        figures |= {f"score_{effort}": score, f"cost_{effort}": cost}
    figures |= {name: figures[f"{name}_balanced"] for name in ("score", "cost")}
    figures["reward"] = sum(rewards) / len(rewards)
    return {name: round(value, 5) for name, value in figures.items()}

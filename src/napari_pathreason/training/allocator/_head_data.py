"""What the head learns from, as tensors: the overviews it reads, and the outcome of each budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch

from napari_pathreason.budgets import plan
from napari_pathreason.models import EFFORTS, OVERVIEW, AllocatorNet, net_flops, to_tensor, word_ids
from napari_pathreason.training.recipe import AllocatorRecipe, Cost
from napari_pathreason.training.samples import Pictures, Sample

from ._rewards import gated, paper
from ._tables import Scored, native_flops


@dataclass(frozen=True, slots=True)
class Overviews:
    """What the net reads of all questions.

    ``overviews`` are groups of one size: places of the questions and their pictures
    (questions, 3, height, width); ``words``, ``offsets`` and ``native`` as the net takes them.
    """

    overviews: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    words: torch.Tensor
    offsets: torch.Tensor
    native: torch.Tensor

    def logits(self, net: AllocatorNet, rng: Random | None = None) -> torch.Tensor:
        """Logits of all questions, float (questions, efforts, budgets); ``rng`` mirrors views."""
        features = torch.empty(0)
        for places, pictures in self.overviews:
            mirrored = [axis for axis in (2, 3) if rng is not None and rng.random() < 0.5]
            part = net.see(pictures.flip(mirrored))
            if not len(features):
                features = part.new_zeros(len(self.native), part.shape[1])
            features = features.index_copy(0, places, part)
        logits: torch.Tensor = net(features, self.words, self.offsets, self.native)
        return logits

    @property
    def flops(self) -> torch.Tensor:
        """FLOPs that the net itself spends on each question, float (questions,)."""
        flops = torch.zeros(len(self.native))
        ends = [*self.offsets[1:].tolist(), len(self.words)]
        for places, pictures in self.overviews:
            for at in places.tolist():
                words = ends[at] - int(self.offsets[at])
                flops[at] = net_flops(pictures.shape[2], pictures.shape[3], words)
        return flops


def read_overviews(samples: Sequence[Sample], pictures: Pictures, token_px: int) -> Overviews:
    """Read the overview of every question, as a run of the main job would."""
    groups: dict[torch.Size, list[tuple[int, torch.Tensor]]] = defaultdict(list)
    words: list[int] = []
    offsets, native = [], []
    for at, sample in enumerate(samples):
        region = pictures.region(sample)
        reading = plan(region, OVERVIEW, token_px)
        picture = to_tensor(pictures.read(sample, region, reading.size))
        groups[picture.shape].append((at, picture))
        offsets.append(len(words))
        words += word_ids(sample.query)
        native.append(reading.native)
    overviews = tuple(
        (torch.tensor([at for at, _ in group]), torch.cat([picture for _, picture in group]))
        for group in groups.values()
    )
    return Overviews(overviews, torch.tensor(words), torch.tensor(offsets), torch.tensor(native))


@dataclass(frozen=True, slots=True)
class Returns:
    """Outcome of each budget, float tensors (questions, budgets); ``costs`` as for `gated`."""

    scores: torch.Tensor
    tokens: torch.Tensor
    costs: torch.Tensor
    native: torch.Tensor

    def rewards(self, settings: AllocatorRecipe) -> torch.Tensor:
        """Reward of each budget at each effort, float (questions, efforts, budgets)."""
        if settings.reward == "paper":  # it has no lambda: all efforts are rewarded alike
            one = paper(self.scores, self.tokens, self.native)
            return one[:, None].expand(-1, len(EFFORTS), -1)
        lambdas = [settings.lambdas[effort] for effort in EFFORTS]
        return torch.stack([gated(self.scores, self.costs, lambda_) for lambda_ in lambdas], 1)


def returns(overviews: Overviews, rows: Sequence[Sequence[Scored]], cost: Cost) -> Returns:
    """Outcome of each budget of a table, the allocator's own FLOPs counted."""
    flops = torch.tensor([[one.flops for one in row] for row in rows]) + overviews.flops[:, None]
    return Returns(
        scores=torch.tensor([[one.score for one in row] for row in rows]),
        tokens=torch.tensor([[one.tokens for one in row] for row in rows]),
        costs=flops / torch.tensor(native_flops(rows, cost))[:, None],
        native=overviews.native,
    )

"""A learned allocator: a light head over the budget grid with its own picture and word encoder."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import nn

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_bytes, atomic_text
from napari_pathreason.types import Allocation, Effort, Query

from ._allocators import FOLDER, SETTINGS, WEIGHTS, WORD_BUCKETS, word_ids

OVERVIEW = 4
"""Visual tokens of the overview: 64 x 64 px of a square region where a token covers 32 px."""
BUDGETS: tuple[int | None, ...] = (*BUDGET_GRID, None)
"""What may be allocated, in the order of the logits; None for native size."""
EFFORTS: tuple[Effort, ...] = get_args(Effort)
"""Trade-offs between tokens and score, cheapest first."""
_BUDGET_NAMES = ["native" if budget is None else budget for budget in BUDGETS]
_NEVER = -1e4
"""Logit of a budget that reads no less than native size."""
_WORD, _HIDDEN = 32, 96
_CHANNELS, _SHRINKS = (32, 48, 64), (4, 2, 2)


class AllocatorNet(nn.Module):
    """Logits over `BUDGETS`, one row for each of `EFFORTS`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels, shrink in zip(_CHANNELS, _SHRINKS, strict=True):
            kernel = shrink if before == 3 else 3
            padding = 0 if before == 3 else 1
            layers += [nn.Conv2d(before, channels, kernel, shrink, padding), nn.GELU()]
            before = channels
        self.picture = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.words = nn.EmbeddingBag(WORD_BUCKETS, _WORD, mode="mean")
        self.head = nn.Sequential(
            nn.Linear(before + _WORD + 1, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, len(EFFORTS) * len(BUDGETS)),
        )

    def see(self, pictures: torch.Tensor) -> torch.Tensor:
        """Features of overviews (questions, 3, height, width) with values -1 to 1."""
        features: torch.Tensor = self.picture(pictures)
        return features

    def forward(
        self,
        features: torch.Tensor,
        words: torch.Tensor,
        offsets: torch.Tensor,
        native: torch.Tensor,
    ) -> torch.Tensor:
        """Logits, float (questions, efforts, budgets); low for budgets from native size up.

        Parameters
        ----------
        features : float tensor (questions, features)
            What `see` made of the overviews; their sizes may differ.
        words : int64 tensor (words,)
            `word_ids` of all questions, one behind another.
        offsets : int64 tensor (questions,)
            Where the words of each question begin.
        native : int64 tensor (questions,)
            Visual tokens of each region at native size.
        """
        size = native.float().log2()[:, None] / 4 - 2  # 256 tokens lie in the middle
        inputs = torch.cat([features, self.words(words, offsets), size], 1)
        logits: torch.Tensor = self.head(inputs).view(-1, len(EFFORTS), len(BUDGETS))
        budgets = torch.tensor([budget or 0 for budget in BUDGETS], device=native.device)
        return logits.masked_fill((budgets >= native[:, None])[:, None], _NEVER)


def to_tensor(overview: NDArray[np.uint8]) -> torch.Tensor:
    """An overview (height, width, 3) as the net reads it, float (1, 3, height, width)."""
    pixels = torch.from_numpy(np.ascontiguousarray(overview)).permute(2, 0, 1)[None]
    return pixels.float() / 127.5 - 1


def net_flops(height: int, width: int, words: int) -> float:
    """FLOPs of one allocation; a multiply-add counts as two."""
    total, before = 0.0, 3
    for channels, shrink in zip(_CHANNELS, _SHRINKS, strict=True):
        # the first layer cuts off what is left over, the others pad
        first = before == 3
        height, width = (n // shrink if first else -(-n // shrink) for n in (height, width))
        kernel = shrink if first else 3
        total += height * width * channels * before * kernel**2
        before = channels
    total += words * _WORD + (before + _WORD + 1) * _HIDDEN + _HIDDEN * len(EFFORTS) * len(BUDGETS)
    return 2 * total


@dataclass(frozen=True, slots=True)
class PolicyAllocator:
    """Allocates the likeliest budget of a learned policy; satisfies `engine.Allocator`.

    A region larger than all it learnt from is taken for one of that size: of the budgets beyond,
    and of native size there, the net has learnt nothing.

    Parameters
    ----------
    net : AllocatorNet
    largest : int
        Visual tokens, at native size, of the largest region that it learnt from.
    """

    net: AllocatorNet
    largest: int = BUDGET_GRID[-1]

    @property
    def overview_budget(self) -> int:
        """Visual tokens of the overview that it reads."""
        return OVERVIEW

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """Choose a budget; the overview's tokens and the FLOPs of the net are counted.

        Raises
        ------
        ModelError
            If there is no overview.
        """
        overview = needed(overview)
        height, width, _ = overview.shape
        ids = word_ids(query)
        with torch.inference_mode():
            logits = self.net(
                self.net.see(to_tensor(overview)),
                torch.tensor(ids),
                torch.tensor([0]),
                torch.tensor([min(native, self.largest)]),
            )[0, EFFORTS.index(effort)]
            if native > self.largest:
                logits[BUDGETS.index(None)] = _NEVER
        probabilities = logits.double().softmax(0)
        return Allocation(
            budget=BUDGETS[int(probabilities.argmax())],
            source="policy",
            tokens_spent=OVERVIEW,
            probabilities=tuple(probabilities.tolist()),
            flops=net_flops(height, width, len(ids)),
            effort=effort,
        )


def needed(overview: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """The overview, without which no learned allocator can choose.

    Raises
    ------
    ModelError
        If there is none.
    """
    if overview is None:
        raise ModelError("the allocator got no overview; choose a number of visual tokens")
    return overview


def save_allocator(folder: Path, allocator: PolicyAllocator) -> None:
    """Write ``allocator.safetensors`` and ``allocator.json`` beside a performer's weights.

    An allocator of the other form (`save_text_allocator`) makes room for it. A process that dies in
    between leaves no allocator of one picture, never the weights of one with another's settings.
    """
    settings = {
        "form": "head",
        "budgets": _BUDGET_NAMES,
        "efforts": list(EFFORTS),
        "largest": allocator.largest,
    }
    with atomic_bytes(folder / WEIGHTS) as weights:  # named last: these are what loading looks for
        weights.write(save(allocator.net.state_dict()))
        (folder / WEIGHTS).unlink(missing_ok=True)
        with atomic_text(folder / SETTINGS) as file:
            file.write(json.dumps(settings, indent=2) + "\n")
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def load_allocator(folder: Path) -> PolicyAllocator:
    """Read what `save_allocator` wrote.

    Raises
    ------
    ModelError
        If a file is damaged or belongs to another budget grid.
    """
    try:
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        net = AllocatorNet()
        net.load_state_dict(load_file(folder / WEIGHTS))
        same = settings["budgets"] == _BUDGET_NAMES and settings["efforts"] == list(EFFORTS)
        largest = int(settings.get("largest", BUDGET_GRID[-1]))
    except Exception as error:  # whatever a damaged file makes json, safetensors and torch raise
        raise ModelError(
            "the allocator of the model cannot be read; fetch the whole model"
        ) from error
    if not same:
        raise ModelError("the allocator of the model has another budget grid; fetch a newer model")
    return PolicyAllocator(net.eval(), largest)

"""Groups of completions, sampled together on the key-value cache, and how they look in the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from napari_pathreason import models
from napari_pathreason.training.samples import Sample

from ._actor import Actor
from ._rewards import RewardBreakdown

PANELS = {
    "reward": "reward",
    "score": "score of answers",
    "format": "share in the whole form",
    "zero_variance": "groups that teach nothing",
    "length": "tokens of a completion",
    "words": "words of a rationale",
    "confirmed": "cited facts that hold",
    "entropy": "entropy (nats a token)",
    "kl": "distance to the start (k3)",
}
"""Panels of the learning curve."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Completions, padded on the right; those of one prompt stand together.

    ``tokens`` int64 (completions, tokens); ``mask`` bool of the same shape, True up to and with the
    token that ended a completion; ``finished`` bool (completions,), False where the limit cut one
    off.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    finished: torch.Tensor

    def ids(self) -> list[list[int]]:
        """Tokens of each completion, its end included."""
        return [
            row[inside].tolist()
            for row, inside in zip(self.tokens.cpu(), self.mask.cpu(), strict=True)
        ]

    def texts(self, tokenizer: Any) -> list[str]:
        """Completions as text, without special tokens, as answers are read."""
        return [
            tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for ids in self.ids()
        ]


@torch.no_grad()
def roll_out(
    actor: Actor,
    prompts: models.PromptBatch,
    num_generations: int,
    max_completion_length: int,
    stops: Collection[int],
    pad: int,
    random: torch.Generator | None,
    may_end: Callable[[bool], bool] = bool,
) -> Rollout:
    """Sample ``num_generations`` completions of each prompt.

    Tokens are sampled from the whole distribution: top-k or top-p would sample from another one
    than the losses speak of. Rows that have ended leave the batch once they are half of it.

    Parameters
    ----------
    actor : Actor
        In evaluation mode.
    prompts : PromptBatch
        On the actor's device.
    num_generations, max_completion_length : int
        Completions of a prompt; tokens of a completion, its end included.
    stops : collection of int
        Token ids that end a completion.
    pad : int
        Token id behind the end.
    random : torch.Generator or None
        On the CPU, so that a seed means the same on every device; None takes the likeliest token.
    may_end : callable
        Tells, given whether all completions have ended, whether to end: where other processes need
        this one's passes, it goes on with one row, and all processes have as many columns.
    """
    prefill = actor.prefill(prompts, num_generations)
    device, rows = prefill.last.device, len(prefill.last)
    ends = torch.tensor(sorted(stops), device=device)
    tokens = torch.full((rows, max_completion_length), pad, device=device)
    mask = torch.zeros((rows, max_completion_length), dtype=torch.bool, device=device)
    steps = models.decode_rows(
        prefill,
        actor.decode_step,
        actor.log_probs,
        stops,
        numbers=None if random is None else _numbers(random, rows),
        may_end=may_end,
    )
    for at, step in enumerate(islice(steps, max_completion_length)):
        tokens[step.rows, at] = step.tokens.masked_fill(~step.going, pad)
        mask[step.rows, at] = step.going
    tokens, mask = tokens[:, : at + 1], mask[:, : at + 1]
    finished = (torch.isin(tokens, ends) & mask).any(1)
    return Rollout(tokens, mask, finished)


def _numbers(random: torch.Generator, rows: int) -> Iterator[torch.Tensor]:
    """A number for each completion and step."""
    while True:
        yield torch.rand(rows, generator=random, dtype=torch.float64)


def figures(
    breakdowns: Sequence[RewardBreakdown], samples: Sequence[Sample], rollout: Rollout
) -> dict[str, Any]:
    """Means over completions; one score a task; shares are 0 to 1.

    ``confirmed`` (of all facts cited) is left out where none is cited.
    """
    record = answer_figures(breakdowns, samples) | {
        "length": _mean(rollout.mask.sum(1).tolist()),
        "cut_off": _mean((~rollout.finished).float().tolist()),
    }
    return {name: round(value, 4) for name, value in record.items()}


def answer_figures(
    breakdowns: Sequence[RewardBreakdown], samples: Sequence[Sample]
) -> dict[str, float]:
    """Those of `figures` that speak of what was written, not of how long it is."""
    tasks: dict[str, list[float]] = defaultdict(list)
    for each, sample in zip(breakdowns, samples, strict=True):
        tasks[sample.task].append(each.score)
    cited = sum(each.cited for each in breakdowns)
    record = {
        "score": _mean([each.score for each in breakdowns]),
        **{f"score_{task}": _mean(scores) for task, scores in sorted(tasks.items())},
        "format": _mean([float(each.well_formed) for each in breakdowns]),
        "words": _mean([float(each.words) for each in breakdowns]),
        "cited": cited / len(breakdowns),
    }
    if cited:
        record["confirmed"] = sum(each.confirmed for each in breakdowns) / cited
    return record


SUMMED = ("groups", "zero_variance")
"""Figures that are numbers of things, which add up."""


def over_processes(
    accelerator: Accelerator, parts: Sequence[tuple[int, Mapping[str, float]]]
) -> dict[str, Any]:
    """Figures of all parts of a step and of all processes; to be called in every process.

    Parameters
    ----------
    accelerator : Accelerator
    parts : sequence of (int, mapping)
        Of each part of this process, how many completions it has, and their figures. Means are
        weighed by those numbers; a part that lacks a figure leaves it to the others.
    """
    everywhere = gather_object(list(parts))
    merged: dict[str, Any] = {}
    for name in dict.fromkeys(name for _, figures in everywhere for name in figures):
        own = [(number, figures[name]) for number, figures in everywhere if name in figures]
        if name in SUMMED:
            merged[name] = sum(value for _, value in own)
        elif len(own) == 1:
            merged[name] = own[0][1]
        else:
            whole = sum(number for number, _ in own)
            merged[name] = round(sum(number * value for number, value in own) / whole, 6)
    return merged


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

"""What a step's completions look like, as figures of its log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from napari_pathreason.training.samples import Sample

from ._rewards import Assessed
from ._rollout import Rollout

PANELS = {
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


def figures(
    assessed: Sequence[Assessed], samples: Sequence[Sample], rollout: Rollout
) -> dict[str, Any]:
    """Means over completions; one score a task; shares are 0 to 1.

    ``confirmed`` (of all facts cited) is left out where none is cited.
    """
    tasks: dict[str, list[float]] = defaultdict(list)
    for each, sample in zip(assessed, samples, strict=True):
        tasks[sample.task].append(each.score)
    cited = sum(each.cited for each in assessed)
    record = {
        "score": _mean([each.score for each in assessed]),
        **{f"score_{task}": _mean(scores) for task, scores in sorted(tasks.items())},
        "format": _mean([float(each.whole) for each in assessed]),
        "length": _mean(rollout.mask.sum(1).tolist()),
        "cut_off": _mean((~rollout.finished).float().tolist()),
        "words": _mean([float(each.words) for each in assessed]),
        "cited": cited / len(assessed),
    }
    if cited:
        record["confirmed"] = sum(each.confirmed for each in assessed) / cited
    return {name: round(value, 4) for name, value in record.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

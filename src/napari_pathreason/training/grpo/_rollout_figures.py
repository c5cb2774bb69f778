"""What a step's completions look like, as figures of its log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from napari_pathreason.training.samples import Sample

from ._rewards import Judged
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
    judged: Sequence[Judged], samples: Sequence[Sample], rollout: Rollout
) -> dict[str, Any]:
    """Means over completions; one score a task; shares are 0 to 1.

    ``confirmed`` (of all facts cited) is left out where none is cited.
    """
    tasks: dict[str, list[float]] = defaultdict(list)
    for each, sample in zip(judged, samples, strict=True):
        tasks[sample.task].append(each.score)
    cited = sum(each.cited for each in judged)
    record = {
        "score": _mean([each.score for each in judged]),
        **{f"score_{task}": _mean(scores) for task, scores in sorted(tasks.items())},
        "format": _mean([float(each.whole) for each in judged]),
        "length": _mean(rollout.mask.sum(1).tolist()),
        "cut_off": _mean((~rollout.finished).float().tolist()),
        "words": _mean([float(each.words) for each in judged]),
        "cited": cited / len(judged),
    }
    if cited:
        record["confirmed"] = sum(each.confirmed for each in judged) / cited
    return {name: round(value, 4) for name, value in record.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

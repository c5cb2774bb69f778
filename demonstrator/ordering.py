"""Does an evaluation say what the documents claim? Orderings of its rows, checked one by one.

``python -m demonstrator.ordering RESULTS.json`` prints each claim with its figures and ends with 1
where one is broken; `make reproduce` runs it on a small run of its own. Where two rows are close,
their 95 % intervals decide: an order counts as broken only where they are apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_pathreason.training.evaluation import ALL

RowDict = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, the figures it was held against, and whether it holds."""

    text: str
    figures: str
    holds: bool


def claims(rows: Sequence[RowDict]) -> Iterator[Claim]:
    """Claims about rows over all questions, as ``evaluate --policies ... --json`` writes them."""
    whole = [r for r in rows if r["task"] == r["topic"] == r["side"] == ALL]
    stage = whole[0]["stage"]
    now = [r for r in whole if r["stage"] == stage]
    budgets = {r["budget"]: r for r in now if r["policy"] == "fixed"}
    native = next((r for r in now if r["policy"] == "native"), None)
    policies = {(r["policy"], r["effort"]): r for r in now if r["budget"] == "auto"}

    for budget, row in budgets.items():
        for arm in ("text_only", "constant"):
            if arm in row and budget != "4":
                yield _claim(f"at {budget} tokens above {arm}", row["score"], row[arm])
    if oracle := policies.get(("oracle", None)):
        best = max([*budgets.values(), *policies.values()], key=lambda r: float(r["score"]))
        yield _claim("no policy passes the oracle", oracle["score"], best["score"])
    for effort in ("low", "balanced", "high"):
        ours, blind = (policies.get((name, effort)) for name in ("allocator", "random"))
        if ours and blind:
            text = f"allocator, {effort}, not below blind draws at its tokens"
            yield _not_below(text, ours, blind)
        if ours and native:
            if effort != "low":  # which gives score away on purpose
                yield _not_below(f"allocator, {effort}, not below native", ours, native)
            text = f"allocator, {effort}, its own overview counted, cheaper than native"
            yield _claim(text, 1.0, ours["share_of_native"])
    for less, more in (("low", "balanced"), ("balanced", "high")):
        cheap, dear = (policies.get(("allocator", effort)) for effort in (less, more))
        if cheap and dear:
            yield _claim(f"{less} spends no more than {more}", dear["flops"], cheap["flops"])
    for before in (r for r in whole if r["stage"] != stage):
        if before["budget"] in budgets:
            text = f"{stage} not below {before['stage']} at {before['budget']} tokens"
            yield _not_below(text, budgets[before["budget"]], before)


def _claim(text: str, above: float, below: float) -> Claim:
    return Claim(text, f"{above:.4g} >= {below:.4g}", above >= below)


def _not_below(text: str, ours: RowDict, theirs: RowDict) -> Claim:
    """Holds unless the interval of ``ours`` ends below that of ``theirs``."""
    figures = " against ".join(
        f"{row['score']:.3f} ({row['low']:.3f}-{row['high']:.3f})" for row in (ours, theirs)
    )
    return Claim(text, figures, ours["score"] >= theirs["score"] or ours["high"] >= theirs["low"])


def main(file: Path) -> int:
    """Print each claim; 1 where one is broken."""
    found = list(claims(json.loads(file.read_text(encoding="utf-8"))["rows"]))
    for claim in found:
        sys.stdout.write(
            f"{'holds ' if claim.holds else 'BROKEN'}  {claim.text}: {claim.figures}\n"
        )
    return 0 if found and all(claim.holds for claim in found) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""What a session has spent and saved."""

from __future__ import annotations

from collections.abc import Iterable

from napari_pathreason.types import Result


def totals_line(results: Iterable[Result]) -> str:
    """Questions, visual tokens (the allocator's counted), saved tokens and seconds in a line."""
    results = list(results)
    if not results:
        return "Session: no question yet."
    spent = sum(r.tokens.spent for r in results)
    saved = sum(r.tokens.saved for r in results)
    seconds = sum(sum(r.seconds.values()) for r in results)
    questions = "1 question" if len(results) == 1 else f"{len(results):,} questions"
    return f"Session: {questions}, {spent:,} visual tokens, {saved:,} saved, {seconds:.1f} s."


def planned_line(result: Result) -> str:
    """Planned against realised tokens of one answer."""
    tokens = result.tokens
    planned = "native" if tokens.requested is None else f"{tokens.requested:,}"
    return f"Last answer: {planned} planned, {tokens.realised:,} of {tokens.native:,} realised."

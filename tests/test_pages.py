"""The pages that people write can be read, and their changes compared, in a plain editor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("docs", "src", "recipes", "demonstrator", "benchmarks")
WIDEST = 119
PRINTED = ("```text", "```jsonl")
"""Blocks that show what a program writes, line for line."""

PAGES = sorted(ROOT.glob("*.md")) + [page for room in ROOMS for page in (ROOT / room).rglob("*.md")]


def wide_lines(text: str) -> Iterator[int]:
    """Numbers, from 1, of the lines that are too wide and were written by hand.

    Left out is what code writes: what stands between the marks of figures (``<!-- figures: begin
    -->``) and in blocks of what a program prints.
    """
    until = ""  # what ends the part that is left out
    for number, line in enumerate(text.splitlines(), 1):
        if until:
            until = "" if line.strip().endswith(until) else until
        elif line.startswith("<!--") and line.endswith("begin -->"):
            until = "end -->"
        elif line.strip() in PRINTED:
            until = "```"
        elif len(line) > WIDEST:
            yield number


def test_the_pages_are_found() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert {"README.md", "docs/results.md", "docs/data.md"} <= names
    assert "src/napari_pathreason/models/embedded/README.md" in names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_line_is_too_wide(page: Path) -> None:
    wide = [f"{page.relative_to(ROOT)}:{number}" for number in wide_lines(page.read_text("utf-8"))]
    assert not wide, f"wrap at 110: {', '.join(wide)}"


def test_what_code_writes_may_be_wide() -> None:
    wide, narrow = "w" * 120, "n" * 119
    parts = [
        *(narrow, wide),
        *("<!-- figures: begin -->", wide, "<!-- figures: end -->", wide),
        *("```text", wide, "```", "```sh", wide, "```", wide),
    ]
    assert list(wide_lines("\n".join(parts))) == [2, 6, 11, 13]

"""The pages that people write can be read, and their changes compared, in a plain editor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("docs", "src", "recipes", "demonstrator", "benchmarks")
WIDEST = 119
PRINTED = ("```text", "```jsonl")
"""Blocks that show what a program writes, line for line."""

PACKAGE = ROOT / "src" / "napari_pathreason"
PATH = re.compile(r"`([\w./-]+(?:\.pyi?|/))`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
USERS = {
    "docs/data.md": {"Annotations/", "JPEGImages/", "annotations/", "images/", "labels/"},
    "docs/projects.md": {"geojson/", "reviews/"},
    "docs/training.md": {"module.py", "smoothed.py", "allocator/"},
}
"""What lies with a page's reader, or is left by a run, or is checked elsewhere."""

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
    text = page.read_text("utf-8")
    if page.name == "glossary.md":  # a row of its table is one line
        text = re.sub(r"(?m)^\| .*", "", text)
    wide = [f"{page.relative_to(ROOT)}:{number}" for number in wide_lines(text)]
    assert not wide, f"wrap at 110: {', '.join(wide)}"


def test_what_code_writes_may_be_wide() -> None:
    wide, narrow = "w" * 120, "n" * 119
    parts = [
        *(narrow, wide),
        *("<!-- figures: begin -->", wide, "<!-- figures: end -->", wide),
        *("```text", wide, "```", "```sh", wide, "```", wide),
    ]
    assert list(wide_lines("\n".join(parts))) == [2, 6, 11, 13]


def missing_paths(text: str, places: tuple[Path, ...], users: set[str]) -> list[str]:
    """Modules and folders in backticks that lie in none of the places."""
    named = {name for name in PATH.findall(text) if name not in users}
    return sorted(name for name in named if not any((place / name).exists() for place in places))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_modules_and_folders_that_a_page_names_are_there(page: Path) -> None:
    if page.name == "experiments.md":
        pytest.skip("a notebook of what was")
    name, text = page.relative_to(ROOT).as_posix(), page.read_text("utf-8")
    users = USERS.get(name, set())
    assert users <= set(PATH.findall(text)), f"{name} no longer needs all of USERS"
    assert not missing_paths(text, (PACKAGE, ROOT, page.parent), users)


def test_a_path_that_is_not_there_is_told() -> None:
    text = "`budgets.py`, `tasks/`, `tasks/_gone.py` (`f`), `gone/`, `mine.py`, `a b.py`, `x.json`"
    assert missing_paths(text, (PACKAGE,), {"mine.py"}) == ["gone/", "tasks/_gone.py"]
    named = {page.name: len(PATH.findall(page.read_text("utf-8"))) for page in PAGES}
    assert named["paper_index.md"] > 30
    assert named["design.md"] > 10


def anchor(heading: str) -> str:
    """What a link to a heading ends in."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in ("".join(pair) for pair in LINK.findall(page.read_text("utf-8"))):
        target, _, part = link.partition("#")
        if target.startswith(("http:", "https:")):
            continue
        file = page.parent / target if target else page
        headings = []
        if part and file.is_file():
            headings = re.findall(r"(?m)^#+ (.*)", file.read_text("utf-8"))
        if not file.exists() or (part and part not in map(anchor, headings)):
            lost.append(link)
    assert not lost


def test_links_are_found() -> None:
    text = "[a](b.md#c-d) ![e](f.png)\n\n[g]: h.png\n"
    assert ["".join(pair) for pair in LINK.findall(text)] == ["b.md#c-d", "f.png", "h.png"]
    assert anchor("100,000 lesions: `on` the screen?") == "100000-lesions-on-the-screen"

"""What a conversion leaves out, counted: nothing goes without a line, and too much is refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from napari_pathreason.errors import QueryError

from ._pictures import is_picture

NAMED = 3
"""Names that a line gives of what it counts."""
OUTPUTS = {"train.jsonl", "val.jsonl", "test.jsonl"}
"""What lies together in the folder of another conversion."""
PAPERS = ("readme", "license", "licence", "notice", "citation", "changelog")
IGNORED = {"thumbs.db", "desktop.ini"}
TOLERATED = 0.25
"""Share of pictures that may be missing or broken; above it the folder itself is damaged."""


class LeftOut:
    """Counts by reason, with the first names."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, why: str, name: str = "", count: int = 1) -> None:
        """Count something left out.

        Parameters
        ----------
        why : str
            What it is and why, as it follows the number: "records left out: no answer".
        name : str
            File (never its full path), row or record.
        count : int
        """
        if count:
            self._counts[why] += count
            names = self._names.setdefault(why, [])
            if name and name not in names and len(names) <= NAMED:
                names.append(name)

    def count(self, why: str) -> int:
        """How often a reason was given."""
        return self._counts[why]

    def names(self, why: str) -> str:
        """The first names of a reason, in one phrase."""
        names = self._names.get(why, [])
        return ", ".join([*names[:NAMED], *["..."] * (len(names) > NAMED)])

    def notes(self) -> tuple[str, ...]:
        """A line for each reason: number, reason, first names."""
        return tuple(
            f"{count:,} {why}" + (f" ({self.names(why)})" if self._names[why] else "")
            for why, count in self._counts.items()
        )


def too_many(lost: int, total: int) -> bool:
    """Whether so many pictures of a set are lost that the rest is no set; one of several is not."""
    return lost == total or lost > max(1.0, TOLERATED * total)


def refuse_damaged(left: LeftOut, why: str, total: int, remedy: str) -> None:
    """Refuse a set of which too many pictures were left out for one reason.

    Raises
    ------
    QueryError
        Says how many of ``total``, names the first, and gives the remedy.
    """
    lost = left.count(why)
    if lost and too_many(lost, total):
        what = why.removesuffix(" and were left out")
        raise QueryError(f"{lost:,} of {total:,} {what} ({left.names(why)}); {remedy}")


def shown(path: Path, folder: Path) -> str:
    """A file as messages name it: relative to its folder, else its name alone."""
    inside = path != folder and path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else path.name


def count_unused(left: LeftOut, source: Path, used: Collection[Path], out: Path) -> None:
    """Count the files of a source that no sample and no converter used.

    Hidden files, licences, read-mes and the folders of other conversions are passed over. Of a
    source that is a file, the pictures that lie beside those that it names are counted.

    Parameters
    ----------
    left : LeftOut
    source : Path
        Folder or file.
    used : collection of Path
        Files, and folders of which everything is used.
    out : Path
        Where the samples go, which may lie inside the source.
    """
    pictures = "pictures belong to no label of it and were left out"
    if source.is_file():
        for folder in sorted({path.parent for path in used if path.is_relative_to(source.parent)}):
            for path in _entries(folder):
                if path.is_file() and path not in used and is_picture(path):
                    left.add(pictures, shown(path, source.parent))
        return
    others: Counter[str] = Counter()
    for path in _walk(source, used, out, set()):
        if is_picture(path):
            left.add(pictures, shown(path, source))
        else:
            others[path.suffix.lower() or "without ending"] += 1
    for ending, count in sorted(others.items()):
        left.add(f"files {ending} were not used", count=count)


def _walk(folder: Path, used: Collection[Path], out: Path, seen: set[str]) -> Iterator[Path]:
    names = {entry.name for entry in os.scandir(folder)}
    real = os.path.realpath(folder)  # links may lead back
    if folder == out or names >= OUTPUTS or real in seen:
        return
    seen.add(real)
    for path in _entries(folder):
        if path in used or path.name.lower() in IGNORED:
            continue
        if path.is_dir() and not is_picture(path):
            yield from _walk(path, used, out, seen)
        elif not path.name.lower().startswith(PAPERS) and path.suffix.lower() != ".md":
            yield path


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, hidden things apart, in order."""
    return sorted(Path(e.path) for e in os.scandir(folder) if not e.name.startswith("."))

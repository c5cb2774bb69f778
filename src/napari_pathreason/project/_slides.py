"""Which slides form a project: a folder, or a list that may say which form a case.

A slide's annotations are a GeoJSON beside it, ``slide.geojson`` for ``slide.svs``, or as the list
says.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.errors import QueryError
from napari_pathreason.files import is_there, plain_text

COLUMNS = ("slide", "annotations", "case")
"""Of a list; all but the first may be missing, and others may stand beside them."""
ANNOTATIONS = (".geojson", ".geojson.gz")
"""Endings of a file of annotations, behind the slide's name with or without its own ending."""
NO_SLIDES = frozenset({"", ".csv", ".txt", ".json", ".jsonl", ".html", ".md", ".gz", ".geojson"})
"""Endings of files in a folder that lie beside slides and are none."""
OWN = "-answers"
"""How the name of the folder ends in which a project's answers are kept."""


@dataclass(frozen=True, slots=True)
class ProjectSlide:
    """A slide of a project.

    Parameters
    ----------
    path : Path
    annotations : Path or None
        None where there are none.
    case : str
        The patient, or whatever several slides are of; empty where nothing is said.
    """

    path: Path
    annotations: Path | None
    case: str = ""

    @property
    def name(self) -> str:
        """Name of the file, as it can be shown."""
        return plain_text(self.path.name)


@dataclass(frozen=True, slots=True)
class Project:
    """Slides that one question is about.

    Parameters
    ----------
    slides : tuple of ProjectSlide
        Those with annotations, in the order of the list, of a folder by name.
    without : tuple of str
        Names of those that have none.
    answers : Path
        Folder in which answers are kept, unless another is chosen.
    source : Path, optional
        The list, or the folder, that it was read from.
    """

    slides: tuple[ProjectSlide, ...]
    without: tuple[str, ...]
    answers: Path
    source: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The list, slides and annotations."""
        own = [file for slide in self.slides for file in (slide.path, slide.annotations)]
        listed = self.source if self.source is not None and self.source.is_file() else None
        return [file for file in (listed, *own) if file is not None and not file.is_dir()]


def read_project(path: str | Path) -> Project:
    """Slides of a folder, or of a list.

    Parameters
    ----------
    path : str or Path
        A folder with slides and their GeoJSON, or a list: CSV with a column ``slide``, and
        ``annotations`` and ``case`` where wanted; or a text file with a slide a line. Paths are
        relative to the list.

    Raises
    ------
    QueryError
        If it cannot be read, or none of its slides has annotations.
    """
    path = Path(path)
    if not is_there(path):
        raise QueryError(f"{path.name} is not there; give a folder of slides, or a list of them")
    every = list(_of_folder(path) if path.is_dir() else _of_list(path))
    counts = Counter(slide.name for slide in every)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise QueryError(
            f"{path.name} has more than one slide named {', '.join(twice)}, which tables could not "
            "tell apart; leave the others out, or rename them"
        )
    slides = tuple(slide for slide in every if slide.annotations is not None)
    without = tuple(slide.name for slide in every if slide.annotations is None)
    if not slides:
        raise QueryError(
            f"no slide of {path.name} has annotations; put a GeoJSON of QuPath beside each, such "
            "as slide.geojson beside slide.svs"
        )
    folder = path / f"pathreason{OWN}" if path.is_dir() else path.with_name(f"{path.stem}{OWN}")
    return Project(slides, without, folder, path)


def _of_folder(folder: Path) -> Iterator[ProjectSlide]:
    """What lies in a folder beside a GeoJSON; files of other kinds are no slides."""
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") or path.name.endswith(OWN)
        if hidden or path.suffix.lower() in NO_SLIDES:
            continue
        if path.is_dir() and path.suffix.lower() != ".zarr":
            continue
        yield ProjectSlide(path, _beside(path))


def _of_list(path: Path) -> Iterator[ProjectSlide]:
    for number, row in enumerate(_rows(path), 1):
        slide = path.parent / row["slide"]
        if not is_there(slide):
            raise QueryError(
                f"{plain_text(row['slide'])[:80]}, slide {number} of {path.name}, is not there; "
                "paths of a list are relative to it"
            )
        named = row.get("annotations", "")
        annotations = path.parent / named if named else _beside(slide)
        if named and annotations is not None and not is_there(annotations):
            raise QueryError(
                f"{plain_text(named)[:80]}, the annotations of slide {number} of {path.name}, are "
                "not there; paths of a list are relative to it"
            )
        yield ProjectSlide(slide, annotations, plain_text(row.get("case", "")))


def _rows(path: Path) -> Sequence[dict[str, str]]:
    """Rows of a list, each with a slide; cells without blanks around them."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise QueryError(f"{path.name} cannot be read ({why}); give a list of slides") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if path.suffix.lower() != ".csv":
        return [{"slide": line.strip()} for line in lines]
    mark = max(",;\t", key=lines[0].count) if lines else ","
    try:
        rows = [
            {name.strip().lower(): (cell or "").strip() for name, cell in row.items() if name}
            for row in csv.DictReader(lines, delimiter=mark)
        ]
    except csv.Error as error:
        raise QueryError(f"{path.name} is no table ({error}); give a list of slides") from error
    if not rows or "slide" not in rows[0]:
        raise QueryError(
            f"{path.name} has no column slide; its first line names the columns: "
            f"{', '.join(COLUMNS)}"
        )
    return [row for row in rows if row["slide"]]


def _beside(slide: Path) -> Path | None:
    """The GeoJSON of a slide, where one lies beside it."""
    for stem in (slide.name, slide.stem, slide.name.split(".")[0]):
        for ending in ANNOTATIONS:
            path = slide.with_name(f"{stem}{ending}")
            if path.is_file():
                return path
    return None

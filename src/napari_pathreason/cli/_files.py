"""The files that ``pathreason ask`` leaves behind, beside what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason import QueryError, Result

if TYPE_CHECKING:
    from napari_pathreason.exports import FileKind, ManifestEntry
    from napari_pathreason.slides import Slide

FILES: tuple[FileKind, ...] = ("geojson", "csv", "transcript", "manifest", "report")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files."""
    group = parser.add_argument_group("results as files (see docs/exports.md)")
    for name, help_ in (
        ("geojson", "regions and findings for QuPath; .geojson or .geojson.gz"),
        ("csv", "a row for each finding, in px and um"),
        ("report", "HTML with pictures, for reading and sending"),
        ("manifest", "what --from needs to repeat this run"),
        ("transcript", "JSON Lines, a line for each answer"),
    ):
        group.add_argument(f"--{name}", metavar="FILE", type=Path, help=help_)
    group.add_argument(
        "--unreliable-class",
        action="store_true",
        help="in GeoJSON, what has no reliable answer is of the class Unreliable: NAME",
    )


def check_writable(file: Path) -> None:
    """Refuse before the work what could not be kept after it."""
    if file.is_dir():
        raise QueryError(f"{file} is a folder; give a file to write to")
    if not file.absolute().parent.is_dir():
        raise QueryError(f"there is no folder {file.parent} to write to; make it first")


def wanted_files(args: argparse.Namespace) -> dict[FileKind, Path]:
    """Which files were asked for, checked; option -> file."""
    files = {name: getattr(args, name) for name in FILES if getattr(args, name) is not None}
    for file in files.values():
        check_writable(file)
    return files


@dataclass
class Kept:
    """Answers of a run so far.

    Parameters
    ----------
    slide : Slide
    model_id : str
        The model as it was asked for.
    files : dict of Path
        Option, which is the kind -> file.
    unreliable_class : bool
        See `exports.features_of_marks`.
    """

    slide: Slide
    model_id: str
    files: dict[FileKind, Path]
    unreliable_class: bool = False
    entries: list[ManifestEntry] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(self, entry: ManifestEntry, result: Result) -> None:
        """Keep an answer and its entry of the manifest."""
        self.entries.append(entry)
        self.results.append(result)

    def write(self, tell: Callable[[str], None]) -> None:
        """Write every file; nothing where there is no answer.

        Raises
        ------
        ExportError
            If one cannot be written; those before it are.
        """
        if not self.results or not self.files:
            return
        from napari_pathreason.exports import AnswerFiles
        from napari_pathreason.slide_run import used_model

        answers = AnswerFiles(
            self.results,
            lambda: self.slide,
            lambda: used_model(self.model_id),
            self.entries,
            made=self.made,
            unreliable_class=self.unreliable_class,
        )
        for name, file in self.files.items():
            tell(f"writing the {name}")
            answers.write(file, name)

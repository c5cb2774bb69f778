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
    from napari_pathreason.exports import Asked, Manifest
    from napari_pathreason.slides import Slide

FILES = ("geojson", "csv", "transcript", "manifest", "report")


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


def check_writable(file: Path) -> None:
    """Refuse before the work what could not be kept after it."""
    if file.is_dir():
        raise QueryError(f"{file} is a folder; give a file to write to")
    if not file.absolute().parent.is_dir():
        raise QueryError(f"there is no folder {file.parent} to write to; make it first")


def wanted_files(args: argparse.Namespace) -> dict[str, Path]:
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
    spec : str
        The model as it was asked for.
    files : dict of Path
        Option -> file.
    """

    slide: Slide
    spec: str
    files: dict[str, Path]
    asked: list[Asked] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(self, asked: Asked, result: Result) -> None:
        """Keep an answer and the question it belongs to."""
        self.asked.append(asked)
        self.results.append(result)

    def write(self, tell: Callable[[str], None]) -> None:
        """Write every file; nothing where there is no answer.

        Raises
        ------
        ExportError
            If one cannot be written; those before it are.
        """
        from napari_pathreason import exports

        if not self.results or not self.files:
            return
        run = exports.new_run()
        for name, file in self.files.items():
            tell(f"writing the {name}")
            if name == "geojson":
                marks = exports.marks_of(self.results, run)
                exports.write_geojson(file, exports.features_of_marks(marks))
            elif name == "csv":
                exports.write_table(file, exports.marks_of(self.results, run))
            elif name == "transcript":
                exports.write_transcript(file, self.results, run)
            elif name == "manifest":
                exports.write_manifest(file, self._manifest(run))
            else:
                from ._figure import region_png

                exports.write_report(
                    file, self.results, lambda r: region_png(self.slide, r), run, self.made
                )

    def _manifest(self, run: str) -> Manifest:
        from napari_pathreason import exports
        from napari_pathreason.models._checkpoint import find_checkpoint

        folder, name = find_checkpoint(self.spec)
        model = self.results[-1].model
        told = self.spec in (name, "embedded") and not Path(self.spec).is_dir()
        return exports.Manifest(
            run=run,
            made=self.made,
            slide=self.slide.info,
            fingerprint="" if self.slide.path is None else exports.fingerprint(self.slide.path),
            model=exports.UsedModel(
                name=model.name,
                spec=self.spec if told else "",
                device=model.device,
                weights_sha256=exports.weights_sha256(folder),
            ),
            asked=tuple(self.asked),
            versions=exports.versions_here(),
        )

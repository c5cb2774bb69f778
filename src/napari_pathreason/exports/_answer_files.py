"""A run's answers as files: which there are, and all of them from the same values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_pathreason.errors import ExportError
from napari_pathreason.types import Result

from ._anndata import write_anndata
from ._geojson import write_geojson
from ._manifest import (
    Manifest,
    ManifestEntry,
    OtherSlide,
    ShownSlide,
    UsedModel,
    entry_of,
    fingerprint,
    other_names,
    versions_here,
    write_manifest,
)
from ._marks import features_of_marks, marks_of, new_run
from ._report import write_report
from ._tables import write_table, write_transcript, write_views

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide

NO_FINDINGS = "these answers have no findings"
NO_VIEWS = "these answers do not say what was read"

FileKind = Literal["geojson", "csv", "views", "report", "manifest", "transcript", "anndata"]
ENDINGS: dict[str, FileKind] = {
    ".geojson": "geojson",
    ".geojson.gz": "geojson",
    ".views.csv": "views",  # before the ending that it holds
    ".csv": "csv",
    ".html": "report",
    ".json": "manifest",
    ".jsonl": "transcript",
    ".h5ad": "anndata",
}


def kind_of_file(path: str | Path) -> FileKind:
    """What a file is to hold, by the ending of its name.

    Raises
    ------
    ExportError
        If nothing of ours ends so.
    """
    name = Path(path).name
    for ending, kind in ENDINGS.items():
        if name.lower().endswith(ending):
            return kind
    raise ExportError(f"{name} does not say what to write; let it end in {', '.join(ENDINGS)}")


@dataclass(frozen=True, slots=True)
class AnswerFiles:
    """Answers about one slide by one model, ready to be written.

    Parameters
    ----------
    results : sequence of Result
        At least one.
    slide : callable
        Gives the slide: a report reads its pictures, a manifest its fingerprint.
    model : callable
        Gives the model of the run; hashes weights, so only a manifest calls it.
    entries : sequence of ManifestEntry, optional
        As many as results; default: what the results say of themselves.
    run, made : str
        UUID, and ISO 8601 in UTC.
    unreliable_class : bool
        See `features_of_marks`.
    windows, answer_class : bool
        Whether GeoJSON holds the windows that were read, and the answers as classes of their
        regions; see `marks_of`.
    others : sequence of ShownSlide
        Further slides that questions were about, so far as they are files.
    names : sequence of str
        Of the annotations that were asked about, see `marks_of`.
    """

    results: Sequence[Result]
    slide: Callable[[], Slide]
    model: Callable[[], UsedModel]
    entries: Sequence[ManifestEntry] = ()
    run: str = field(default_factory=new_run)
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    unreliable_class: bool = False
    windows: bool = False
    answer_class: bool = False
    others: Sequence[ShownSlide] = ()
    names: Sequence[str] = ()

    def write(
        self,
        path: str | Path,
        kind: FileKind | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        """Write one file, whole or not at all; its kind follows from its name if not given.

        Parameters
        ----------
        path : str or Path
        kind : FileKind, optional
        progress : callable, optional
            Given how many answers of how many are written, of a report before each.

        Raises
        ------
        ExportError
            If it cannot be written.
        PathreasonError
            If the slide or the model is not there any more.
        """
        kind = kind_of_file(path) if kind is None else kind
        if kind == "geojson":
            marks = marks_of(self.results, self.run, self.windows, self.answer_class, self.names)
            write_geojson(path, features_of_marks(marks, self.unreliable_class))
        elif kind == "csv":
            write_table(path, marks_of(self.results, self.run), NO_FINDINGS)
        elif kind == "views":
            write_views(path, self.results, self.run, NO_VIEWS)
        elif kind == "transcript":
            write_transcript(path, self.results, self.run)
        elif kind == "anndata":
            write_anndata(path, self.results)
        elif kind == "manifest":
            write_manifest(path, self._manifest())
        else:
            from ._picture import region_jpeg  # Pillow: only where there is something to draw

            slide, done = self.slide(), count()

            def picture(result: Result) -> bytes:
                if progress is not None:
                    progress(next(done), len(self.results))
                return region_jpeg(slide, result)

            write_report(path, self.results, picture, self.run, self.made)

    def _manifest(self) -> Manifest:
        slide, last, used = self.slide(), self.results[-1].model, self.model()
        name = last.name if last.server is None else used.name  # only if asked: `used_model`
        entries = tuple(self.entries or map(entry_of, self.results))
        shown = {name for entry in entries for name in other_names(entry.request)}
        return Manifest(
            run=self.run,
            made=self.made,
            slide=self.results[-1].slide,
            fingerprint="" if slide.path is None else fingerprint(slide.path),
            model=replace(
                used,
                name=name,
                device=last.device,
                encoder=last.encoder,
                precision=used.precision if last.server is not None else last.precision,
            ),
            entries=entries,
            versions=versions_here(),
            others=tuple(
                OtherSlide(other.name, other.info, fingerprint(other.path))
                for other in self.others
                if other.name in shown
            ),
        )

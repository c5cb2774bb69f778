"""The files that ``pathreason ask`` leaves, and a run repeated from its manifest (``--from``)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from napari_pathreason import QueryError, Result, exports, slide_run, slides

from ._options import check_writable

FILES: dict[str, tuple[exports.FileKind, str]] = {
    "geojson": ("geojson", "regions and findings for QuPath; .geojson or .geojson.gz"),
    "csv": ("csv", "a row for each finding, in px and µm"),
    "views_csv": ("views", "a row for each window or picture that was read, and what it said"),
    "manifest": ("manifest", "what --from needs to repeat this run"),
    "transcript": ("transcript", "JSON Lines, a line for each answer"),
    "report": ("report", "HTML with pictures, for reading and sending"),
    "h5ad": (
        "anndata",
        "AnnData for scanpy and SpatialData, a row for each answer",
    ),
}
"""Option -> kind of its file, and help."""
_IN_MANIFEST = (
    "region",
    "regions",
    "task",
    "question",
    "choices",
    "then",
    "budget",
    "effort",
    "policy",
    "views",
    "temperature",
    "seed",
    "zoom",
    "check_order",
    "mpp",
    "channels",
    "icc",
)
"""Options whose values stand in the manifest."""


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files."""
    group = parser.add_argument_group("results as files (see docs/exports.md)")
    for name, (_, words) in FILES.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar="FILE", type=Path, help=words)
    group.add_argument(
        "--unreliable-class",
        action="store_true",
        help="in GeoJSON, what has no reliable answer is of the class Unreliable: NAME",
    )
    group.add_argument(
        "--answer-class",
        action="store_true",
        help="in GeoJSON, each region is of the class of its answer, unless that is not reliable",
    )
    group.add_argument(
        "--name-server",
        action="store_true",
        help="in the manifest, the server and its model by their names; else it names neither",
    )
    group.add_argument(
        "--geojson-windows",
        action="store_true",
        help="in GeoJSON, the windows that were read too, as locked annotations of class Window",
    )


def wanted_files(args: argparse.Namespace) -> dict[exports.FileKind, Path]:
    """Which files are wanted, checked; kind -> file."""
    wanted = {kind: getattr(args, name) for name, (kind, _) in FILES.items()}
    files = {kind: file for kind, file in wanted.items() if file is not None}
    for file in files.values():
        check_writable(file)
    return files


@dataclass
class AnswerLog:
    """Answers of a run so far.

    Parameters
    ----------
    slide : Slide
    used : callable
        Gives the model as it was before it was loaded; only a manifest needs it.
    files : dict of Path
        Kind -> file.
    unreliable_class, windows, answer_class : bool
        See `exports.AnswerFiles`.
    others : dict of Slide
        Further slides that questions are about, by the names that these give them.
    """

    slide: slides.Slide
    used: Callable[[], exports.UsedModel]
    files: dict[exports.FileKind, Path]
    unreliable_class: bool = False
    windows: bool = False
    answer_class: bool = False
    others: Mapping[str, slides.Slide] = field(default_factory=dict)
    entries: list[exports.ManifestEntry] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    made: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(self, entry: exports.ManifestEntry, result: Result) -> None:
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

        answers = exports.AnswerFiles(
            self.results,
            lambda: self.slide,
            self.used,
            self.entries,
            made=self.made,
            unreliable_class=self.unreliable_class,
            windows=self.windows,
            answer_class=self.answer_class,
            others=[
                exports.ShownSlide(name, other.info, other.path)
                for name, other in self.others.items()
                if other.path is not None
            ],
        )
        for kind, file in self.files.items():
            tell(f"writing the {kind}")
            answers.write(file, kind)


def take_over(args: argparse.Namespace, parser: argparse.ArgumentParser) -> exports.Manifest:
    """Read the manifest and set from it what was not given: slide, model, what it runs on, mpp.

    Raises
    ------
    QueryError
        If an option says again what the manifest says, or slide or model cannot be found from it.
    ExportError
        If the manifest cannot be read.
    """
    twice = [
        f"--{name}" for name in _IN_MANIFEST if getattr(args, name) != parser.get_default(name)
    ]
    if twice:
        raise QueryError(f"--from says what was asked; leave out {', '.join(twice)}")
    manifest = exports.read_manifest(args.from_)
    if args.slide is None:
        args.slide = _beside(args.from_, manifest.slide.name)
    if args.model == parser.get_default("model"):
        if not manifest.model.model_id:
            raise QueryError(
                f"the manifest does not say where the model of the run lies "
                f"({manifest.model.name}); give it with --model"
            )
        args.model = manifest.model.model_id
    if args.device == parser.get_default("device"):
        args.device = manifest.model.device
    if args.encoder == parser.get_default("encoder"):
        args.encoder = manifest.model.encoder
    if args.dtype == parser.get_default("dtype") and args.load_in is None:
        packed = manifest.model.precision == "4bit"
        args.load_in = "4bit" if packed else None
        args.dtype = "auto" if packed else manifest.model.precision
    if manifest.slide.mpp_source == "user":
        args.mpp = manifest.slide.mpp
    args.channels = manifest.slide.channels
    args.icc = manifest.slide.icc == "applied"
    return manifest


def check_same_slide(manifest: exports.Manifest, slide: slides.Slide) -> None:
    """Refuse another slide.

    Raises
    ------
    QueryError
        If the content of the file is not that of the run.
    """
    if slide.path is None or exports.fingerprint(slide.path) != manifest.fingerprint:
        raise QueryError(
            f"{slide.info.name} is not the slide of the run ({manifest.slide.name}, by its "
            "content); give that one, or leave out --from"
        )


def open_others(
    manifest: exports.Manifest, file: Path, candidates: Iterable[Path], opened: ExitStack
) -> dict[str, slides.Slide]:
    """The further slides that the questions of a run are about, by the names that they go by there.

    Parameters
    ----------
    manifest : Manifest
    file : Path
        That it was read from.
    candidates : iterable of Path
        Slides that may be among them; beside the manifest and here they are looked for too.
    opened : ExitStack
        Closes them.

    Raises
    ------
    QueryError
        If one is not found by its content, or was no file.
    SlideError
        If one cannot be opened.
    """
    known = {other.name: other for other in manifest.others}
    names = (name for entry in manifest.entries for name in exports.other_names(entry.request))
    found: dict[str, slides.Slide] = {}
    fingerprint = cache(exports.fingerprint)  # it reads a file, whichever slide is looked for
    for name in dict.fromkeys(names):
        if name not in known:
            raise QueryError(
                f"the run is about {name} too, which was no file when its manifest was written; "
                "ask anew in the docks, with both slides opened from files"
            )
        other = known[name]
        beside = [path for path in _places(file, other.slide.name) if path.exists()]
        for path in (*candidates, *beside):
            if fingerprint(path) == other.fingerprint:
                break
        else:
            raise QueryError(
                f"the run is about {other.slide.name} too, and no slide of its content is given, "
                "beside the manifest or here; give it with --other-slide"
            )
        info = other.slide
        mpp = info.mpp if info.mpp_source == "user" else None
        slide = slides.open_slide(path, mpp, channels=info.channels, icc=info.icc == "applied")
        found[name] = opened.enter_context(slide)
    return found


def check_same_model(manifest: exports.Manifest, model_id: str) -> None:
    """Refuse another model, and warn of other versions.

    Raises
    ------
    QueryError
        If anything of it differs from that of the run: weights, tokenizer, calibration and others.
    """
    if slide_run.used_model(model_id).sha256 != manifest.model.sha256:
        raise QueryError(
            f"the model is not that of the run ({manifest.model.name}), by its weights or by what "
            "lies beside them; give its folder or server with --model, or leave out --from"
        )
    here = exports.versions_here()
    other = [
        f"{name} {then} (here {here.get(name, 'none')})"
        for name, then in manifest.versions.items()
        if here.get(name) != then
    ]
    if other:
        print(
            f"pathreason: the run used other versions, answers may differ: {', '.join(other)}",
            file=sys.stderr,
        )


def _beside(manifest: Path, name: str) -> str:
    """The slide of that name, beside the manifest or here."""
    for path in _places(manifest, name):
        if path.exists():
            return str(path)
    raise QueryError(f"the slide {name} is neither beside the manifest nor here; give it as SLIDE")


def _places(manifest: Path, name: str) -> tuple[Path, ...]:
    """Where a slide of that name is looked for."""
    return tuple(folder / Path(name).name for folder in (manifest.parent, Path()))

"""What a run was: enough to repeat it, and to see whether the repetition gave the same.

Slide and weights are told apart by what is in them, not by where they lie; no path leaves.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ExportError
from napari_pathreason.files import Format, write_json
from napari_pathreason.types import (
    Budget,
    Encoder,
    Precision,
    Reliability,
    Request,
    Result,
    SlideInfo,
    Views,
)

FORMAT = Format("run", 4, oldest=4)
"""None before it was released."""
PACKAGES = ("napari-pathreason", "torch", "transformers", "tokenizers", "numpy", "pillow")
BLOCK = 1 << 16
SAMPLES = 4096
"""A slide may hold 100 GB: up to 256 MiB all of it counts, above so many blocks of 64 KiB."""


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One request of a run, and what became of it.

    Parameters
    ----------
    request : Request
    digest : str
        Of its answer, see `digest_of`; empty before it was answered.
    reliability : Reliability or None
        Of its answer; None before it was answered.
    views : Views or None
        What was read for it, see `repeated_views`; None before it was answered, or of a result that
        stands for several.
    """

    request: Request
    digest: str = ""
    reliability: Reliability | None = None
    views: Views | None = None


@dataclass(frozen=True, slots=True)
class ShownSlide:
    """Another slide than the one asked about, of which regions stand in the prompts of a run.

    ``name`` is what its windows call it, ``path`` where it lies; no manifest holds that.
    """

    name: str
    info: SlideInfo
    path: Path


@dataclass(frozen=True, slots=True)
class OtherSlide:
    """The same in a manifest: ``name``, and what the slide is, by its content."""

    name: str
    slide: SlideInfo
    fingerprint: str


@dataclass(frozen=True, slots=True)
class UsedModel:
    """The model of a run; ``model_id`` is empty where it was a folder, as no path leaves.

    ``sha256`` is of all its files that can change an answer, see `models.checkpoint_sha256`; empty
    where they are out of reach. ``encoder`` is how its vision encoder computes and ``precision``
    what its weights are loaded as, see `models.load_models`.
    """

    name: str
    model_id: str
    device: str
    sha256: str
    encoder: Encoder = "exact"
    precision: Precision = "auto"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A run.

    Parameters
    ----------
    run : str
        UUID.
    made : str
        Time of the run, ISO 8601 in UTC.
    slide : SlideInfo
    fingerprint : str
        Of the slide, see `exports.fingerprint`.
    model : UsedModel
    entries : tuple of ManifestEntry
        In the order in which they were asked.
    versions : dict of str
        Of Python and of the packages that answers depend on.
    others : tuple of OtherSlide
        Further slides that its questions are about.
    """

    run: str
    made: str
    slide: SlideInfo
    fingerprint: str
    model: UsedModel
    entries: tuple[ManifestEntry, ...]
    versions: dict[str, str] = field(default_factory=dict)
    others: tuple[OtherSlide, ...] = ()


def other_names(request: Request) -> tuple[str, ...]:
    """What a request calls the other slides that it is about, each once."""
    shown = () if request.thread is None else request.thread.views.views
    names = [one.slide for one in request.windows] + [view.slide for view in shown]
    return tuple(dict.fromkeys(name for name in names if name))


def entry_of(result: Result) -> ManifestEntry:
    """The request that a result answers, as far as it says so itself, and what was answered."""
    if result.request is not None:
        return ManifestEntry(result.request, digest_of(result), result.reliability, result.views)
    allocation = result.allocation
    budget: Budget = "auto"
    if allocation.source == "user":
        budget = "native" if allocation.budget is None else allocation.budget
    effort = allocation.effort or "balanced"
    request = Request(result.region, result.query, budget, result.settings, effort)
    return ManifestEntry(request, digest_of(result), result.reliability, result.views)


def digest_of(result: Result) -> str:
    """SHA-256 of what a result says: answer, rationale, boxes; not of what it cost.

    Of a reply that could not be read, its raw text.
    """
    content: dict[str, Any] = {
        "answer": result.answer.text,
        "rationale": result.answer.rationale,
        "boxes": [[d.label, d.box.x, d.box.y, d.box.w, d.box.h] for d in result.detections],
    }
    if not result.answer.readable:
        content["reply"] = result.answer.reply
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def versions_here() -> dict[str, str]:
    """Versions of Python and of the packages that answers depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def write_manifest(path: str | Path, manifest: Manifest) -> None:
    """Write a run as JSON.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    write_json(path, {"format": str(FORMAT), **asdict(manifest)})


def read_manifest(path: str | Path) -> Manifest:
    """Read a run that `write_manifest` wrote.

    Raises
    ------
    ExportError
        If the file cannot be read, is no manifest, or of a version that is not read.
    """
    from pydantic import TypeAdapter

    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        FORMAT.check(value["format"], path.name, "ask again and write it anew")
        return TypeAdapter(Manifest).validate_python(value)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ExportError(f"{path.name} cannot be read ({why}); check its name") from error
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ExportError(
            f"{path.name} is not a manifest; give a file that --manifest wrote"
        ) from error


def fingerprint(path: str | Path, most: int = SAMPLES) -> str:
    """SHA-256 over the size and content of a slide; equal copies have equal ones.

    Of more than ``most`` blocks of 64 KiB (256 MiB), as many evenly spaced ones count. Of a folder
    (OME-Zarr) every file's name and size count, and its files behind each other as if they were
    one. The folder's or file's own name does not.

    Raises
    ------
    ExportError
        If it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            sizes = {file: _size(file) for file in sorted(path.rglob("*")) if file.is_file()}
            for file, size in sizes.items():
                digest.update(f"{file.relative_to(path).as_posix()} {size}\n".encode(*_NAMES))
        else:
            sizes = {path: _size(path)}
            digest.update(f"{sizes[path]}\n".encode())
        for block in _blocks(sizes, most):
            digest.update(block)
    except OSError as error:
        raise ExportError(f"{path.name} cannot be read ({error.strerror}); check it") from error
    return digest.hexdigest()


_NAMES = ("utf-8", "surrogateescape")
"""How names of files are bytes, also those that are no text."""


def _blocks(sizes: Mapping[Path, int], most: int) -> Iterator[bytes]:
    """At most so many evenly spaced blocks of files that stand behind each other; of few, all."""
    counts = [max(1, -(-size // BLOCK)) for size in sizes.values()]
    chosen = iter(_spread(sum(counts), most))
    wanted, first = next(chosen, None), 0
    for file, count in zip(sizes, counts, strict=True):
        if wanted is not None and wanted < first + count:
            with file.open("rb") as raw:
                while wanted is not None and wanted < first + count:
                    raw.seek((wanted - first) * BLOCK)
                    yield raw.read(BLOCK)
                    wanted = next(chosen, None)
        first += count


def _size(file: Path) -> int:
    return file.stat().st_size


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` whole numbers below ``count``, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [index * (count - 1) // (most - 1) for index in range(most)]

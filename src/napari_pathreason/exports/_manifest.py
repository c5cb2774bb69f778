"""What a run was: enough to repeat it, and to see whether the repetition gave the same."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_text
from napari_pathreason.geometry import Region
from napari_pathreason.types import (
    Budget,
    Effort,
    GenerationSettings,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TaskName,
)

from ._reliability import RANK

FORMAT = "napari-pathreason run 1"
PACKAGES = ("napari-pathreason", "torch", "transformers", "tokenizers", "numpy", "pillow")


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a run as it was asked, the digest of its answer and its reliability.

    ``reliability`` is None before it was answered, and of a file that does not tell it.
    """

    region: Region
    query: Query
    budget: Budget
    settings: GenerationSettings
    digest: str = ""
    effort: Effort = "balanced"
    reliability: Reliability | None = None


@dataclass(frozen=True, slots=True)
class UsedModel:
    """The model of a run; ``model_id`` is empty where it was a folder, as folders are not told."""

    name: str
    model_id: str
    device: str
    weights_sha256: str


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
    asked : tuple of Asked
    versions : dict of str
        Of Python and of the packages that answers depend on.
    """

    run: str
    made: str
    slide: SlideInfo
    fingerprint: str
    model: UsedModel
    asked: tuple[Asked, ...]
    versions: dict[str, str] = field(default_factory=dict)


def versions_here() -> dict[str, str]:
    """Versions of Python and of the packages that answers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def digest_of(result: Result) -> str:
    """SHA-256 of what a result says: answer, rationale, boxes; not of what it cost.

    Of a reply that could not be read, its raw text.
    """
    said: dict[str, Any] = {
        "answer": result.answer.text,
        "rationale": result.answer.rationale,
        "boxes": [[d.label, d.box.x, d.box.y, d.box.w, d.box.h] for d in result.detections],
    }
    if not result.answer.readable:
        said["reply"] = result.answer.reply
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def write_manifest(path: str | Path, manifest: Manifest) -> None:
    """Write a run as JSON.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    told = {"format": FORMAT, **asdict(manifest)}
    with atomic_text(path) as file:
        file.write(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_manifest(path: str | Path) -> Manifest:
    """Read a run that `write_manifest` wrote.

    Raises
    ------
    ExportError
        If the file cannot be read or is no manifest.
    """
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise ValueError(told["format"])
        return Manifest(
            run=str(told["run"]),
            made=str(told["made"]),
            slide=_slide(told["slide"]),
            fingerprint=str(told["fingerprint"]),
            model=UsedModel(**{name: str(value) for name, value in told["model"].items()}),
            asked=tuple(_asked(one) for one in told["asked"]),
            versions={str(name): str(value) for name, value in told["versions"].items()},
        )
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ExportError(f"{path.name} cannot be read ({why}); check its name") from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ExportError(
            f"{path.name} is not a manifest of this version; give a file that --manifest wrote"
        ) from error


def _slide(told: dict[str, Any]) -> SlideInfo:
    mpp = told["mpp"]
    return SlideInfo(**{**told, "mpp": None if mpp is None else (float(mpp[0]), float(mpp[1]))})


def _asked(told: dict[str, Any]) -> Asked:
    query, budget = told["query"], told["budget"]
    if query["task"] not in get_args(TaskName):
        raise ValueError(query["task"])
    if budget not in ("auto", "native"):
        budget = int(budget)
    effort = told.get("effort", "balanced")
    if effort not in get_args(Effort):
        raise ValueError(effort)
    return Asked(
        region=Region(**{name: int(value) for name, value in told["region"].items()}),
        query=Query(query["task"], str(query["question"]), tuple(map(str, query["options"]))),
        budget=budget,
        settings=GenerationSettings(**told["settings"]),
        digest=str(told["digest"]),
        effort=effort,
        reliability=_reliability(told.get("reliability")),
    )


def _reliability(told: dict[str, Any] | None) -> Reliability | None:
    if told is None:
        return None
    level = told["level"]
    if level not in RANK:
        raise ValueError(level)
    return Reliability(level, tuple(map(str, told["reasons"])))

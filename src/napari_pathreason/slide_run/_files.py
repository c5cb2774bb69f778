"""The files of a finished run."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from napari_pathreason import exports
from napari_pathreason.errors import ExportError
from napari_pathreason.exports import Mark
from napari_pathreason.files import atomic_text

from ._heat import HeatMap, write_heat
from ._outcome import Outcome
from ._plan import FORMAT
from ._record import TileRecord
from ._tiles import Tile

GEOJSON, TABLE, TILES, HEAT = "findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif"
MANIFEST = "manifest.json"
CLASS_KEY = "unreliable_class"
COLUMNS = (
    *("tile", "column", "row", "x_px", "y_px", "width_px", "height_px", "tissue", "state"),
    *(exports.LEVEL_KEY, "budget", "source", "visual_tokens", "allocator_tokens", "native_tokens"),
    *("pixels_decoded", "level", "boxes", "confidence", exports.REASONS_KEY, "answer"),
    *("rationale", "probabilities", "override"),
)


def write_files(folder: Path, outcome: Outcome, unreliable_class: bool = False) -> None:
    """Write all files of a run; the manifest is the last, so where it is, all are.

    Equal runs give equal bytes, but for the time in the manifest. What is not known of a tile is
    no part of the heat map, as if nobody had looked.

    Parameters
    ----------
    folder : Path
    outcome : Outcome
    unreliable_class : bool
        See `exports.features_of_marks`.

    Raises
    ------
    ExportError
        If one cannot be written.
    """
    plan = outcome.plan
    heat = HeatMap(plan.slide, _side(outcome))
    for record in outcome.records:
        if not record.unknown:
            heat.add(plan.tiles[record.index].region, record.detections)
    write_heat(folder / HEAT, heat, plan.slide, plan.run, about=_about(outcome))
    features = exports.features_of_marks(_marks(outcome), unreliable_class)
    exports.write_geojson(folder / GEOJSON, features)
    exports.write_table(folder / TABLE, _marks(outcome))
    _write_tiles(folder / TILES, outcome)
    _write_manifest(folder, outcome, unreliable_class)


def is_finished(folder: Path, run: str, unreliable_class: bool) -> bool:
    """Whether all files of a run are there; those of one with other overrides are not."""
    if not all((folder / name).is_file() for name in (GEOJSON, TABLE, TILES, HEAT, MANIFEST)):
        return False
    told = _told(folder)
    return told.get("run") == run and told.get(CLASS_KEY, False) == unreliable_class


def has_unreliable_class(folder: Path) -> bool:
    """Whether the files of a folder were last written with that class; False where there are none.

    See `exports.features_of_marks`.
    """
    return _told(folder).get(CLASS_KEY) is True


def _told(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says; nothing where there is none that can be read."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _side(outcome: Outcome) -> tuple[int, int]:
    region = outcome.plan.tiles[0].region
    return region.width, region.height


def _marks(outcome: Outcome) -> Iterator[Mark]:
    """The slide as a region and its lesions, each with the words of the tiles that saw it."""
    run, mpp = outcome.plan.run, outcome.plan.slide.mpp
    region, *found = exports.marks_of([outcome.result], run)
    yield region
    for mark, result in zip(found, outcome.results(), strict=True):
        yield Mark(
            shape=mark.shape,
            kind="finding",
            label=mark.label,
            colour=mark.colour,
            number=mark.number,
            result=result,
            run=run,
            confidence=mark.confidence,
            mpp=mpp,
        )


def _about(outcome: Outcome) -> str:
    """What a reader of the heat map alone must know."""
    assessed = exports.reliability_sentence(outcome.result.reliability)
    return f"Confidence of a box, 0 to 1. {assessed}. {outcome.tally.line}."


def _write_tiles(path: Path, outcome: Outcome) -> None:
    done = {record.index: record for record in outcome.records}
    with atomic_text(path) as file:
        table = csv.DictWriter(file, COLUMNS, restval="")
        table.writeheader()
        for tile in outcome.plan.tiles:
            region = tile.region
            row: dict[str, Any] = {
                "tile": tile.index,
                "column": tile.column,
                "row": tile.row,
                "x_px": region.x,
                "y_px": region.y,
                "width_px": region.width,
                "height_px": region.height,
                "tissue": tile.tissue,
                "override": "" if tile.override is None else tile.override,
            }
            table.writerow({**row, **_answer_columns(tile, done.get(tile.index))})


def _answer_columns(tile: Tile, record: TileRecord | None) -> dict[str, Any]:
    """What became of a tile; of one that is not known, no number of boxes."""
    if record is None:
        source = "tissue" if tile.override is None else "user"
        spent = dict.fromkeys(("visual_tokens", "allocator_tokens", "pixels_decoded"), 0)
        return {"state": "skipped", "budget": 0, "source": source, **spent}
    assessed, given, tokens = record.reliability, record.allocation, record.tokens
    row: dict[str, Any] = {
        exports.LEVEL_KEY: assessed.level,
        exports.REASONS_KEY: exports.plain(exports.joined_reasons(assessed)),
    }
    if tokens is None or given is None:
        return {**row, "state": "unreadable"}
    return {
        **row,
        "state": "unknown" if record.unknown else "read",
        "budget": "native" if given.budget is None else given.budget,
        "source": given.source,
        "visual_tokens": tokens.read,
        "allocator_tokens": tokens.allocator,
        "native_tokens": tokens.native,
        "pixels_decoded": record.pixels_decoded,
        "level": record.level,
        "boxes": "" if record.unknown else len(record.detections),
        "confidence": "" if record.confidence is None else round(record.confidence, 6),
        "answer": exports.plain(exports.answer_line(record.answer, assessed)),
        "rationale": exports.plain(record.rationale),
        "probabilities": " ".join(
            f"{probability:.4f}" for probability in given.probabilities or ()
        ),
    }


def _write_manifest(folder: Path, outcome: Outcome, unreliable_class: bool) -> None:
    plan, result = outcome.plan, outcome.result
    identity = asdict(plan.identity)
    told = {
        "format": FORMAT,
        "run": plan.run,
        "made": plan.made,
        "slide": identity["slide"],
        "fingerprint": identity["fingerprint"],
        "model": asdict(replace(plan.used, name=plan.model.name, device=plan.model.device)),
        "settings": identity["settings"],
        "versions": plan.versions,
        CLASS_KEY: unreliable_class,
        "reliability": asdict(result.reliability),
        "tiles": outcome.counts,
        "lesions": len(outcome.lesions),
        "answer": exports.answer_line(result.answer.text, result.reliability),
        "tokens": asdict(result.tokens),
        "pixels_decoded": result.pixels_decoded,
        "warnings": list(result.warnings),
        "sha256": {name: _sha256(folder / name) for name in (GEOJSON, TABLE, TILES, HEAT)},
    }
    with atomic_text(folder / MANIFEST) as file:
        file.write(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportError(f"{path.name} cannot be read ({error.strerror})") from error

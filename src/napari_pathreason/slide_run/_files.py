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
from napari_pathreason._errors import ExportError
from napari_pathreason.exports import Mark

from ._heat import HeatMap, write_heat
from ._outcome import Outcome
from ._plan import FORMAT

GEOJSON, TABLE, TILES, HEAT = "findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif"
MANIFEST = "manifest.json"
COLUMNS = (
    *("tile", "column", "row", "x_px", "y_px", "width_px", "height_px", "tissue", "state"),
    *("budget", "source", "visual_tokens", "allocator_tokens", "native_tokens"),
    *("pixels_decoded", "level", "boxes", "confidence", "answer", "rationale", "probabilities"),
    "override",
)


def write_files(folder: Path, outcome: Outcome) -> None:
    """Write all files of a run; the manifest is the last, so where it is, all are.

    Equal runs give equal bytes, but for the time in the manifest.

    Raises
    ------
    ExportError
        If one cannot be written.
    """
    plan = outcome.plan
    heat = HeatMap(plan.slide, _side(outcome))
    for record in outcome.records:
        if not record.unreadable:
            heat.add(plan.tiles[record.index].region, record.detections)
    write_heat(folder / HEAT, heat, plan.slide, plan.run)
    exports.write_geojson(folder / GEOJSON, exports.features_of_marks(_marks(outcome)))
    exports.write_table(folder / TABLE, _marks(outcome))
    _write_tiles(folder / TILES, outcome)
    _write_manifest(folder, outcome)


def is_finished(folder: Path, run: str) -> bool:
    """Whether all files of a run are there; those of one with other overrides are not."""
    if not all((folder / name).is_file() for name in (GEOJSON, TABLE, TILES, HEAT, MANIFEST)):
        return False
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("run") == run


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


def _write_tiles(path: Path, outcome: Outcome) -> None:
    done = {record.index: record for record in outcome.records}
    with exports.atomic_text(path) as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for tile in outcome.plan.tiles:
            region, record = tile.region, done.get(tile.index)
            place = (tile.index, tile.column, tile.row)
            box = (region.x, region.y, region.width, region.height)
            row: list[Any] = [*place, *box, tile.tissue]
            if record is None:
                row += ["skipped", 0, "tissue" if tile.override is None else "user", 0, 0, "", 0]
            elif record.tokens is None or record.allocation is None:
                row += ["unreadable"]
            else:
                given, spent = record.allocation, record.tokens
                row += ["read", "native" if given.budget is None else given.budget, given.source]
                row += [spent.read, spent.allocator, spent.native, record.pixels_decoded]
                row += [record.level, len(record.detections)]
                row += ["" if record.confidence is None else round(record.confidence, 6)]
                row += [exports.plain(record.answer), exports.plain(record.rationale)]
                row += [" ".join(f"{chance:.4f}" for chance in given.probabilities or ())]
            row += [""] * (len(COLUMNS) - 1 - len(row))
            table.writerow([*row, "" if tile.override is None else tile.override])


def _write_manifest(folder: Path, outcome: Outcome) -> None:
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
        "tiles": {
            "all": len(plan.tiles),
            "read": len(outcome.records) - outcome.unreadable,
            "unreadable": outcome.unreadable,
        },
        "lesions": len(outcome.lesions),
        "answer": result.answer.text,
        "tokens": asdict(result.tokens),
        "pixels_decoded": result.pixels_decoded,
        "warnings": list(result.warnings),
        "sha256": {name: _sha256(folder / name) for name in (GEOJSON, TABLE, TILES, HEAT)},
    }
    with exports.atomic_text(folder / MANIFEST) as file:
        file.write(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportError(f"{path.name} cannot be read ({error.strerror})") from error

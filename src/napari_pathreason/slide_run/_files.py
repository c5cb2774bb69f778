"""The files of a finished run: lesions or classes, tiles, a map of them, and the manifest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import exports
from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_bytes, atomic_text, check_sum, with_checksum
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Detection, SlideInfo

from ._classes import NO_CLASS, tally_of_classes, tile_marks, write_classes
from ._outcome import Outcome
from ._plan import FORMAT
from ._record import TileRecord
from ._tiles import Tile

GEOJSON, TABLE, TILES, HEAT = "findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif"
MANIFEST = "manifest.json"
CLASSES, TILE_OBJECTS, CLASS_MAP = "classes.csv", "tiles.geojson", "class_map.ome.tif"
_OF_LESIONS = (GEOJSON, TABLE, TILES, HEAT)
_OF_CLASSES = (TILE_OBJECTS, CLASSES, TILES, CLASS_MAP)
_CLASS_KEY = "unreliable_class"
_COLUMNS = (
    *("tile", "column", "row", "x_px", "y_px", "width_px", "height_px", "tissue", "state"),
    *(exports.LEVEL_KEY, "budget", "source", "visual_tokens", "allocator_tokens", "native_picture"),
    *("level", "boxes", "confidence", exports.REASONS_KEY, "answer"),
    *("rationale", "probabilities", "override"),
)
_CELLS_OF_TILE = 8
_MOST_CELLS = 4096
"""Along a side of the heat map: memory stays flat however large the slide."""


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
    if outcome.plan.classes:
        _write_class_files(folder, outcome, unreliable_class)
    else:
        _write_lesion_files(folder, outcome, unreliable_class)
    _write_tiles(folder / TILES, outcome)
    _write_manifest(folder, outcome, unreliable_class)


def _write_lesion_files(folder: Path, outcome: Outcome, unreliable_class: bool) -> None:
    plan = outcome.plan
    tile = plan.tiles[0].region
    heat = HeatMap(plan.slide, (tile.width, tile.height))
    for record in outcome.records:
        if not record.unknown:
            heat.add(plan.tiles[record.index].region, record.detections)
    _write_picture(folder / HEAT, heat.values(), "Confidence of a box, 0 to 1", outcome)
    features = exports.features_of_marks(_marks(outcome), unreliable_class)
    exports.write_geojson(folder / GEOJSON, features)
    exports.write_table(folder / TABLE, _marks(outcome))


def _write_class_files(folder: Path, outcome: Outcome, unreliable_class: bool) -> None:
    plan = outcome.plan
    names = ("not asked", *plan.classes, NO_CLASS)
    meaning = "Classes: " + ", ".join(f"{value} {name}" for value, name in enumerate(names))
    _write_picture(
        folder / CLASS_MAP, tally_of_classes(plan, outcome.records).map(), meaning, outcome
    )
    marks = chain(
        exports.marks_of([outcome.result], plan.run),
        tile_marks(plan, outcome.records, outcome.result),
    )
    features = exports.features_of_marks(marks, unreliable_class)
    exports.write_geojson(folder / TILE_OBJECTS, features)
    write_classes(folder / CLASSES, plan, outcome.classes)


def is_finished(folder: Path, run: str, unreliable_class: bool) -> bool:
    """Whether the files that lie there are those of a run, by their content.

    A run that was killed while it wrote leaves some of its files beside the manifest of the run
    before; files that someone has changed are none of any run.
    """
    values = _read_manifest(folder)
    if values.get("run") != run or values.get(_CLASS_KEY, False) != unreliable_class:
        return False
    sums = values.get("sha256")
    if not isinstance(sums, dict) or values.get("format") != str(FORMAT):
        return False
    try:
        check_sum(values)
    except ValueError:
        return False
    names = _OF_CLASSES if CLASSES in sums else _OF_LESIONS
    return all(
        (folder / name).is_file() and sums.get(name) == _sha256(folder / name) for name in names
    )


def has_unreliable_class(folder: Path) -> bool:
    """Whether the files of a folder were last written with that class; False where there are none.

    See `exports.features_of_marks`.
    """
    return _read_manifest(folder).get(_CLASS_KEY) is True


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; empty where there is none that can be read."""
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _marks(outcome: Outcome) -> Iterator[exports.Mark]:
    """The slide as a region and its lesions, each with the words of the tiles that saw it."""
    run, mpp = outcome.plan.run, outcome.plan.slide.mpp
    region, *lesions = exports.marks_of([outcome.result], run)
    yield region
    for mark, result in zip(lesions, outcome.results(), strict=True):
        yield replace(mark, result=result, run=run, mpp=mpp, own=None)


def _write_picture(path: Path, values: NDArray[Any], meaning: str, outcome: Outcome) -> None:
    """Write an OME-TIFF (rows, columns), whose pixel size lays it over the slide.

    Its description is what a reader of the picture alone must know.
    """
    import tifffile

    slide = outcome.plan.slide
    assessed = exports.reliability_sentence(outcome.result.reliability)
    metadata: dict[str, object] = {
        "axes": "YX",
        "UUID": outcome.plan.run,
        "Creator": "napari-pathreason",
        "Description": f"{meaning}. {assessed}. {outcome.tally.line}.",
    }
    if slide.mpp is not None:
        rows, columns = values.shape
        metadata |= {
            "PhysicalSizeX": slide.mpp[0] * (slide.width / columns),
            "PhysicalSizeY": slide.mpp[1] * (slide.height / rows),
        }
    picture = io.BytesIO()
    tifffile.imwrite(picture, values, ome=True, compression="zlib", metadata=metadata)
    with atomic_bytes(path) as file:
        file.write(picture.getbuffer())


def _write_tiles(path: Path, outcome: Outcome) -> None:
    done = {record.index: record for record in outcome.records}
    with atomic_text(path) as file:
        table = csv.DictWriter(file, _COLUMNS, restval="")
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
            boxes = not outcome.plan.classes
            table.writerow({**row, **_answer_columns(tile, done.get(tile.index), boxes)})


def _answer_columns(tile: Tile, record: TileRecord | None, boxes: bool) -> dict[str, Any]:
    """What became of a tile; of one that is not known, no number of boxes."""
    if record is None:
        source = "tissue" if tile.override is None else "user"
        spent = dict.fromkeys(("visual_tokens", "allocator_tokens"), 0)
        return {"state": "skipped", "budget": 0, "source": source, **spent}
    assessed, allocation, tokens = record.reliability, record.allocation, record.tokens
    row: dict[str, Any] = {
        exports.LEVEL_KEY: assessed.level,
        exports.REASONS_KEY: exports.plain(exports.joined_reasons(assessed)),
    }
    if tokens is None or allocation is None:
        return {**row, "state": "unreadable"}
    return {
        **row,
        "state": "unknown" if record.unknown else "read",
        "budget": "native" if allocation.budget is None else allocation.budget,
        "source": allocation.source,
        "visual_tokens": tokens.read,
        "allocator_tokens": tokens.allocator,
        "native_picture": tokens.native_picture,
        "level": record.level,
        "boxes": len(record.detections) if boxes and not record.unknown else "",
        "confidence": "" if record.confidence is None else round(record.confidence, 6),
        "answer": exports.plain(exports.answer_line(record.answer, assessed)),
        "rationale": exports.plain(record.rationale),
        "probabilities": " ".join(
            f"{probability:.4f}" for probability in allocation.probabilities or ()
        ),
    }


def _write_manifest(folder: Path, outcome: Outcome, unreliable_class: bool) -> None:
    plan, result = outcome.plan, outcome.result
    identity = asdict(plan.identity)
    on_server = plan.model.server is not None  # of it only what `used_model` names
    values = {
        "format": str(FORMAT),
        "run": plan.run,
        "made": plan.made,
        "slide": identity["slide"],
        "fingerprint": identity["fingerprint"],
        "model": asdict(
            replace(
                plan.used,
                name=plan.used.name if on_server else plan.model.name,
                device=plan.model.device,
                encoder=plan.model.encoder,
            )
        ),
        "settings": identity["settings"],
        "versions": plan.versions,
        _CLASS_KEY: unreliable_class,
        "reliability": asdict(result.reliability),
        "tiles": outcome.counts,
        **(
            {"classes": [asdict(one) for one in outcome.classes]}
            if plan.classes
            else {"lesions": len(outcome.lesions)}
        ),
        "answer": exports.answer_line(result.answer.text, result.reliability),
        "tokens": asdict(result.tokens),
        "warnings": list(result.warnings),
        "sha256": {
            name: _sha256(folder / name) for name in (_OF_CLASSES if plan.classes else _OF_LESIONS)
        },
    }
    with atomic_text(folder / MANIFEST) as file:
        whole = with_checksum(json.loads(json.dumps(values)))  # as it is read back: no tuples
        file.write(json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExportError(f"{path.name} cannot be read ({error.strerror})") from error


class HeatMap:
    """The mean, over the tiles that hold a place, of the confidence of a box there.

    A box without a confidence counts as 1; a place that no tile holds is 0.

    Parameters
    ----------
    slide : SlideInfo
    side : tuple of int
        (width, height) of a tile, level-0 pixels; a cell is an eighth of it.
    most : int
        Cells along a side of the slide at most.
    """

    def __init__(self, slide: SlideInfo, side: tuple[int, int], most: int = _MOST_CELLS) -> None:
        self._slide = slide
        self.shape = (_cells(slide.height, side[1], most), _cells(slide.width, side[0], most))
        self._sum = np.zeros(self.shape, np.float64)
        self._count = np.zeros(self.shape, np.uint16)

    @property
    def cell(self) -> tuple[float, float]:
        """(width, height) of a cell in level-0 pixels."""
        return self._slide.width / self.shape[1], self._slide.height / self.shape[0]

    def add(self, region: Region, detections: Sequence[Detection]) -> None:
        """Count a tile that was read, level-0 pixels."""
        rows, columns = self._cover(region.box)
        most_confident = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        for one in detections:
            down, across = self._cover(one.box)
            inside = (
                slice(max(down.start - rows.start, 0), max(down.stop - rows.start, 0)),
                slice(max(across.start - columns.start, 0), max(across.stop - columns.start, 0)),
            )
            confident = 1.0 if one.confidence is None else one.confidence
            most_confident[inside] = np.maximum(most_confident[inside], confident)
        self._sum[rows, columns] += most_confident
        self._count[rows, columns] += 1

    def values(self) -> NDArray[np.float32]:
        """Heat from 0 to 1, float32 (rows, columns) over the whole slide."""
        return (self._sum / np.maximum(self._count, 1)).astype(np.float32)

    def _cover(self, box: Box) -> tuple[slice, slice]:
        """Cells whose middle lies in a box, at least the one that holds the box's own."""
        width, height = self.cell
        return (
            _span(box.y / height, box.h / height, self.shape[0]),
            _span(box.x / width, box.w / width, self.shape[1]),
        )


def _cells(length: int, side: int, most: int) -> int:
    return min(max(1, math.ceil(length * _CELLS_OF_TILE / side)), most, length)


def _span(start: float, extent: float, length: int) -> slice:
    first, last = math.ceil(start - 0.5), math.ceil(start + extent - 0.5)
    if first >= last:
        first = math.floor(start + extent / 2)
        last = first + 1
    first = min(max(first, 0), length - 1)
    return slice(first, max(min(last, length), first + 1))

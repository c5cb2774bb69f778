"""Boxes of overlapping tiles to lesions: what two tiles saw of one thing becomes one box."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_pathreason import exports
from napari_pathreason.tasks import merge_boxes
from napari_pathreason.types import NOT_ASSESSED, Detection, Reliability

from ._plan import RunPlan
from ._record import TileRecord
from ._tiles import Tile


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion of a slide and the tiles that saw it; the box is level-0 pixels.

    Confidence and reliability are both those of the tile whose box is the most confident; see
    `merge`.
    """

    detection: Detection
    tiles: tuple[int, ...]
    reliability: Reliability = NOT_ASSESSED


def merge(
    tiles: Iterable[tuple[Tile, Sequence[Detection]]],
    assessed: Mapping[int, Reliability] | None = None,
    apart: Iterable[str] = (),
) -> list[Lesion]:
    """Join boxes across the borders of tiles, see `tasks.merge_boxes`.

    Parameters
    ----------
    tiles : iterable of (Tile, sequence of Detection)
        Tiles whose answers are known, those without boxes too, and their boxes in level-0 pixels,
        each inside its tile; the order does not matter.
    assessed : mapping of int to Reliability, optional
        Reliability of the answer of each tile, by its index; one that is missing is not assessed.
    apart : iterable of str
        Labels of small things; see `tasks.merge_boxes`.

    Returns
    -------
    list of Lesion
        From top to bottom, then left to right. A box is the bounds of its parts, a confidence the
        highest of theirs. Reliability comes with it from the same tile, so that no box is shown
        with more confidence than the tile that has it may be relied on; of tiles of equal
        confidence, or of none, the worst counts.
    """
    found: dict[int, list[Detection]] = {}
    by_index: dict[int, Tile] = {}
    for tile, detections in tiles:
        by_index[tile.index] = tile
        found.setdefault(tile.index, []).extend(detections)
    order = sorted(by_index)
    reliabilities = assessed or {}
    return [
        Lesion(
            one.detection,
            tuple(order[part] for part in one.parts),
            min(
                (reliabilities.get(order[part], NOT_ASSESSED) for part in one.confident),
                key=lambda reliability: exports.RANK[reliability.level],
            ),
        )
        for one in merge_boxes(((by_index[index].region, found[index]) for index in order), apart)
    ]


def lesions_of(plan: RunPlan, records: Iterable[TileRecord]) -> list[Lesion]:
    """Lesions of a run, as far as its tiles are done; see `merge`.

    A tile of which nobody knows what is there did not look: boxes on both sides of it are joined
    as if it were not there.

    Parameters
    ----------
    plan : RunPlan
    records : iterable of TileRecord
        In any order.
    """
    known = [record for record in records if not record.unknown]
    return merge(
        ((plan.tiles[record.index], record.detections) for record in known),
        {record.index: record.reliability for record in known},
        plan.model.zoom_labels,
    )

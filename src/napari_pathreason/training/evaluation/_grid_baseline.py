"""Boxes without any structure: a tile classifier by colour and texture, asked of a whole grid.

What a model that reads a composed field must beat: each tile is judged by itself, and tiles that
touch make a box. It is told where the tiles lie, which a model has to see.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.training.samples import Pictures, Sample

from ._prediction import Prediction
from ._scoring import Scorer

Grid = tuple[tuple[str, ...], ...]
Judge = Callable[[str], bool]
"""Whether a tile of that file shows the thing."""


def grid_of(sample: Sample) -> Grid | None:
    """Tiles of a question for boxes of one label on a grid of whole tiles; None of any other."""
    if sample.task != "detection" or isinstance(sample.image, str) or len(sample.choices) != 1:
        return None
    crops = any("#" in name for row in sample.image for name in row)
    return None if crops else sample.image


def tile_labels(samples: Sequence[Sample], pictures: Pictures) -> dict[str, bool]:
    """What the labels of composed fields say of each of their tiles."""
    labels: dict[str, bool] = {}
    for sample in samples:
        grid = grid_of(sample)
        if grid is None:
            continue
        region = pictures.region(sample)
        width, height = region.width / len(grid[0]), region.height / len(grid)
        covered = {
            (round(area.corners[0] / width), round(area.corners[1] / height))
            for area in sample.facts.areas
            if area.label == sample.choices[0]
        }
        for y, row in enumerate(grid):
            for x, name in enumerate(row):
                labels[name] = (x, y) in covered
    return labels


def grid_items(scorer: Scorer, judges: Mapping[str, Judge]) -> Iterator[Prediction]:
    """Boxes around tiles that touch by an edge, for each question that has a grid and a judge.

    Parameters
    ----------
    scorer : Scorer
        Of the questions asked.
    judges : mapping of str to callable
        By label.
    """
    for index, sample in enumerate(scorer.samples):
        grid = grid_of(sample)
        if grid is not None and sample.choices[0] in judges:
            assess = judges[sample.choices[0]]
            shown = np.array([[assess(name) for name in row] for row in grid])
            text = json.dumps(boxes_around(shown, sample.choices[0]))
            yield scorer.item(index, "baseline", scorer.parse(index, text))


def boxes_around(shown: NDArray[np.bool_], label: str) -> list[dict[str, object]]:
    """A box, 0 to 1000 of the picture, around each group of tiles (rows, columns)."""
    from scipy import ndimage

    rows, columns = shown.shape
    boxes: list[dict[str, object]] = []
    for down, right in ndimage.find_objects(ndimage.label(shown)[0]):
        sides = right.start / columns, down.start / rows, right.stop / columns, down.stop / rows
        boxes.append({"bbox_2d": [round(1000 * side) for side in sides], "label": label})
    return boxes

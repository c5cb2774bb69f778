"""Share of each cell of a grid that a class covers; the ground of dense targets and evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ._sample import Corners
from ._view import View

CLASSES = (
    "tumour",
    "nucleus",
    "white cell",
    "platelet",
    "red cell",
    "adenocarcinoma",
    "squamous cell carcinoma",
    "normal lung",
)
"""Classes of the dense auxiliary loss, in the order of its outputs."""

BOXED = ("tumour", "white cell", "platelet", "red cell")
"""Classes whose boxes the auxiliary loss teaches each of their cells.

No question asks for boxes of red cells; they are many and small, and teach what boxes of platelets
need: to add a place and a distance (docs/experiments.md).
"""

COUNTED = ("nucleus", "white cell", "platelet", "red cell")
"""Classes whose number in each cell the auxiliary loss teaches."""

ALL_OF_IT: Corners = (0.0, 0.0, 1.0, 1.0)
"""A whole picture, in shares of width and height."""


def coverage(view: View, label: str, grid: tuple[int, int]) -> NDArray[np.float32] | None:
    """Covered share of each cell, float32 (rows, columns), 0 to 1; None if not annotated."""
    if label not in view.known:
        return None
    if label == "nucleus" and view.nuclei is not None:
        picture = Image.fromarray(view.nuclei)
        return np.asarray(picture.resize(grid, Image.Resampling.BOX), np.float32)
    covered = np.zeros((grid[1], grid[0]), np.float32)
    for name, corners in view.areas:
        if name == label:
            covered += _box_coverage(corners, grid)
    return np.minimum(covered, 1.0)


def dense_targets(view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Targets of the auxiliary loss.

    Returns
    -------
    tuple
        shares, float32 (tokens, classes), tokens in reading order; and which classes are
        annotated, bool (classes,).
    """
    maps = [coverage(view, label, view.grid) for label in CLASSES]
    empty = np.zeros(view.grid[::-1], np.float32)
    shares = np.stack([empty if m is None else m for m in maps], axis=-1)
    return shares.reshape(-1, len(CLASSES)), np.array([m is not None for m in maps])


def box_targets(view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each cell that lies in a boxed thing, the corners of its box.

    A cell belongs to the smallest box that holds its centre, or whose centre it holds.

    Returns
    -------
    tuple
        corners in shares, float32 (tokens, 4), tokens in reading order; and each cell's share of
        the cells of its box, float32 (tokens,), 0 outside of boxes.
    """
    columns, rows = view.grid
    corners = np.zeros((rows, columns, 4), np.float32)
    owner = np.zeros((rows, columns), np.int64)
    xs, ys = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
    areas = [box for label, box in view.lesions or view.areas if label in BOXED]
    by_size = sorted(areas, key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))
    for number, (x1, y1, x2, y2) in enumerate(by_size, 1):
        inside = np.outer((y1 <= ys) & (ys < y2), (x1 <= xs) & (xs < x2))
        row, column = int((y1 + y2) / 2 * rows), int((x1 + x2) / 2 * columns)
        inside[min(row, rows - 1), min(column, columns - 1)] = True
        corners[inside], owner[inside] = (x1, y1, x2, y2), number
    share = 1.0 / np.bincount(owner.reshape(-1))[owner.reshape(-1)]
    return corners.reshape(-1, 4), np.where(owner.reshape(-1) > 0, share, 0).astype(np.float32)


def count_targets(view: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Number of things whose centre lies in a cell.

    Returns
    -------
    tuple
        numbers, float32 (tokens, counted classes), tokens in reading order; and which classes
        are annotated, bool (counted classes,).
    """
    columns, rows = view.grid
    numbers = np.zeros((rows, columns, len(COUNTED)), np.float32)
    for index, label in enumerate(COUNTED):
        for x, y in centres(view, label):
            row, column = min(int(y * rows), rows - 1), min(int(x * columns), columns - 1)
            numbers[max(row, 0), max(column, 0), index] += 1
    known = [label in view.known for label in COUNTED]
    return numbers.reshape(-1, len(COUNTED)), np.array(known)


def place_targets(view: View) -> NDArray[np.float32]:
    """Where each cell's own centre lies, float32 (tokens, 2), (x, y) in shares, reading order."""
    corners = cell_corners(view)
    return 0.5 * (corners[:, :2] + corners[:, 2:])


def cell_corners(view: View) -> NDArray[np.float32]:
    """Corners of each cell in shares of width and height, float32 (tokens, 4), reading order."""
    columns, rows = view.grid
    xs, ys = np.meshgrid(np.arange(columns) / columns, np.arange(rows) / rows)
    corners = np.stack([xs, ys, xs + 1 / columns, ys + 1 / rows], axis=-1)
    return corners.reshape(-1, 4).astype(np.float32)


def centres(view: View, label: str) -> list[tuple[float, float]]:
    """Centres of all things of a class, (x, y) in shares of width and height."""
    if label == "nucleus":
        return list(view.centres)
    return [
        ((x1 + x2) / 2, (y1 + y2) / 2) for name, (x1, y1, x2, y2) in view.areas if name == label
    ]


def _box_coverage(corners: Corners, grid: tuple[int, int]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = corners
    return np.outer(_overlap(y1, y2, grid[1]), _overlap(x1, x2, grid[0]))


def _overlap(start: float, end: float, cells: int) -> NDArray[np.float32]:
    edges = np.linspace(0.0, 1.0, cells + 1)
    shared = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return (np.clip(shared, 0.0, None) * cells).astype(np.float32)

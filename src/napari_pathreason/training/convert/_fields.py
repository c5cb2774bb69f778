"""Lymph-node fields: grids of real tiles of one split, with tumour areas of any shape or none.

The seams between tiles are visible, so a score on fields must be read with the words "composed of
tiles" beside it.
"""

from __future__ import annotations

from random import Random

Tile = tuple[int, int]
"""Column and row of a tile."""

LESION_FREE = 0.4
SINGLE = 0.25
"""Share of fields with tumour whose tumour is one tile."""


def draw_grid(rng: Random) -> tuple[int, int]:
    """Columns and rows, 2 to 8 each; a field is at most 768 px wide."""
    return rng.choice((2, 3, 3, 4, 4, 5, 6, 8)), rng.choice((2, 3, 3, 4, 4, 5, 6, 8))


def draw_lesions(rng: Random, columns: int, rows: int) -> list[set[Tile]]:
    """Connected areas of tumour tiles, none, one or two, that do not touch one another."""
    if rng.random() < LESION_FREE:
        return []
    lesions: list[set[Tile]] = []
    for _ in range(2 if rng.random() < 0.35 else 1):
        taken = {near for lesion in lesions for tile in lesion for near in _around(*tile)}
        free = [(x, y) for y in range(rows) for x in range(columns) if (x, y) not in taken]
        if not free:
            break
        most = 1 if rng.random() < SINGLE else rng.randint(1, max(1, columns * rows // 2))
        lesions.append(_grow(rng, set(free), most))
    if sum(map(len, lesions)) == columns * rows:  # leave something to compare with
        lesions[0].pop()
    return [lesion for lesion in lesions if lesion]


def _grow(rng: Random, free: set[Tile], most: int) -> set[Tile]:
    """One area of up to ``most`` tiles, grown from a tile to neighbours by an edge."""
    if rng.random() < 0.5:
        return _rectangle(rng, free, most)
    area = {rng.choice(sorted(free))}
    while len(area) < most:
        rim = sorted({t for x, y in area for t in _beside(x, y)} & free - area)
        if not rim:
            break
        area.add(rng.choice(rim))
    return area


def _rectangle(rng: Random, free: set[Tile], most: int) -> set[Tile]:
    x, y = rng.choice(sorted(free))
    area = {(x, y)}
    for _ in range(most):  # grow by whole edges while there is room
        xs, ys = [t[0] for t in area], [t[1] for t in area]
        left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
        side = rng.randrange(4)
        left, right = left - (side == 0), right + (side == 1)
        top, bottom = top - (side == 2), bottom + (side == 3)
        grown = {(i, j) for i in range(left, right + 1) for j in range(top, bottom + 1)}
        if not grown <= free or len(grown) > most:
            break
        area = grown
    return area


def _beside(x: int, y: int) -> tuple[Tile, ...]:
    return (x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)


def _around(x: int, y: int) -> set[Tile]:
    return {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}

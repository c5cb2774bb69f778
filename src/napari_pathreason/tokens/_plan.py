"""From a budget to the exact picture that will be read."""

from __future__ import annotations

from dataclasses import dataclass

from napari_pathreason.errors import RegionError
from napari_pathreason.geometry import Region

from ._resize import smart_resize


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What will be read, known before any cost is spent.

    Parameters
    ----------
    requested : int or None
        Budget in visual tokens; None for native size.
    size : tuple of int
        (width, height) of the picture in pixels.
    grid : tuple of int
        (columns, rows) of visual tokens.
    native : int
        Tokens of the same region at native size.
    """

    requested: int | None
    size: tuple[int, int]
    grid: tuple[int, int]
    native: int

    @property
    def tokens(self) -> int:
        """Realised visual tokens."""
        return self.grid[0] * self.grid[1]


def native_tokens(region: Region, token_px: int) -> int:
    """Visual tokens of a region read at level 0."""
    return max(1, round(region.width / token_px)) * max(1, round(region.height / token_px))


def plan(region: Region, budget: int | None, token_px: int) -> ReadPlan:
    """Turn a budget into a picture size; never enlarges beyond native size.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    budget : int or None
        Most visual tokens to spend; None for native size.
    token_px : int
        Side of a visual token in pixels.

    Raises
    ------
    RegionError
        If a side of the region is below one cell.
    """
    if min(region.width, region.height) < token_px:
        raise RegionError(
            f"the region is {region.width} x {region.height} px, thinner than one visual token "
            f"({token_px} px); mark a larger one"
        )
    native = native_tokens(region, token_px)
    most = native if budget is None else min(budget, native)
    height, width = smart_resize(
        region.height, region.width, token_px, 0, most * token_px * token_px
    )
    return ReadPlan(budget, (width, height), (width // token_px, height // token_px), native)

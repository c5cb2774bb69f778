"""Between the allocation map on the canvas and its tab in the dock: the cursor and the picks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_pathreason.viewer import picked_tiles, picks_of, start_picking, tile_under

from ._slide_run_map import AllocationView
from ._slide_run_runner import SlideRunner

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image


class TileSelection(QObject):
    """Tiles that the user points at or picks, told to an `AllocationView`.

    Parameters
    ----------
    view : AllocationView
    runner : SlideRunner
        Has the map of the run that is shown.
    viewer : callable
        Gives the viewer, or None once it is gone.

    Attributes
    ----------
    image : callable
        Gives the slide of that run, or None once it is gone.
    """

    def __init__(
        self,
        view: AllocationView,
        runner: SlideRunner,
        viewer: Callable[[], Viewer | None],
    ) -> None:
        super().__init__(view)
        self._view, self._runner, self._viewer = view, runner, viewer
        self.image: Callable[[], Image | None] = lambda: None

    def pick(self) -> bool:
        """Let the user draw rectangles on the map; False where there is none."""
        viewer, image, shown = self._viewer(), self.image(), self._runner.so_far.allocations
        if viewer is None or image is None or image not in viewer.layers or shown is None:
            return False
        start_picking(viewer, image, shown)
        return True

    def look(self) -> bool:
        """Note which tiles are picked; False where the user picks none."""
        viewer, image, shown = self._viewer(), self.image(), self._runner.so_far.allocations
        if viewer is None or image is None or shown is None or picks_of(viewer, image) is None:
            self._view.pick([])
            return False
        self._view.pick(picked_tiles(viewer, image, shown))
        return True

    def spend(self) -> None:
        """Take the rectangles away: their tiles have got another budget."""
        viewer, image = self._viewer(), self.image()
        picks = None if viewer is None or image is None else picks_of(viewer, image)
        if picks is not None and len(picks.data):
            picks.data = []
            picks.mode = "add_rectangle"

    def hover(self, position: tuple[float, ...]) -> None:
        """Say why the tile under the cursor has its budget; the position is in the world."""
        viewer, image, shown = self._viewer(), self.image(), self._runner.so_far.allocations
        if viewer is None or image is None or shown is None or not self._view.in_front:
            return
        tile = tile_under(viewer, image, shown, position)
        if tile is not None:
            self._view.hover.setText(shown.told(tile))

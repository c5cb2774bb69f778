"""Slides that answers are about and that need not be open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ReferenceType, ref

from napari.layers import Image

from napari_pathreason.errors import SlideError

from ._layers import slide_of
from ._settings import PLUGIN

if TYPE_CHECKING:
    from napari import Viewer


class SlideFile:
    """The image layer of a slide that need not be open; called, it gives the layer or None.

    It stands where a layer's reference stands in an `Entry`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._layer: ReferenceType[Image] | None = None

    def __call__(self) -> Image | None:
        """The layer, while it is open."""
        return None if self._layer is None else self._layer()

    def open(self, viewer: Viewer) -> Image:
        """The layer, opened where it is not in the viewer.

        Raises
        ------
        SlideError
            If the file is gone, or cannot be read.
        """
        layer = self()
        if layer is not None and layer in viewer.layers:
            return layer
        for other in viewer.layers:
            slide = slide_of(other) if isinstance(other, Image) else None
            if slide is not None and slide.path == self.path and not slide.reservation:
                self._layer = ref(other)
                return other
        if not self.path.exists():
            raise SlideError(f"{self.path.name} is not there any more; put it back to see it")
        (added,) = viewer.open(str(self.path), plugin=PLUGIN)
        if not isinstance(added, Image):
            raise SlideError(f"{self.path.name} is no image; choose another file")
        self._layer = ref(added)
        return added

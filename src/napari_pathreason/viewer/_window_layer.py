"""The layer of windows over a slide, kept up while a question reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal

from napari_pathreason.types import Reading

from ._allocation import budget_layer, fill_layer
from ._window_map import WindowMap

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels

OPACITY, THROUGH = 0.9, 0.3
"""Of outlines, and of what lies within them: the tissue is looked at at the same time."""


class WindowLayer:
    """Shows the windows of one plan or one answer at a time, over their slide.

    Attributes
    ----------
    shown : WindowMap or None
        What is shown; None where nothing is.
    entry : int
        Id of the answer whose windows these are; 0 of a plan.
    visible : bool
        Whether they are to be seen on the slide.
    changed : psygnal signal
        Emitted when others are shown, or some of them were read.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.shown: WindowMap | None = None
        self.entry = 0
        self.visible = True
        self._image: ref[Image] | None = None
        self._layer: ref[Labels] | None = None
        self._behind = False

    @property
    def image(self) -> Image | None:
        """The slide under the windows."""
        return None if self._image is None else self._image()

    def layer(self, viewer: Viewer) -> Labels | None:
        """The layer, where it is open."""
        layer = None if self._layer is None else self._layer()
        return layer if layer is not None and layer in viewer.layers else None

    def show(self, viewer: Viewer, image: Image, windows: WindowMap, entry: int = 0) -> None:
        """Show these in place of others; the user's layers stay selected.

        Parameters
        ----------
        viewer : napari.Viewer
        image : napari.layers.Image
            The slide; where it was closed nothing is shown.
        windows : WindowMap
        entry : int
            Id of the answer, where it is one.
        """
        if image not in viewer.layers:
            self.hide(viewer)
            return
        layer, former = self.layer(viewer), self.image
        if layer is not None and former is not image:
            viewer.layers.remove(layer)
            layer = None
        self.shown, self.entry, self._image = windows, entry, ref(image)
        if layer is None:
            values, features = windows.values.copy(), windows.features()
            layer = budget_layer(image, windows.box, values, features, "windows", OPACITY, THROUGH)
            selected = set(viewer.layers.selection)
            viewer.layers.insert(viewer.layers.index(image) + 1, layer)  # boxes lie above it
            viewer.layers.selection = selected
            self._layer = ref(layer)
        else:
            fill_layer(layer, image, windows.box, windows.values)
            layer.features = windows.features()
        layer.visible = self.visible
        self._behind = False
        self.changed.emit()

    def take(self, reading: Reading) -> None:
        """Note what a question has read; `refresh` shows it."""
        if self.shown is not None:
            self.shown.take(reading)
            self._behind = True

    def refresh(self, viewer: Viewer) -> None:
        """Show what has been noted; what the user closed or hid stays so."""
        if not self._behind:
            return
        self._behind = False
        layer, image = self.layer(viewer), self.image
        if self.shown is not None and layer is not None and image is not None:
            fill_layer(layer, image, self.shown.box, self.shown.values)
        self.changed.emit()

    def select(self, viewer: Viewer, windows: WindowMap) -> None:
        """Show which windows are picked, where these are the ones that are shown."""
        layer, image = self.layer(viewer), self.image
        if windows is self.shown and layer is not None and image is not None:
            fill_layer(layer, image, windows.box, windows.values)

    def hide(self, viewer: Viewer) -> None:
        """Show none."""
        layer = self.layer(viewer)
        if layer is not None:
            layer.visible = False
        if self.shown is not None:
            self.shown, self.entry, self._behind = None, 0, False
            self.changed.emit()

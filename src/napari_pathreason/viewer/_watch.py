"""Tells when what the user means by a region may be another one: view, shapes, layers, theme."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from psygnal import Signal

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

OF_LAYERS = ("scale", "translate", "rotate", "shear", "affine", "units", "data", "name")
"""Events of any layer that move a region, or what it is of."""


class Watch:
    """Hears a viewer as long as someone holds this; holds neither viewer nor layers.

    Attributes
    ----------
    changed : psygnal signal
        Emitted in the main thread, often: while the view is moved with each frame.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        layers = viewer.layers
        for events in (
            viewer.scene.camera.events,
            viewer.canvas.events.size,
            viewer.dims.events,
            viewer.events.theme,
            layers.events.removed,
            layers.events.reordered,
            layers.selection.events.active,
        ):
            events.connect(self._tell)
        layers.events.inserted.connect(self._on_inserted)
        for layer in layers:
            self._hear(layer)

    def _on_inserted(self, event: Any) -> None:
        self._hear(event.value)
        self._tell()

    def _hear(self, layer: Layer) -> None:
        for name in OF_LAYERS:
            with suppress(AttributeError):
                getattr(layer.events, name).connect(self._tell)
        with suppress(AttributeError):  # Shapes and Points alone
            layer.selected_data.events.items_changed.connect(self._tell)

    def _tell(self, _: Any = None) -> None:
        self.changed.emit()

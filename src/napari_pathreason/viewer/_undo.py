"""Undo for the Shapes layers that this plugin makes; napari has none for shapes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from app_model.types import KeyCode, KeyMod

if TYPE_CHECKING:
    from napari.layers import Shapes

UNDO = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
"""As for napari's Labels."""
STEPS = 30
MOST_SHAPES = 2_000
"""Above, a copy at each step would hold the viewer up: then nothing is remembered."""
DONE = ("added", "removed", "changed")


def undoable(layer: Shapes, most_shapes: int = MOST_SHAPES) -> Shapes:
    """Let Ctrl+Z and Ctrl+Shift+Z take back what happens to the shapes, while it is active.

    Of more shapes than ``most_shapes`` nothing is remembered.
    """
    if layer not in _histories:
        _histories[layer] = ShapesHistory(layer, most_shapes)
        layer.bind_key(UNDO, _undo, overwrite=True)
        layer.bind_key(REDO, _redo, overwrite=True)
    return layer


def was_changed(layer: Shapes) -> bool:
    """Whether shapes of an `undoable` layer differ from what it was made with."""
    return layer in _histories and _histories[layer].changed


def forget_changes(layer: Shapes) -> None:
    """Take what an `undoable` layer holds now for what it was made with."""
    if layer in _histories:
        _histories[layer].forget()


class ShapesHistory:
    """Former states of a layer; a step is what napari reports as one change of its data."""

    def __init__(self, layer: Shapes, most_shapes: int) -> None:
        self._layer, self._most_shapes = ref(layer), most_shapes
        self._past: deque[_State] = deque(maxlen=STEPS)
        self._future: list[_State] = []
        self._now = _State.of(layer, self._most_shapes)
        self._busy = False
        self.changed = False
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)

    def forget(self) -> None:
        """Begin with what the layer holds now."""
        self._past.clear()
        self._future.clear()
        layer = self._layer()
        if layer is not None:
            self._now = _State.of(layer, self._most_shapes)
        self.changed = False

    def undo(self) -> None:
        """Go a step back; harmless where there is none."""
        if self._past:
            self._future.append(self._now)
            self._go_to(self._past.pop())

    def redo(self) -> None:
        """Take the last undo back."""
        if self._future:
            self._past.append(self._now)
            self._go_to(self._future.pop())

    def _go_to(self, state: _State) -> None:
        layer = self._layer()
        if layer is not None:
            self._busy = True
            try:
                state.put(layer)
            finally:
                self._busy = False
            self._now = state
            self.changed = bool(self._past)

    def _on_data(self, event: Any) -> None:
        layer = self._layer()
        if layer is None or self._busy or str(event.action) not in DONE:
            return
        self.changed = True
        self._future.clear()
        if max(layer.nshapes, len(self._now.shapes)) > self._most_shapes:
            self._past.clear()
        else:
            self._past.append(self._now)
        self._now = _State.of(layer, self._most_shapes)

    def _on_features(self, event: Any) -> None:
        layer = self._layer()
        if layer is not None and not self._busy:  # they follow the shapes that they belong to
            self._now = _State.of(layer, self._most_shapes)


@dataclass(frozen=True, slots=True)
class _State:
    """All that a layer holds of each shape."""

    shapes: list[Any]
    styles: dict[str, Any]
    features: Any
    defaults: Any

    @classmethod
    def of(cls, layer: Shapes, most_shapes: int) -> _State:
        if layer.nshapes > most_shapes:
            return cls([None] * layer.nshapes, {}, None, None)
        shapes = [
            (data.copy(), kind) for data, kind in zip(layer.data, layer.shape_type, strict=True)
        ]
        styles = {
            "edge_color": layer.edge_color.copy(),
            "face_color": layer.face_color.copy(),
            "edge_width": list(layer.edge_width),
            "z_index": list(layer.z_index),
        }
        return cls(shapes, styles, layer.features.copy(), layer.feature_defaults.copy())

    def put(self, layer: Shapes) -> None:
        layer.data = [(data.copy(), kind) for data, kind in self.shapes]
        for name, values in self.styles.items():
            if len(values):
                setattr(layer, name, values)
        layer.features = self.features
        layer.feature_defaults = self.defaults  # napari loses them with the last shape


_histories: WeakKeyDictionary[Any, ShapesHistory] = WeakKeyDictionary()


def _undo(layer: Shapes) -> None:
    """Take the last change of the shapes back."""
    _histories[layer].undo()


def _redo(layer: Shapes) -> None:
    """Do again what was taken back."""
    _histories[layer].redo()

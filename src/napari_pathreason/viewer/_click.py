"""Clicks on a layer, told in pixels of its slide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ._frame import data_to_slide

if TYPE_CHECKING:
    from napari.layers import Layer

STILL = 4
"""Pixels of the screen within which a press that moves is still a click."""


def on_click(layer: Layer, clicked: Callable[[float, float], object]) -> None:
    """Call a function where a layer that lies as its slide is clicked, and not dragged.

    Parameters
    ----------
    layer : napari.layers.Layer
        Hears of it while it is the active one.
    clicked : callable
        Takes the place, level-0 pixels (x, y).
    """

    def press(source: Layer, event: Any) -> Iterator[None]:
        start = np.asarray(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        if np.abs(np.asarray(event.pos) - start).max() <= STILL:
            ((x, y),) = data_to_slide([source.world_to_data(event.position)])
            clicked(float(x), float(y))

    layer.mouse_drag_callbacks.append(press)

"""Where a layer lies in the world: placing layers, moving the view, hearing clicks.

The only place where (y, x) of napari meets (x, y) of a slide.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_pathreason.geometry import Box, Region

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

STILL = 4
"""Pixels of the screen within which a press that moves is still a click."""


def data_to_slide(points: ArrayLike) -> NDArray[np.float64]:
    """Turn layer data coordinates (..., row, column) into level-0 pixels (x, y).

    napari puts the centre of the first pixel at 0, a slide puts its outer edge there; hence the
    half pixel.

    Parameters
    ----------
    points : array (n, d), d >= 2

    Returns
    -------
    float64 array (n, 2)
    """
    return np.asarray(points, dtype=float)[:, [-1, -2]] + 0.5


def slide_to_data(points: ArrayLike) -> NDArray[np.float64]:
    """Turn level-0 pixels (x, y), shape (n, 2), into layer data coordinates (row, column)."""
    return np.asarray(points, dtype=float)[:, ::-1] - 0.5


def box_to_data(box: Box) -> NDArray[np.float64]:
    """Corners of a level-0 box as rectangle vertices (row, column), shape (4, 2)."""
    x1, y1, x2, y2 = box.corners
    return slide_to_data([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])


@dataclass(frozen=True, slots=True)
class LayerFrame:
    """Affine map from a layer's data to the world, both (row, column) of the last two axes.

    Parameters
    ----------
    matrix : float64 array (3, 3)
        Homogeneous; scale, rotate, shear, translate and affine of the layer together.
    """

    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, layer: Layer, world_units: Sequence[Any] | None = None) -> LayerFrame:
        """Frame of a layer in a viewer.

        Parameters
        ----------
        layer : napari.layers.Layer
            At least two axes; of more axes the last two count.
        world_units : sequence of pint.Unit, optional
            ``viewer.dims.units``; layers in other units of length are converted as napari does.
            None where the viewer mixes units: then plain numbers are compared.
        """
        origin = np.zeros(layer.ndim)
        steps = np.zeros((2, layer.ndim))
        steps[0, -2] = steps[1, -1] = 1
        start, down, right = (
            np.asarray(layer.data_to_world(p))[-2:] for p in (origin, steps[0], steps[1])
        )
        matrix = np.eye(3)
        matrix[:2] = np.column_stack([down - start, right - start, start])
        if world_units is not None and len(world_units) >= 2:
            factors = [
                _factor(own, world)
                for own, world in zip(layer.units[-2:], world_units[-2:], strict=True)
            ]
            matrix[:2] *= np.reshape(factors, (2, 1))
        return cls(matrix)

    def slide_to_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Level-0 pixels (x, y) to world (row, column); shape (n, 2) both."""
        return _apply(self.matrix, slide_to_data(points))

    def world_to_slide(self, points: ArrayLike) -> NDArray[np.float64]:
        """World (row, column) to level-0 pixels (x, y); shape (n, 2) both."""
        return data_to_slide(
            _apply(np.asarray(np.linalg.inv(self.matrix), dtype=np.float64), points)
        )

    def data_to_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Layer data (..., row, column), shape (n, d), to world (row, column), shape (n, 2)."""
        return _apply(self.matrix, np.asarray(points, dtype=float)[:, -2:])


def placement(source: Layer) -> dict[str, Any]:
    """Where a layer lies in the world, as keyword arguments of another 2D layer."""
    if source.ndim > 2:  # what moves its planes against each other is no affair of one of them
        affine = np.eye(3)
        affine[:2, :2] = source.affine.affine_matrix[-3:-1, -3:-1]
        affine[:2, 2] = source.affine.affine_matrix[-3:-1, -1]
        return {
            "scale": np.asarray(source.scale[-2:]),
            "translate": np.asarray(source.translate[-2:]),
            "affine": affine,
            "units": tuple(source.units[-2:]),
        }
    return {
        "scale": np.asarray(source.scale[-2:]),
        "rotate": np.asarray(source.rotate),
        "shear": np.asarray(source.shear),
        "translate": np.asarray(source.translate[-2:]),
        "affine": np.asarray(source.affine.affine_matrix),
        "units": tuple(source.units[-2:]),
    }


def place_like(layer: Layer, source: Layer) -> None:
    """Move a layer to where another lies; does nothing where it lies there, as changes redraw."""
    here, there = LayerFrame.of(layer).matrix, LayerFrame.of(source).matrix
    if tuple(layer.units) == tuple(source.units[-2:]) and np.allclose(here, there):
        return
    for name, value in placement(source).items():
        setattr(layer, name, value)


def laid_over(source: Layer, box: Box, size: tuple[int, int]) -> dict[str, Any]:
    """Keyword arguments of a picture's layer so that its outer edge is that of a box.

    Parameters
    ----------
    source : napari.layers.Layer
        The slide; its placement and units are carried over.
    box : Box
        Level-0 pixels of the slide.
    size : tuple of int
        (width, height) of the picture.
    """
    sx, sy = box.w / size[0], box.h / size[1]
    # pixel centres are whole numbers on either side: the outer edges lie half a pixel outside
    to_source = np.array([[sy, 0, box.y + sy / 2 - 0.5], [0, sx, box.x + sx / 2 - 0.5], [0, 0, 1]])
    return {
        "affine": LayerFrame.of(source).matrix @ to_source,
        "units": tuple(source.units[-2:]),
    }


def go_to(viewer: Viewer, layer: Image, region: Region, margin: float = 0.15) -> None:
    """Centre a region of an image layer and zoom so that it fills the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
    region : Region
        Level-0 pixels of the layer.
    margin : float
        Share of the canvas left free around the region.
    """
    x1, y1, x2, y2 = region.box.corners
    frame = LayerFrame.of(layer, viewer.dims.units)
    corners = frame.slide_to_world([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    low, high = corners.min(axis=0), corners.max(axis=0)
    camera = viewer.scene.camera
    camera.center = (*camera.center[:-2], *((low + high) / 2))
    room = np.asarray(viewer.canvas.size, dtype=float) * (1 - margin)
    camera.zoom = float(np.min(room / np.maximum(high - low, 1e-9)))


def on_click(layer: Layer, clicked: Callable[[float, float], object]) -> None:
    """Call a function where a layer that lies as its slide is clicked, and not dragged.

    Parameters
    ----------
    layer : napari.layers.Layer
        Hears of clicks while it is the active one.
    clicked : callable
        Takes the place, level-0 pixels (x, y).
    """

    def press(source: Layer, event: Any) -> Iterator[None]:
        if (yield from until_released(event)):
            ((x, y),) = data_to_slide([source.world_to_data(event.position)])
            clicked(float(x), float(y))

    layer.mouse_drag_callbacks.append(press)


def until_released(event: Any) -> Generator[None, None, bool]:
    """Wait, in a callback of napari's for a pressed mouse, until it is let go.

    Returns
    -------
    bool
        Whether it was a click: the mouse was held still.
    """
    start = np.asarray(event.pos)
    yield
    while event.type == "mouse_move":
        yield
    return bool(np.abs(np.asarray(event.pos) - start).max() <= STILL)


def _apply(matrix: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points, dtype=float) @ matrix[:2, :2].T + matrix[:2, 2]


def _factor(own: Any, world: Any) -> float:
    """How many world units one own unit is; 1 where they cannot be compared."""
    if own == world or not own.is_compatible_with(world):
        return 1.0
    return float((1.0 * own).to(world).magnitude)

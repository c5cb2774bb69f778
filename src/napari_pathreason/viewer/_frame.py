"""Where a layer lies: the only place where (y, x) of napari meets (x, y) of a slide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_pathreason.geometry import Box

if TYPE_CHECKING:
    from napari.layers import Layer


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


def _apply(matrix: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(points, dtype=float) @ matrix[:2, :2].T + matrix[:2, 2]


def _factor(own: Any, world: Any) -> float:
    """How many world units one own unit is; 1 where they cannot be compared."""
    if own == world or not own.is_compatible_with(world):
        return 1.0
    return float((1.0 * own).to(world).magnitude)

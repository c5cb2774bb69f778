"""Pyramids that already are arrays: numpy, dask or zarr, of napari layers or flat files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from ._source import Decoded, Window, over_white, white

SAMPLE = 1_000_000  # pixels of the coarsest level that the 8-bit range is taken from


class ArraySource:
    """Levels of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of any numeric type.

    Eight-bit pixels stay as they are. Other types are stretched to 8 bits between the 0.1 and the
    99.9 percentile of the coarsest level (the same for all channels), and grey becomes RGB;
    ``notes`` says so. Alpha is laid over white. Nothing is sliced before the first read.

    Parameters
    ----------
    levels : sequence of array-like
        Level 0 first.
    close : callable, optional
        Releases the file that the arrays read from.

    Raises
    ------
    SlideError
        If a shape is none of these.
    """

    def __init__(self, levels: Sequence[Any], close: Callable[[], None] | None = None) -> None:
        if not levels:
            raise SlideError("the layer holds no pixels; choose another image layer")
        for level in levels:
            shape = tuple(level.shape)
            if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
                raise SlideError(
                    f"the image has shape {shape}; give a 2D picture (height, width), RGB or RGBA, "
                    "or choose one plane of the stack"
                )
            if min(shape[:2]) < 1:
                raise SlideError("the image is empty; choose another one")
        self._levels = tuple(levels)
        self._close = close
        self.notes: tuple[str, ...] = ()
        self._range: tuple[float, float] | None = None
        self._lock = Lock()
        dtype = np.dtype(levels[0].dtype)
        if dtype != np.uint8:
            self.notes += (f"{dtype.name} pixels were stretched to 8 bits for the model",)
        if len(levels[0].shape) == 2 or levels[0].shape[2] == 1:
            self.notes += ("a single channel was read as grey; the model was trained on RGB",)

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return tuple((int(level.shape[1]), int(level.shape[0])) for level in self._levels)

    @property
    def chunk(self) -> tuple[int, int]:
        """See `Source.chunk`."""
        width, height = self.level_sizes[0]
        return min(512, width), min(512, height)

    def read(self, level: int, window: Window) -> Decoded:
        """See `Source.read`."""
        x1, y1, x2, y2 = window
        area = (x2 - x1) * (y2 - y1)
        try:
            values = np.asarray(self._levels[level][y1:y2, x1:x2])
            return Decoded(self._to_rgb(values), area)
        except (OSError, ValueError, RuntimeError):  # a damaged or missing chunk
            return Decoded(white(x2 - x1, y2 - y1), area, area)

    def close(self) -> None:
        """Release the file, if there is one; plain arrays belong to the caller."""
        if self._close is not None:
            self._close()

    def _stretch(self) -> tuple[float, float]:
        """Range that becomes 0 to 255; found once, at the first read."""
        with self._lock:
            if self._range is None:
                self._range = self._find_range()
            return self._range

    def _find_range(self) -> tuple[float, float]:
        coarse = self._levels[-1]
        step = max(1, int(np.sqrt(coarse.shape[0] * coarse.shape[1] / SAMPLE)))
        values = np.asarray(coarse[::step, ::step], np.float64)
        values = values[np.isfinite(values)]
        if values.size == 0:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
        return low, high if high > low else low + 1.0

    def _to_rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        if values.ndim == 2:
            values = values[..., None]
        if values.dtype != np.uint8:
            low, high = self._stretch()
            finite = np.nan_to_num(values.astype(np.float32), nan=low, posinf=high, neginf=low)
            scaled = (finite - low) * (255.0 / (high - low))
            values = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        if values.shape[2] == 4:
            return over_white(values)
        if values.shape[2] == 1:
            values = np.repeat(values, 3, axis=2)
        return np.ascontiguousarray(values)

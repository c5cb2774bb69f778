"""Pictures that only exist whole: the header is read at once, the pixels at the first slice."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class LazyPicture:
    """An array-like that is computed when it is first sliced, and kept.

    Parameters
    ----------
    shape : tuple of int
        (height, width) or (height, width, channels).
    dtype : numpy dtype
    load : callable
        Returns the whole array; called once, even from several threads.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: DTypeLike, load: Callable[[], NDArray[Any]]
    ) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._load = load
        self._pixels: NDArray[Any] | None = None
        self._lock = Lock()

    def __getitem__(self, key: Any) -> NDArray[Any]:
        with self._lock:
            if self._pixels is None:
                self._pixels = self._load()
            pixels = self._pixels
        part: NDArray[Any] = pixels[key]
        return part

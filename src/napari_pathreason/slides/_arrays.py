"""Arrays as a pyramid: numpy, dask, zarr, or anything that slices like one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import PathreasonError, SlideError

from ._colour import Colours, Look, Range, colours_of_array
from ._files import patient
from ._left_out import EDGE, is_shown_coarser, scaled
from ._source import SAMPLE, Decoded, Window

T = TypeVar("T")
R = TypeVar("R")
SQUARE = 512  # px, in place of the native tiles of an array that has none


class ArraySource:
    """Levels of shape (H, W) or (H, W, channels), of any numeric type.

    Alpha is laid over white, other types than 8 bits are stretched, see `Colours`; ``notes`` says
    so. Nothing is sliced before the first read. Where a read fails, its chunks are read one by one:
    just those that fail count as unreadable.

    Parameters
    ----------
    levels : sequence of array-like
        Level 0 first.
    close : callable, optional
        Releases the file that the arrays read from.
    colours : Colours, optional
        What their numbers mean; by default (H, W) and (H, W, 1) are grey, (H, W, 3) RGB, and
        (H, W, 4) RGBA.
    name : str
        Of the slide, for errors.
    notes : tuple of str
        Of how it was opened.

    Raises
    ------
    SlideError
        If a shape is none of these, or levels hold other values than level 0.
    """

    def __init__(
        self,
        levels: Sequence[Any],
        close: Callable[[], None] | None = None,
        colours: Colours | None = None,
        name: str = "the layer",
        notes: tuple[str, ...] = (),
    ) -> None:
        if not levels:
            raise SlideError("the layer holds no pixels; choose another image layer")
        for level in levels:
            shape = tuple(level.shape)
            if len(shape) not in (2, 3) or (
                colours is None and len(shape) == 3 and shape[2] not in (1, 3, 4)
            ):
                raise SlideError(
                    f"the image has shape {shape}; give a 2D picture (height, width), RGB or RGBA, "
                    "or choose one plane of the stack"
                )
            if min(shape[:2]) < 1:
                raise SlideError("the image is empty; choose another one")
        kinds = [_channels_of(level) for level in levels]
        for place, (count, kind) in enumerate(kinds):
            if (count, kind) != kinds[0]:
                raise SlideError(
                    f"level {place} of {name} holds {count} channels of {kind}, but level 0 "
                    f"{kinds[0][0]} of {kinds[0][1]}; write the pyramid anew"
                )
        dtype = np.dtype(levels[0].dtype)
        if dtype.kind not in "buif":
            raise SlideError(f"the image holds {dtype.name} values; give whole or real numbers")
        self._levels = tuple(levels)
        self._name = name
        self._close = close
        self._look = Look(colours or colours_of_array(levels[0].shape, dtype))
        self._notes = notes

    @property
    def _colours(self) -> Colours:
        return self._look.colours

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`."""
        return (*self._notes, *self._colours.all_notes())

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.level_sizes`."""
        return tuple((int(level.shape[1]), int(level.shape[0])) for level in self._levels)

    @property
    def tile_sizes(self) -> tuple[tuple[int, int], ...]:
        """See `Source.tile_sizes`; squares of use, as chunks may be anything."""
        return tuple(
            (min(SQUARE, width), min(SQUARE, height)) for width, height in self.level_sizes
        )

    def read(self, level: int, window: Window, keep: bool = True) -> Decoded:
        """See `Source.read`."""
        x1, y1, x2, y2 = window
        area = (x2 - x1) * (y2 - y1)
        bounds = self._look.range_of(self._sample)
        values = self._values(level, window)
        lost: list[Window] = []
        if values is not None:
            pixels = self._rgb(level, window, values, bounds, lost)
            return Decoded(pixels, area, _area(lost), tuple(lost))
        ground = self._look.ground(self._sample)
        pixels = np.full((y2 - y1, x2 - x1, 3), ground, np.uint8)
        for part in chunks_in(self._levels[level], window):
            left, top, right, bottom = part
            values = None if part == window else self._values(level, part)
            if values is None:
                lost.append(part)
                continue
            pixels[top - y1 : bottom - y1, left - x1 : right - x1] = self._rgb(
                level, part, values, bounds, lost
            )
        return Decoded(pixels, area, _area(lost), tuple(lost))

    def each(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """See `Source.each`; an array has no threads."""
        return [work(part) for part in parts]

    def close(self) -> None:
        """Release the file, if there is one; plain arrays belong to the caller."""
        if self._close is not None:
            self._close()

    def _values(self, level: int, window: Window) -> NDArray[Any] | None:
        """Values (height, width, channels) of a window; None where a chunk of it is damaged."""
        x1, y1, x2, y2 = window

        def slice_it() -> NDArray[Any]:
            return np.asarray(self._levels[level][y1:y2, x1:x2])

        try:
            values = patient(slice_it, self._name)
        except PathreasonError:
            raise
        except MemoryError as error:
            raise SlideError(
                f"{self._name} asks for more memory than there is; ask about a smaller region"
            ) from error
        except Exception:  # codecs and graphs raise whatever they like
            return None
        if values.shape[:2] != (y2 - y1, x2 - x1):
            return None  # the level is smaller than it says
        return values[..., None] if values.ndim == 2 else values

    def _rgb(
        self,
        level: int,
        window: Window,
        values: NDArray[Any],
        bounds: Range | None,
        lost: list[Window],
    ) -> NDArray[np.uint8]:
        """RGB of the values of a window, with the background where the file left something out.

        What was not left out but lost, as other levels show something there, is added to ``lost``.
        """
        pixels = self._colours.to_rgb(values, bounds)
        left_out = getattr(self._levels[level], "left_out", None)
        x1, y1, x2, y2 = window
        for chunk, channels in () if left_out is None else left_out(window, values):
            is_whole = len(channels) == values.shape[2]
            is_lost = self._is_lost(level, chunk, channels, is_whole)
            if not is_lost and not (is_whole and self._colours.kind in ("rgb", "grey")):
                continue  # it is 0 there
            left, top, right, bottom = part = (
                *(max(chunk[0], x1), max(chunk[1], y1)),
                *(min(chunk[2], x2), min(chunk[3], y2)),
            )
            ground = self._look.ground(self._sample)
            pixels[top - y1 : bottom - y1, left - x1 : right - x1] = ground
            if is_lost:
                lost.append(part)
        return pixels

    def _is_lost(
        self, level: int, window: Window, channels: tuple[int, ...], is_whole: bool
    ) -> bool:
        """Whether something else says that a chunk which was left out held something.

        Parameters
        ----------
        level : int
        window : tuple of int
            Of the chunk.
        channels : tuple of int
            That lack it.
        is_whole : bool
            Whether these are all.
        """
        if not is_whole and len(self._levels) == 1 and self._colours.kind == "rgb":
            return self._goes_on(level, window, channels)
        if not is_whole or self._look.ground(self._sample) == 0:
            shown = {one.index for one in self._colours.channels} or {*channels}
            return self._holds(level, window, tuple(shown & {*channels}))
        if level and (part := scaled(self, level, window, 0, 1)) is not None:
            return bool(self._levels[0].is_there(part)) or is_shown_coarser(self, level, window)
        return is_shown_coarser(self, level, window)

    def _holds(self, level: int, window: Window, channels: tuple[int, ...]) -> bool:
        """Whether the level beside this one holds something where some channels lack a chunk."""
        other = level + 1 if level + 1 < len(self._levels) else level - 1
        part = scaled(self, level, window, other, EDGE) if other >= 0 else None
        values = None if part is None or not channels else self._values(other, part)
        return values is not None and bool((values[..., list(channels)] > 0).any())

    def _goes_on(self, level: int, window: Window, channels: tuple[int, ...]) -> bool:
        """Whether a colour that lacks a chunk is there all around it: it does not end at chunks."""
        width, height = self.level_sizes[level]
        left, top, right, bottom = window
        sides = (
            *((left - 1, top, left, bottom), (right, top, right + 1, bottom)),
            *((left, top - 1, right, top), (left, bottom, right, bottom + 1)),
        )
        inside = [s for s in sides if min(s) >= 0 and s[2] <= width and s[3] <= height]
        read = [values for side in inside if (values := self._values(level, side)) is not None]
        colours = [one for one in channels if one < 3]  # alpha may end anywhere
        if not read or not colours:
            return False
        around = np.concatenate([values.reshape(-1, values.shape[2]) for values in read])
        return bool(((around[:, colours] > 0).mean(axis=0) > 0.5).any())

    def _sample(self) -> NDArray[Any]:
        """Values (n, 1, channels) of the coarsest level, about `SAMPLE` of them, as were written.

        What was left out is 0 in an array, and no value of the picture.
        """
        level = len(self._levels) - 1
        width, height = self.level_sizes[level]
        parts = [(0, 0, width, height)]
        whole = self._values(level, parts[0]) if width * height <= 16 * SAMPLE else None
        if whole is None:
            parts = list(chunks_in(self._levels[level], parts[0]))
            parts = parts[:: max(1, len(parts) // 64)]
        read = [whole] if whole is not None else [self._values(level, part) for part in parts]
        flat = [
            values[self._was_written(level, part, values)]
            for part, values in zip(parts, read, strict=True)
            if values is not None
        ]
        joined = np.concatenate(flat) if flat else np.zeros((0, 0))
        if not joined.size:
            shape = self._levels[level].shape
            return np.zeros((1, 1, shape[2] if len(shape) == 3 else 1), self._colours.dtype)
        return joined[:: max(1, len(joined) // SAMPLE), None]

    def _was_written(self, level: int, window: Window, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Which pixels of a window lie in no chunk that all channels lack."""
        there = np.ones(values.shape[:2], np.bool_)
        left_out = getattr(self._levels[level], "left_out", None)
        for chunk, channels in () if left_out is None else left_out(window, values):
            if len(channels) == values.shape[2]:
                x1, y1 = (max(0, chunk[i] - window[i]) for i in (0, 1))
                there[y1 : max(0, chunk[3] - window[1]), x1 : max(0, chunk[2] - window[0])] = False
        return there


def _area(windows: Sequence[Window]) -> int:
    return sum((right - left) * (bottom - top) for left, top, right, bottom in windows)


def _channels_of(level: Any) -> tuple[int, np.dtype[Any]]:
    """Number of channels, and the type of their values in whatever order of bytes."""
    shape = tuple(level.shape)
    return shape[2] if len(shape) == 3 else 1, np.dtype(level.dtype).newbyteorder("=")


def chunks_in(array: Any, window: Window) -> Iterator[Window]:
    """Parts of a window that one chunk of an array each holds; squares where it has no chunks."""
    x1, y1, x2, y2 = window
    rows, columns = (_edges(array, axis) for axis in (0, 1))
    for top, bottom in _spans(rows, y1, y2):
        for left, right in _spans(columns, x1, x2):
            yield left, top, right, bottom


def _edges(array: Any, axis: int) -> int | tuple[int, ...]:
    """Side of the chunks along an axis, or the sides where they differ (dask)."""
    chunks = getattr(array, "chunks", None)
    try:
        side = chunks[axis]  # type: ignore[index]
        sides = tuple(map(int, side)) if isinstance(side, Sequence) else int(side)
    except (TypeError, IndexError, ValueError):
        return SQUARE
    return sides if sides else SQUARE


def _spans(sides: int | tuple[int, ...], start: int, stop: int) -> Iterator[tuple[int, int]]:
    if isinstance(sides, int):
        for begin in range(start // sides * sides, stop, sides):
            yield max(begin, start), min(begin + sides, stop)
        return
    begin = 0
    for side in sides:
        if begin < stop and begin + side > start:
            yield max(begin, start), min(begin + side, stop)
        begin += side

"""OME-Zarr images (0.4, 0.5 and transformations of 0.6): levels, scale, and what channels mean."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason.errors import SlideError

from . import _limits as limits
from ._channels import channels_named, is_fluorescence
from ._chunks import NativeChunks
from ._colour import Colours, Rgb
from ._ome import parse_ome
from ._pyramid import RIVAL, names_no_slide
from ._scale import Mpp, number, um_of
from ._source import Window, check_coarsest

HELP = "name the folder that holds .zattrs or zarr.json with multiscales"
IMAGES = 64
"""Of a folder, at most, among which the slide is looked for."""
LOOKED_AT = 256
"""Chunks of a level, of which the largest file is taken for the one that shows most."""


@dataclass(frozen=True, slots=True)
class ZarrImage:
    """An image of an OME-Zarr folder.

    Parameters
    ----------
    levels : list of array-like
        (height, width, channels), level 0 first.
    mpp : (float, float) or None
        um (x, y) as it states them.
    colours : Colours
    notes : tuple of str
        Of how it was opened.
    """

    levels: list[_Plane]
    mpp: Mpp
    colours: Colours
    notes: tuple[str, ...]


class _Plane:
    """A (height, width, channels) view of one level, whatever the order of its axes.

    Slicing reads just the chunks that are met. ``chunks`` are those of height and width.
    """

    def __init__(self, array: Any, axes: str, folder: Path) -> None:
        self._array, self._axes = array, axes
        size = dict(zip(axes, array.shape, strict=True))
        chunk = dict(zip(axes, array.chunks, strict=True))
        channels = size.get("c", 1)
        self.shape = (size["y"], size["x"], channels)
        self.chunks = (chunk["y"], chunk["x"])
        self.dtype = np.dtype(array.dtype)
        self._channels_each = chunk.get("c", channels)
        self._channel_chunks = -(-channels // self._channels_each)
        level = str(array.path)
        self._native = NativeChunks(array, folder / level, f"the level {level} of {folder.name}")
        # writers leave out chunks that hold the fill value alone, 0 by default: what was not
        # scanned. A fill value that somebody chose is a colour, and stays
        self._names_left_out = _is_nothing(array.fill_value)

    def busiest(self) -> Window:
        """Where a chunk with many bytes lies; the middle one where none has a file."""
        down, across = self.chunks
        y, x = divmod(self._busiest(), -(-self.shape[1] // across))
        return x * across, y * down, (x + 1) * across, (y + 1) * down

    def _busiest(self) -> int:
        rows: int = -(-self.shape[0] // self.chunks[0])
        columns: int = -(-self.shape[1] // self.chunks[1])
        middle = rows // 2 * columns + columns // 2
        spread = np.linspace(0, rows * columns - 1, min(rows * columns, LOOKED_AT)).astype(int)

        def size(index: int) -> int:
            try:
                [*found] = self._native.find(self._numbers(index // columns, index % columns))
            except (OSError, ValueError):  # damaged
                return 0
            return found[0].size if found[0] is not None else 0

        return max(map(int, [middle, *spread]), key=size)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray[Any, np.dtype[Any]]:
        self._native.check(at for y, x in self._chunks_in(key) for at in self._numbers(y, x))
        chosen = {"y": key[0], "x": key[1], "c": slice(None)}
        part = np.asarray(self._array[tuple(chosen.get(axis, 0) for axis in self._axes)])
        axes = [axis for axis in self._axes if axis in chosen]
        part = np.transpose(part, [axes.index(axis) for axis in ("y", "x", "c") if axis in axes])
        return part if "c" in axes else part[..., None]

    def is_nowhere(self) -> bool:
        """Whether none of its chunks was written, or all lie under other names."""
        return self._native.are_all_missing()

    def left_out(
        self, window: Window, values: np.ndarray[Any, np.dtype[Any]]
    ) -> Iterator[tuple[Window, tuple[int, ...]]]:
        """Chunks that a window meets and that were left out: where they lie, whole.

        With each come the channels that lack it: all of them, or some.

        Parameters
        ----------
        window : tuple of int
        values : array (height, width, channels)
            Of that window: where all channels hold something, no file need be looked for.
        """
        if not self._names_left_out:
            return
        empty = ~values.astype(bool) | (values != values)
        if not empty.any():
            return
        x1, y1, x2, y2 = window
        (height, width), (down, across, channels) = self.chunks, self.shape
        each = self._channels_each
        for y, x in self._chunks_in((slice(y1, y2), slice(x1, x2))):
            rows, columns = _within(y, height, (y1, y2)), _within(x, width, (x1, x2))
            if not empty[rows, columns].all(axis=(0, 1)).any():
                continue
            found = list(self._native.find(self._numbers(y, x)))
            gone = tuple(i for i in range(channels) if found[i // each] is None)
            if gone:
                left, top = x * width, y * height
                yield (left, top, min(left + width, across), min(top + height, down)), gone

    def is_there(self, window: Window) -> bool:
        """Whether any chunk that a window meets was written."""
        x1, y1, x2, y2 = window
        met = self._chunks_in((slice(y1, y2), slice(x1, x2)))
        try:
            return any(any(self._native.find(self._numbers(y, x))) for y, x in met)
        except (OSError, ValueError):  # damaged, so something was
            return True

    def _bounds(self, key: tuple[slice, slice]) -> tuple[tuple[int, int], ...]:
        """Start and stop of a key, for rows and columns."""
        return tuple(k.indices(n)[:2] for k, n in zip(key, self.shape[:2], strict=True))

    def _chunks_in(self, key: tuple[slice, slice]) -> Iterator[tuple[int, int]]:
        """Row and column of the chunks that a key meets."""
        (top, bottom), (left, right) = self._bounds(key)
        height, width = self.chunks
        for y in range(top // height, -(-bottom // height)):
            for x in range(left // width, -(-right // width)):
                yield y, x

    def _numbers(self, y: int, x: int) -> Iterator[tuple[int, ...]]:
        """Those of the chunks of all channels, along the axes of the array."""
        for channel in range(self._channel_chunks):
            at = {"y": y, "x": x, "c": channel}
            yield tuple(at.get(axis, 0) for axis in self._axes)


def _within(index: int, side: int, bounds: tuple[int, int]) -> slice:
    """Where a chunk lies in what was read from ``bounds[0]`` to ``bounds[1]``."""
    start, stop = bounds
    return slice(max(0, index * side - start), min(stop, (index + 1) * side) - start)


def _is_nothing(fill: Any) -> bool:
    """Whether a fill value is one that nobody chose: none, 0, or no number."""
    return fill is None or bool(fill == 0 or fill != fill)


def open_zarr(path: Path, channels: str = "") -> ZarrImage:
    """First multiscale image of an OME-Zarr folder.

    Parameters
    ----------
    path : Path
        Of an image, or of what bioformats2raw made: several images, of which the first that is no
        label is opened.
    channels : str
        What the user chose, see `channels_named`.

    Raises
    ------
    SlideError
        If the folder is not OME-Zarr, or holds a stack or channels that have to be chosen.
    """
    import zarr

    _check_json(path, path.name)
    try:
        # a summary may name what is not there
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        attributes: dict[str, Any] = dict(group.attrs)
    except Exception:  # zarr raises many kinds for folders that are not its own
        raise _refusal(path) from None
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, Mapping):
        raise _refusal(path)
    notes: tuple[str, ...] = ()
    if "multiscales" not in ome and "bioformats2raw.layout" in ome:
        group, ome, notes = _first_of_several(path, group)
    if "plate" in ome or "well" in ome:
        raise SlideError(f"{path.name} is a plate of wells; name the folder of one image in it")
    if "image-label" in ome:
        raise SlideError(
            f"{path.name} holds labels of an image, no picture; name the folder of that image"
        )
    try:
        multiscale = ome["multiscales"][0]
        axes = [
            axis if isinstance(axis, Mapping) else {"name": str(axis)}
            for axis in multiscale.get("axes") or _axes_of_systems(multiscale)
        ]
        names = "".join(str(axis["name"]).lower()[:1] for axis in axes)
        paths = [str(dataset["path"]) for dataset in multiscale["datasets"]]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise _refusal(path) from None
    if not paths or len(paths) > limits.LEVELS:
        raise SlideError(
            f"{path.name} names {len(paths)} levels; a pyramid has 1 to {limits.LEVELS}"
        )
    arrays = _arrays(path, group, paths)
    levels = _planes(path, arrays, names)
    sizes = [level.shape[:2] for level in levels]
    if any(a[0] < b[0] or a[1] < b[1] for a, b in pairwise(sizes)):
        raise SlideError(f"the levels of {path.name} do not become smaller; write the pyramid anew")
    rows, columns = (
        -(-n // c) for n, c in zip(levels[-1].shape[:2], levels[-1].chunks, strict=True)
    )
    check_coarsest(path.name, rows * columns)
    colours = _colours(path.name, ome, levels[0], channels)
    if levels[0].is_nowhere():
        notes += ("level 0 of it holds no chunk at all; copy the folder again if it should",)
    if len(ome["multiscales"]) > 1:
        others = len(ome["multiscales"]) - 1
        notes += (f"the first of {others + 1} pyramids of the folder was opened",)
    mpp = _scale(ome, multiscale, axes)
    if mpp is not None:
        notes += _contradiction(ome, multiscale, names, levels)
    return ZarrImage(levels, mpp, colours, notes)


def _refusal(path: Path) -> SlideError:
    if not any((path / name).exists() for name in (".zattrs", ".zgroup", ".zarray", "zarr.json")):
        return SlideError(f"{path.name} holds neither a DICOM slide nor an OME-Zarr image; {HELP}")
    return SlideError(f"{path.name} is not an OME-Zarr image (0.4 or 0.5); {HELP}")


def _check_json(path: Path, name: str) -> None:
    """Refuse metadata that no image needs, before a library reads them.

    Parameters
    ----------
    path : Path
        Folder of a group or array.
    name : str
        Of the image, for errors.

    Raises
    ------
    SlideError
        If they are longer than a limit, or cannot be parsed.
    """
    for kind in (".zattrs", ".zgroup", ".zarray", "zarr.json", ".zmetadata"):
        file = path / kind
        if not file.is_file():
            continue
        if file.stat().st_size > limits.JSON:
            raise SlideError(
                f"the {kind} of {name} is longer than {limits.JSON / 2**20:.0f} MB, which no "
                "image needs; write it anew"
            )
        try:
            json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            raise SlideError(
                f"the {kind} of {name} is no JSON or is cut off; copy the folder again"
            ) from None


def _first_of_several(path: Path, group: Any) -> tuple[Any, Mapping[str, Any], tuple[str, ...]]:
    """Group, metadata and note of the first image of a bioformats2raw folder that is no label.

    Of the largest, where that is far larger.
    """
    keys = [folder.name for folder in path.iterdir() if folder.is_dir() and folder.name.isdigit()]
    keys.sort(key=int)
    images = _named_images(path)
    named = {str(number): name for number, name in enumerate(images)}
    missing = [key for key in named if key not in keys]
    try:
        about = dict(group["OME"].attrs)
        listed = [str(key) for key in about.get("ome", about)["series"]]
        named = dict(zip(listed, images, strict=False))
        missing = [key for key in listed if key not in keys]
        keys = [key for key in listed if key in keys] or keys
    except (KeyError, TypeError, AttributeError):
        pass  # without it, they are numbered
    notes: tuple[str, ...] = ()
    if missing:
        lost = ", ".join(_with_name(key, named) for key in missing[:8])
        notes = (f"of its images are missing: {lost}; copy the folder again if you need them",)
    pictures = [key for key in keys if not names_no_slide(named.get(key, ""))]
    found = []
    for key in pictures[:IMAGES]:
        _check_json(path / key, f"image {key} of {path.name}")
        chosen = group[key]
        ome_of = dict(chosen.attrs)
        ome_of = ome_of.get("ome", ome_of)
        if isinstance(ome_of, Mapping) and "multiscales" in ome_of:
            found.append((key, chosen, ome_of))
    if found:
        # an overview that nothing names comes first in what some scanners write
        areas = [_area_of(chosen, ome_of) for _, chosen, ome_of in found]
        place = int(np.argmax(areas)) if max(areas) > RIVAL * areas[0] else 0
        key, chosen, ome_of = found[place]
        others = [other for other in keys if other != key]
        if not others:
            return chosen, ome_of, notes
        which = f"{key}, the largest," if place else key
        listed_others = ", ".join(_with_name(other, named) for other in others[:8])
        note = f"of {len(keys)} images {which} was opened; the others are {listed_others}"
        return chosen, ome_of, (note, *notes)
    raise SlideError(f"{path.name} holds no image (bioformats2raw); {HELP}")


def _area_of(group: Any, ome: Mapping[str, Any]) -> int:
    """Pixels of the first level of an image, 0 where it cannot be opened."""
    try:
        shape = group[str(ome["multiscales"][0]["datasets"][0]["path"])].shape
        return math.prod(sorted(int(side) for side in shape)[-2:])
    except Exception:  # said where it is chosen
        return 0


def _named_images(path: Path) -> list[str]:
    """Names of the images of a bioformats2raw folder, in the order of its OME-XML."""
    xml = path / "OME" / "METADATA.ome.xml"
    if not xml.is_file() or xml.stat().st_size > limits.XML:
        return []
    ome = parse_ome(xml.read_text(encoding="utf-8", errors="replace"))
    return [] if ome is None else [image.name for image in ome.images]


def _with_name(key: str, named: Mapping[str, str]) -> str:
    return f"{key} ({named[key]})" if named.get(key) else key


def _axes_of_systems(multiscale: Mapping[str, Any]) -> Sequence[Any]:
    """Axes where they stand in coordinate systems (0.6)."""
    axes: Sequence[Any] = multiscale["coordinateSystems"][0]["axes"]
    return axes


def _arrays(path: Path, group: Any, names: list[str]) -> list[Any]:
    arrays = []
    for name in names:
        folder = path / str(group.path) / name
        _check_json(folder, f"level {_named(name)} of {path.name}")
        try:
            array = group[name]
            shape = tuple(int(side) for side in array.shape)
            chunks = tuple(max(1, int(side)) for side in array.chunks)
            dtype = np.dtype(array.dtype)
        except Exception:  # zarr raises many kinds for what it cannot open
            codec = _codec_not_served(folder)
            if codec:
                raise SlideError(
                    f"the level {_named(name)} of {path.name} is packed with {codec}, which is not "
                    "served; write it anew with Blosc, Zstandard or gzip"
                ) from None
            raise SlideError(
                f"the level {_named(name)} of {path.name} is missing or cannot be opened; copy the "
                "folder again"
            ) from None
        if not shape or max(shape) > limits.SIDE or min(shape) < 1:
            raise SlideError(f"the level {name} of {path.name} has the shape {shape}, no picture")
        if math.prod(chunks) * dtype.itemsize > 4 * limits.FLAT_PIXELS:
            raise SlideError(
                f"a chunk of the level {name} of {path.name} is larger than memory should hold "
                f"({' x '.join(map(str, chunks))}); write it in smaller ones"
            )
        count = math.prod(-(-side // own) for side, own in zip(shape, chunks, strict=True))
        if count > limits.TABLE:
            raise SlideError(
                f"the level {name} of {path.name} has {count:,} chunks, more than a slide needs "
                f"({limits.TABLE:,}); write it in larger ones"
            )
        arrays.append(array)
    return arrays


def _named(name: str) -> str:
    """A level's name out of a file, fit for one line, and without the folders that it may state."""
    return "".join(c for c in Path(name).name if c.isprintable())[:40] or "without a name"


def _codec_not_served(folder: Path) -> str:
    """Name of the first codec of an array that is not there; empty where all are."""
    from numcodecs.registry import get_codec
    from zarr.registry import get_codec_class

    kinds: tuple[tuple[str, tuple[str, ...], str, Callable[[str], object]], ...] = (
        (".zarray", ("compressor", "filters"), "id", lambda name: get_codec({"id": name})),
        ("zarr.json", ("codecs",), "name", get_codec_class),
    )
    for file, places, key, find in kinds:
        try:
            about = json.loads((folder / file).read_bytes())
            listed = [one for place in places for one in _listed(about.get(place))]
            names = [one[key] for one in listed if isinstance(one.get(key), str)]
        except (OSError, ValueError, RecursionError, AttributeError):
            continue  # something else is wrong with it
        for name in names:
            try:
                find(name)
            except (KeyError, ValueError):
                return _named(name)
            except TypeError:
                pass  # it is there, and wants its settings
    return ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _planes(path: Path, arrays: list[Any], names: str) -> list[_Plane]:
    if len(set(names)) < len(names) or any(array.ndim != len(names) for array in arrays):
        raise SlideError(
            f"{path.name} names {len(names)} axes ({names}), but its levels have "
            f"{arrays[0].ndim}; write its metadata anew"
        )
    sizes = dict(zip(names, arrays[0].shape, strict=True))
    if not {"y", "x"} <= sizes.keys():
        raise _refusal(path)
    if any(sizes[axis] != 1 for axis in sizes if axis not in "yxc"):
        raise SlideError(
            f"{path.name} is a stack ({names} {arrays[0].shape}); save one plane of it"
        )
    if np.dtype(arrays[0].dtype).kind not in "buif":
        raise SlideError(f"{path.name} holds {arrays[0].dtype} values, which are no picture")
    return [_Plane(array, names, path) for array in arrays]


def _colours(name: str, ome: Mapping[str, Any], plane: _Plane, wanted: str) -> Colours:
    """What the channels mean, by the rendering settings (omero) and by what the user chose."""
    count = plane.shape[2]
    omero = ome.get("omero")
    listed = omero.get("channels") if isinstance(omero, Mapping) else None
    described = (
        [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    )
    names = [str(one.get("label") or "") for one in described][:count]
    names += [""] * (count - len(names))
    if (
        count == 4
        and not wanted
        and [one.lower() for one in names]
        in (
            ["red", "green", "blue", "alpha"],
            ["r", "g", "b", "a"],
        )
    ):
        return Colours("rgb", plane.dtype, "straight")
    colours = [_rgb(one.get("color")) for one in described][:count]
    fluorescent = is_fluorescence(names, colours, ())
    return channels_named(name, names, plane.dtype, wanted, fluorescent, 0, colours)


def _rgb(text: Any) -> Rgb | None:
    try:
        value = int(str(text).lstrip("#"), 16)
    except ValueError:
        return None
    return value >> 16 & 255, value >> 8 & 255, value & 255


def _scale(ome: Mapping[str, Any], multiscale: Mapping[str, Any], axes: list[Any]) -> Mpp:
    """Scale of level 0 where both axes have a unit of length.

    Those of the dataset, of the image and of the document are applied one after the other.
    """
    try:
        factors = _of_level(ome, multiscale, 0, len(axes))
        by_axis = {
            str(axis["name"]).lower(): factor * um_of(axis["unit"])
            for axis, factor in zip(axes, factors, strict=True)
            if str(axis["name"]).lower() in ("x", "y")
        }
        return by_axis["x"], by_axis["y"]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _of_level(
    ome: Mapping[str, Any], multiscale: Mapping[str, Any], level: int, count: int
) -> list[float]:
    """How much each of so many axes grows from the pixels of a level to the unit of the axis.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError, AttributeError
        If that is not stated: a unit without a transformation says nothing of pixels.
    """
    steps: list[Mapping[str, Any]] = []
    for owner in (multiscale["datasets"][level], multiscale, ome):
        found = owner.get("coordinateTransformations") or []
        if any(not isinstance(step, Mapping) for step in found):
            raise ValueError("no transformation")
        steps += found
    if all(step.get("type") == "translation" for step in steps):
        raise ValueError("no scale")
    factors = [1.0] * count
    for step in steps:
        factors = [a * b for a, b in zip(factors, _factors(step, count), strict=True)]
    return factors


def _contradiction(
    ome: Mapping[str, Any], multiscale: Mapping[str, Any], names: str, levels: list[_Plane]
) -> tuple[str, ...]:
    """What to say where levels are stated to be of other scales than their sizes have."""
    try:
        for place, level in enumerate(levels[1:], 1):
            first, own = (_of_level(ome, multiscale, at, len(names)) for at in (0, place))
            for axis, side in (("y", 0), ("x", 1)):
                stated = own[names.index(axis)] / first[names.index(axis)]
                real = levels[0].shape[side] / level.shape[side]
                # a side of few pixels is rounded by much
                if abs(stated / real - 1) > 0.1 + 1 / level.shape[side]:
                    return (
                        f"its metadata state level {place} to be {stated:.3g} times as coarse as "
                        f"level 0, but it is {real:.3g} times as small; check the scale",
                    )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ZeroDivisionError):
        pass  # what is not stated contradicts nothing
    return ()


def _factors(step: Mapping[str, Any], count: int) -> list[float]:
    """How much each axis grows by one transformation.

    Raises
    ------
    ValueError
        If it is of a kind that is not known, or mixes axes.
    """
    kind = step.get("type")
    if kind in ("identity", "translation"):
        return [1.0] * count
    if kind == "scale":
        return [number(value) for value in step["scale"]]
    if kind == "sequence":
        factors = [1.0] * count
        for part in step["transformations"]:
            factors = [a * b for a, b in zip(factors, _factors(part, count), strict=True)]
        return factors
    if kind == "affine":
        matrix = np.asarray(step["affine"], float)[:count, :count]
        if np.abs(matrix - np.diag(np.diag(matrix))).max() > 1e-9:
            raise ValueError("axes are mixed")
        return [float(abs(value)) for value in np.diag(matrix)]
    raise ValueError(str(kind))

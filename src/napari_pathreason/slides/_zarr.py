"""OME-Zarr images (0.4 and 0.5): levels as (height, width, channel), scale in micrometres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason.errors import SlideError

from ._mpp import MICROMETRES, Mpp


class _Plane:
    """A (height, width[, channel]) view of one level, whatever the order of its axes.

    Slicing reads just the chunks that are met.
    """

    def __init__(self, array: Any, axes: str) -> None:
        self._array, self._axes = array, axes
        size = dict(zip(axes, array.shape, strict=True))
        channels = size.get("c", 1)
        self.shape = (size["y"], size["x"], channels)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray[Any, np.dtype[Any]]:
        chosen = {"y": key[0], "x": key[1], "c": slice(None)}
        part = np.asarray(self._array[tuple(chosen.get(axis, 0) for axis in self._axes)])
        axes = [axis for axis in self._axes if axis in chosen]
        part = np.transpose(part, [axes.index(axis) for axis in ("y", "x", "c") if axis in axes])
        return part if "c" in axes else part[..., None]


def open_zarr(path: Path) -> tuple[list[_Plane], Mpp]:
    """Levels and scale of the first multiscale image of an OME-Zarr folder.

    Raises
    ------
    SlideError
        If the folder is not OME-Zarr, or holds a stack or a number of channels that is no picture.
    """
    import zarr

    refusal = SlideError(
        f"{path.name} is not an OME-Zarr image (0.4 or 0.5); name the folder that holds .zattrs or "
        "zarr.json with multiscales"
    )
    try:
        group = zarr.open_group(path, mode="r")
        attributes: dict[str, Any] = dict(group.attrs)
        multiscale = attributes.get("ome", attributes)["multiscales"][0]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscale["axes"]]
        names = "".join(str(axis["name"]).lower() for axis in axes)
        arrays: list[Any] = [group[dataset["path"]] for dataset in multiscale["datasets"]]
    except Exception:  # zarr raises many kinds for folders that are not its own
        raise refusal from None
    sizes = dict(zip(names, arrays[0].shape, strict=True)) if arrays else {}
    if not {"y", "x"} <= sizes.keys():
        raise refusal
    if any(sizes[axis] != 1 for axis in sizes if axis not in "yxc") or sizes.get("c", 1) not in (
        1,
        3,
        4,
    ):
        raise SlideError(
            f"{path.name} is a stack or has {sizes.get('c', 1)} channels; save one RGB plane of it"
        )
    return [_Plane(array, names) for array in arrays], _scale(multiscale, axes)


def _scale(multiscale: Any, axes: list[dict[str, Any]]) -> Mpp:
    """Scale of level 0 where both axes have a unit of length."""
    by_axis: dict[str, float] = {}
    try:
        steps = multiscale["datasets"][0]["coordinateTransformations"]
        scale = next(step["scale"] for step in steps if step["type"] == "scale")
        for axis, value in zip(axes, scale, strict=True):
            if axis["name"].lower() in ("x", "y"):
                by_axis[axis["name"].lower()] = float(value) * MICROMETRES[axis["unit"]]
    except (KeyError, StopIteration, TypeError, ValueError):
        return None
    return (by_axis["x"], by_axis["y"]) if min(by_axis.values(), default=0) > 0 else None

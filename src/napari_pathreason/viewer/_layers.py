"""Image layers as slides, and what the user means by a region of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_pathreason.errors import SlideError
from napari_pathreason.slides import Slide, layer_scale, open_slide, slide_from_arrays
from napari_pathreason.types import SlideInfo

from ._frame import LayerFrame, placement

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

SLIDE_KEY = "pathreason_slide"
"""Key of `layer.metadata` under which the reader leaves its `Slide`."""
PLANE_KEY = "pathreason_plane"
"""Of `layer.metadata` of a plane: the stack's id and the plane's numbers."""
SKEWED = 0.1
"""Cosine of the angle between rows and columns from which pixels have no width and height; slides
that were laid over one another by their landmarks are below."""
REGIONS_KEY = "pathreason_regions"
"""Of `layer.metadata` of shapes that were drawn as regions: the id of the image layer below."""
PREVIEW_KEY = "pathreason_preview"
"""Of `layer.metadata` of pictures that this plugin lays over a slide."""


def is_slide(layer: Any) -> bool:
    """Whether a layer is an image that can be asked about; previews and heat maps are not."""
    from napari.layers import Image

    return isinstance(layer, Image) and PREVIEW_KEY not in layer.metadata


def drawn_on(viewer: Viewer, layer: Any) -> Image | None:
    """The open image layer that regions were drawn on; None for any other layer."""
    key = layer.metadata.get(REGIONS_KEY)
    slides = (one for one in viewer.layers if is_slide(one))
    return None if key is None else next((one for one in slides if one.unique_id == key), None)


def slide_of(layer: Image) -> Slide | None:
    """The slide that a layer was opened from by this plugin's reader; None for other layers."""
    slide = layer.metadata.get(SLIDE_KEY)
    return slide if isinstance(slide, Slide) else None


def layer_size(layer: Image) -> tuple[int, int]:
    """(width, height) of an image layer in level-0 pixels.

    Raises
    ------
    SlideError
        If the layer is not one plane.
    """
    if layer.ndim != 2:
        if layer.level_shapes[0][-1] in (3, 4):
            raise SlideError(f"{layer.name!r} is no colour image yet; add it again with rgb=True")
        raise SlideError(f"{layer.name!r} is a stack: Ask takes the plane that is shown")
    height, width = (int(side) for side in layer.level_shapes[0][:2])
    return width, height


def is_stack(layer: Any) -> bool:
    """Whether a layer has planes, of which one is shown; colours along the last axis are none."""
    return is_slide(layer) and layer.ndim > 2 and layer.level_shapes[0][-1] not in (3, 4)


def plane_layer(viewer: Viewer, layer: Image) -> Image:
    """The plane of a stack that a viewer shows, as a layer of its own over it.

    An answer is about that plane alone, so it has a name of its own; asked for again, the same
    layer is given.

    Parameters
    ----------
    viewer : napari.Viewer
    layer : napari.layers.Image
        See `is_stack`.

    Raises
    ------
    SlideError
        If its planes are tilted: what the viewer shows is then no plane of it.
    """
    from napari.layers import Image

    if _is_tilted(layer):
        raise SlideError(
            f"the planes of {layer.name!r} are tilted against the view; save the slice that is "
            "shown as a layer of its own"
        )
    place = layer.world_to_data(viewer.dims.point[-layer.ndim :])
    sizes = layer.level_shapes[0]
    planes = tuple(
        int(min(max(round(float(at)), 0), size - 1))
        for at, size in zip(place[:-2], sizes[: layer.ndim - 2], strict=True)
    )
    key = (layer.unique_id, planes)
    for other in viewer.layers:
        if isinstance(other, Image) and other.metadata.get(PLANE_KEY) == key:
            return other
    levels = [level[planes] for level in (layer.data if layer.multiscale else [layer.data])]
    numbers = ", ".join(str(plane + 1) for plane in planes)
    return viewer.add_image(
        levels if layer.multiscale else levels[0],
        multiscale=layer.multiscale,
        rgb=layer.rgb,
        name=f"{layer.name}, plane {numbers}",
        metadata={PLANE_KEY: key},
        **(
            {}
            if layer.rgb
            else {"colormap": layer.colormap, "contrast_limits": layer.contrast_limits}
        ),
        **placement(layer),
    )


def _is_tilted(layer: Image) -> bool:
    """Whether a step along a row or a column leaves the plane that a viewer shows."""
    rows, columns = np.eye(layer.ndim)[-2:]
    start = np.asarray(layer.data_to_world(np.zeros(layer.ndim)))
    steps = [np.asarray(layer.data_to_world(step)) - start for step in (rows, columns)]
    return any(np.abs(step[:-2]).max() > 1e-6 * np.linalg.norm(step) for step in steps)


def layer_mpp(layer: Image) -> tuple[float, float] | None:
    """Size of a level-0 pixel in um (x, y) by where the layer lies, and its units.

    Scale, rotation, shear and affine count together. None if unknown: units of no length, pixels
    that a shear makes no rectangles, or a size that no microscope has.
    """
    factors = []
    for unit in layer.units[-2:]:
        if not unit.is_compatible_with("micrometer"):
            return None
        factors.append(float((1.0 * unit).to("micrometer").magnitude))
    down, right = (LayerFrame.of(layer).matrix[:2, :2] * np.reshape(factors, (2, 1))).T
    across, along = float(np.hypot(*right)), float(np.hypot(*down))
    if abs(float(right @ down)) > SKEWED * across * along:
        return None
    return layer_scale((across, along))


def known_mpp(layer: Image) -> tuple[float, float] | None:
    """Size of a level-0 pixel in um (x, y): the slide's own, else the layer's; None if unknown."""
    slide = slide_of(layer)
    return layer_mpp(layer) if slide is None else slide.info.mpp


def info_of(layer: Image) -> SlideInfo:
    """Name, size and scale of the slide behind an image layer, as its answers have them.

    Raises
    ------
    SlideError
        If the layer is not one plane.
    """
    slide = slide_of(layer)
    if slide is not None:
        return slide.info
    mpp = layer_mpp(layer)
    source: Literal["unknown", "user"] = "unknown" if mpp is None else "user"
    return SlideInfo(layer.name, *layer_size(layer), mpp, source)


def set_up_slide(
    layer: Image, mpp: float | None = None, channels: str = "", icc: bool = False
) -> None:
    """Read the slide behind an image layer otherwise, and show it so.

    Display and model read from one `Slide`, so both change alike.

    Parameters
    ----------
    layer : napari.layers.Image
    mpp : float, optional
        Micrometres per level-0 pixel; None for what the file says.
    channels : str
    icc : bool
        See `slides.open_slide`; a layer of arrays has neither.

    Raises
    ------
    SlideError
        If that makes no sense; the layer is as it was.
    """
    slide = slide_of(layer)
    if slide is None or slide.path is None:
        if mpp is not None:
            layer.scale = [*layer.scale[:-2], mpp, mpp]
            layer.affine = np.eye(layer.ndim + 1)
            layer.shear = np.zeros_like(layer.shear)
            layer.units = (*layer.units[:-2], "um", "um")
        return
    info = slide.info
    same = channels.strip() == info.channels and icc == (info.icc == "applied")
    if same and mpp is not None and not slide.reservation:
        other = slide.with_mpp(mpp)
    else:
        other = open_slide(slide.path, mpp, channels=channels, icc=icc)
        layer.data = other.display_levels()
        slide.close()
    layer.metadata[SLIDE_KEY] = other
    known = other.info.mpp
    layer.scale = (1.0, 1.0) if known is None else (known[1], known[0])
    layer.units = ("pixel", "pixel") if known is None else ("um", "um")


def slide_opener(layer: Image) -> Callable[[], Slide]:
    """What gives, in any thread, the slide behind an image layer.

    That is the one it was opened from, else one over its arrays: numpy, dask or zarr, single or
    multiscale, RGB, RGBA or one channel. Opening may read pixels (the range of 16-bit values), so
    it is left to a worker.

    Raises
    ------
    SlideError
        If the layer is not one plane, or its channels have to be chosen first; the opener does, if
        its values are no picture.
    """
    slide = slide_of(layer)
    if slide is not None:
        if slide.reservation:
            raise SlideError(slide.reservation)
        return lambda: slide
    layer_size(layer)
    return arrays_opener(layer, layer_mpp(layer))


def open_slide_layer() -> Image | None:
    """The slide in napari's current window: the selected one, or the only one; else None."""
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        return None
    slides = [layer for layer in viewer.layers if SLIDE_KEY in layer.metadata]
    active = viewer.layers.selection.active
    if active in slides:
        return active
    return slides[0] if len(slides) == 1 else None


def arrays_opener(layer: Image, mpp: float | tuple[float, float] | None) -> Callable[[], Slide]:
    """What opens the arrays of an image layer as a slide of so many um per pixel."""
    levels = list(layer.data) if layer.multiscale else [layer.data]
    return partial(slide_from_arrays, levels, layer.name, mpp)

"""Image layers as slides: size, pixel size, and a `Slide` that reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_pathreason.errors import SlideError
from napari_pathreason.slides import Slide, slide_from_arrays

if TYPE_CHECKING:
    from napari.layers import Image

SLIDE_KEY = "pathreason_slide"
"""Key of `layer.metadata` under which the reader leaves its `Slide`."""


def layer_size(layer: Image) -> tuple[int, int]:
    """(width, height) of an image layer in level-0 pixels.

    Raises
    ------
    SlideError
        If the layer is not one plane.
    """
    if layer.ndim != 2:
        hint = (
            "add it again with rgb=True"
            if layer.level_shapes[0][-1] in (3, 4)
            else "choose one plane of it (right click on the layer, Split Stack)"
        )
        raise SlideError(f"the layer {layer.name!r} has {layer.ndim} axes, not two; {hint}")
    height, width = (int(side) for side in layer.level_shapes[0][:2])
    return width, height


def layer_mpp(layer: Image) -> tuple[float, float] | None:
    """Size of a level-0 pixel in um (x, y) from the layer's scale and units; None if unknown."""
    sizes = []
    for step, unit in zip(layer.scale[-2:], layer.units[-2:], strict=True):
        if not unit.is_compatible_with("micrometer"):
            return None
        sizes.append(abs(float((float(step) * unit).to("micrometer").magnitude)))
    return sizes[1], sizes[0]


def known_mpp(layer: Image) -> tuple[float, float] | None:
    """Size of a level-0 pixel in um (x, y): the slide's own, else the layer's; None if unknown."""
    slide: Any = layer.metadata.get(SLIDE_KEY)
    return slide.info.mpp if isinstance(slide, Slide) else layer_mpp(layer)


def slide_opener(layer: Image) -> Callable[[], Slide]:
    """What gives, in any thread, the slide behind an image layer.

    That is the one it was opened from, else one over its arrays: numpy, dask or zarr, single or
    multiscale, RGB, RGBA or one channel. Opening may read pixels (the range of 16-bit values), so
    it is left to a worker.

    Raises
    ------
    SlideError
        If the layer is not one plane; the opener does, if its values are no picture.
    """
    slide: Any = layer.metadata.get(SLIDE_KEY)
    if isinstance(slide, Slide):
        return lambda: slide
    layer_size(layer)
    levels = list(layer.data) if layer.multiscale else [layer.data]
    return partial(slide_from_arrays, levels, layer.name, layer_mpp(layer))


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

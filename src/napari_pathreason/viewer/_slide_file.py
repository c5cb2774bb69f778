"""Slides as layers: their data, and those that answers are about and that need not be open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from napari.layers import Image
from napari.utils import notifications

from napari_pathreason.errors import SlideError
from napari_pathreason.exports import ShownSlide
from napari_pathreason.sample_data import SAMPLE_KEY, sample_at
from napari_pathreason.slides import ChannelsError, open_slide

from ._layers import SLIDE_KEY, slide_of

if TYPE_CHECKING:
    from napari import Viewer


def slide_layer_data(path: str | Path) -> tuple[Any, dict[str, Any], str]:
    """Layer data (npe2) of one slide: lazy levels, scale in um where it is known, the open `Slide`.

    What must be known of how it is read is said at once. Fluorescence whose channels have to be
    chosen is shown in colours that are offered, and can be asked about after they were chosen.

    Raises
    ------
    SlideError
        If the file is no image that can be opened.
    """
    try:
        slide = open_slide(path)
    except ChannelsError as error:
        slide = open_slide(path, channels=error.offer)
        slide.reservation = str(error)
    for note in [slide.reservation] if slide.reservation else slide.notes:
        notifications.show_warning(f"{slide.info.name}: {note}" if not slide.reservation else note)
    shown = sample_at(path)
    levels = slide.display_levels()
    mpp = slide.info.mpp
    attributes = {
        "name": slide.info.name,
        "rgb": True,
        "multiscale": True,
        "scale": (1.0, 1.0) if mpp is None else (mpp[1], mpp[0]),
        "units": ("pixel", "pixel") if mpp is None else ("um", "um"),
        "metadata": {SLIDE_KEY: slide, **({SAMPLE_KEY: shown.key} if shown else {})},
    }
    return levels, attributes, "image"


class SlideFile:
    """The image layer of a slide that need not be open; called, it gives the layer or None.

    It stands where a layer's reference stands in an `Entry`.

    Parameters
    ----------
    path : Path
    layer : napari.layers.Image, optional
        The layer, where it is open.
    """

    def __init__(self, path: Path, layer: Image | None = None) -> None:
        self.path = path
        self._layer: ReferenceType[Image] | None = None if layer is None else ref(layer)

    def __call__(self) -> Image | None:
        """The layer, while it is open."""
        return None if self._layer is None else self._layer()

    def show_as(self, layer: Image) -> None:
        """The file was opened again, as this layer."""
        self._layer = ref(layer)

    def open(self, viewer: Viewer) -> Image:
        """The layer, opened where it is not in the viewer.

        Raises
        ------
        SlideError
            If the file is gone, or cannot be read.
        """
        layer = self()
        if layer is not None and layer in viewer.layers:
            return layer
        for other in viewer.layers:
            slide = slide_of(other) if isinstance(other, Image) else None
            if slide is not None and slide.path == self.path and not slide.reservation:
                self.show_as(other)
                return other
        if not self.path.exists():
            raise SlideError(f"{self.path.name} is not there any more; put it back to see it")
        levels, attributes, _ = slide_layer_data(self.path)
        added: Image = viewer.add_image(levels, **attributes)
        self.show_as(added)
        return added


def where_found(layer: Image) -> ReferenceType[Image] | SlideFile:
    """What finds an image layer; a slide that is a file also after it was closed and opened again.

    Called, it gives the layer, or None once it is gone.
    """
    slide = slide_of(layer)
    return ref(layer) if slide is None or slide.path is None else SlideFile(slide.path, layer)


def shown_slides(layers: Mapping[str, Image]) -> tuple[ShownSlide, ...]:
    """What a manifest says of the slides behind layers, by the names that a question gives them.

    Arrays are left out: they are no files that could be found again.
    """
    slides = {name: slide_of(layer) for name, layer in layers.items()}
    return tuple(
        ShownSlide(name, slide.info, slide.path)
        for name, slide in slides.items()
        if slide is not None and slide.path is not None
    )

"""One line that says which region would be asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError
from napari_pathreason.viewer import RegionSource, known_mpp, region_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image


def region_note(viewer: Viewer, image: Image | None, source: RegionSource) -> str:
    """Size of the region in pixels and mm, or why there is none."""
    if image is None:
        return "Open a slide or any image first."
    try:
        region = region_of(viewer, image, source)
    except PathreasonError as error:
        return sentence(error)
    size = f"{region.width:,} \N{MULTIPLICATION SIGN} {region.height:,} px"
    mpp = known_mpp(image)
    if mpp is None:
        return f"{size}; pixel size unknown, the scale is in pixels."
    width, height = region.width * mpp[0] / 1000, region.height * mpp[1] / 1000
    return f"{size} = {width:.2f} \N{MULTIPLICATION SIGN} {height:.2f} mm"

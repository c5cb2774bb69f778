"""Places that an answer cites, shown on the slide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Box
from napari_pathreason.tasks import Cited, citing

from ._camera import go_to
from ._frame import box_to_data
from ._marks import marks_of_shapes
from ._overlay import GREY, OVERLAY_KEY, RESULTS_KEY, place_like, placement
from ._session import Entry

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Shapes

CITED_COLOR = "#ff6d00"
MARGIN = 0.5
"""Share of the canvas around a cited place: what lies about it is seen too."""


def show_cited(viewer: Viewer, entry: Entry, cited: Cited, former: Shapes | None) -> Shapes:
    """Move the view to a cited place and outline it; grey where the answer is not reliable.

    Parameters
    ----------
    viewer : napari.Viewer
    entry : Entry
    cited : Cited
    former : napari.layers.Shapes or None
        The layer of an earlier call, which is used again.

    Returns
    -------
    napari.layers.Shapes
        The layer of the outline; the user's layers stay selected.

    Raises
    ------
    PathreasonError
        If the image of the entry was closed.
    """
    image, region = entry.image(), cited.region_in(entry.result.region)
    if image is None or image not in viewer.layers:
        raise PathreasonError(
            f"the image of answer {entry.id} was closed; open {entry.result.slide.name} again "
            "and ask once more to see its places"
        )
    outline, doubted = box_to_data(region.box), entry.result.reliability.level == "none"
    name = "cited place (unreliable)" if doubted else "cited place"
    color = GREY if doubted else CITED_COLOR
    width = max(entry.result.region.width, entry.result.region.height) / 200
    # where the user has drawn on the outline's layer, that is left to them
    if former is not None and former in viewer.layers and former.nshapes == 1:
        place_like(former, image)
        former.data = [outline]
        former.name, former.edge_color = name, color
        former.edge_width, former.visible, layer = width, True, former
    else:
        selected = set(viewer.layers.selection)
        layer = viewer.add_shapes(
            [outline],
            name=name,
            shape_type="rectangle",
            edge_color=color,
            face_color="transparent",
            edge_width=width,
            opacity=1.0,
            metadata={OVERLAY_KEY: True},
            **placement(image),
        )
        viewer.layers.selection = selected
    go_to(viewer, image, region, MARGIN)
    return layer


def cited_by_shape(overlay: Shapes, index: int) -> tuple[int, Cited] | None:
    """Answer to which a shape of an overlay belongs, and what its rationale says of that box.

    Returns
    -------
    tuple of int and Cited, or None
        None for a region, a drawing, and a box of which nothing is said.
    """
    results = overlay.metadata.get(RESULTS_KEY, {})
    owner = int(overlay.features["result"].iloc[index])
    label = str(overlay.features["label"].iloc[index])
    alone = {
        "metadata": {RESULTS_KEY: results},
        "features": {"label": [label], "result": [owner]},
        "shape_type": overlay.shape_type[index],
    }
    (mark,) = marks_of_shapes([overlay.data[index]], alone, "")
    if mark.kind != "finding" or mark.result is None:
        return None
    shape = mark.shape
    if not isinstance(shape, Box):  # a box that the user turned
        return None
    cited = citing(mark.result.answer.rationale, mark.result.region, shape, label)
    return None if cited is None else (owner, cited)

"""Show answers in the viewer: boxes on their layer, the camera on their region."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from napari_pathreason.errors import PathreasonError

from ._camera import go_to
from ._overlay import (
    CLEAR,
    append_to_overlay,
    overlay_layer_data,
    place_like,
    shapes_of_result,
)
from ._session import Entry, Session
from ._undo import undoable

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes


def draw_entry(viewer: Viewer, session: Session, entry: Entry) -> Shapes | None:
    """Make sure that the boxes of an entry are on its overlay, and select none.

    Returns
    -------
    Shapes or None
        The overlay, one for all answers about an image; None if that image was closed.
    """
    image = entry.image()
    if image is None or image not in viewer.layers:
        return None
    overlay = prepare_overlay(viewer, session, image)
    place_like(overlay, image)
    if not shapes_of_result(overlay, entry.id):
        append_to_overlay(overlay, entry.id, entry.result)
    return overlay


def prepare_overlay(viewer: Viewer, session: Session, image: Image) -> Shapes:
    """Overlay of an image, with its earlier answers, made if there is none.

    napari takes about 0.1 s to add a layer: done when a question is asked, so that nothing stalls
    while it is answered.
    """
    known = session.overlays.get(image)
    overlay: Shapes | None = known() if known is not None else None
    if overlay is not None and overlay in viewer.layers:
        return overlay
    return _new_overlay(viewer, session, image)


def show_entry(viewer: Viewer, session: Session, entry: Entry) -> Shapes:
    """Go to the region of an entry and select its outline and boxes.

    Returns
    -------
    Shapes
        The overlay that holds them.

    Raises
    ------
    PathreasonError
        If the image of the entry was closed.
    """
    overlay, image = draw_entry(viewer, session, entry), entry.image()
    if overlay is None or image is None:
        raise PathreasonError(
            f"the image of answer {entry.id} was closed; open {entry.result.slide.name} again "
            "and ask once more to see its boxes"
        )
    overlay.visible = image.visible = True
    viewer.layers.selection.active = overlay
    overlay.mode = "select"
    overlay.selected_data = shapes_of_result(overlay, entry.id)
    go_to(viewer, image, entry.result.region)
    return overlay


def _new_overlay(viewer: Viewer, session: Session, image: Image) -> Shapes:
    selected = set(viewer.layers.selection)
    data, attributes, _ = overlay_layer_data(
        image, [(entry.id, entry.result) for entry in session.entries_of(image)]
    )
    overlay = undoable(viewer.add_shapes(data, **attributes))
    overlay.current_face_color = CLEAR  # what the user draws next is not greyed as a last box
    session.overlays[image] = ref(overlay)
    viewer.layers.selection = selected  # the user's layer stays active
    return overlay

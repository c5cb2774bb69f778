"""Answers of a session, brought to the user: boxes on layers, places that are cited, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import PathreasonError
from napari_pathreason.exports import AnswerFiles, FileKind, ShownSlide, UsedModel, write_labels
from napari_pathreason.geometry import Box
from napari_pathreason.tasks import Cited, citing

from ._frame import box_to_data, go_to, place_like, placement
from ._layers import slide_of, slide_opener
from ._overlay import (
    CLEAR,
    GREY,
    OVERLAY_KEY,
    RESULTS_KEY,
    append_budget,
    append_to_overlay,
    budget_layer_data,
    overlay_layer_data,
    shapes_of_result,
)
from ._session import Entry, Session, image_closed
from ._shapes import marks_of_shapes
from ._slide_file import SlideFile
from ._undo import forget_changes, undoable, was_changed
from ._window_map import WindowMap, regions_by_name

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

CITED_COLOR = "#ff6d00"
MARGIN = 0.5
"""Share of the canvas around a cited place: what lies about it is in view too."""


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
    overlay = session.overlay_of(image)
    if overlay is not None and overlay in viewer.layers:
        return overlay
    data, attributes, _ = overlay_layer_data(
        image, [(entry.id, entry.result) for entry in session.entries_of(image)]
    )
    overlay = undoable(_add_shapes(viewer, data, **attributes))
    overlay.current_face_color = CLEAR  # what the user draws next is not greyed as a last box
    session.keep_overlay(overlay, image)
    return overlay


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
        raise image_closed(entry, "see its boxes")
    overlay.visible = image.visible = True
    viewer.layers.selection.active = overlay
    overlay.mode = "select"
    overlay.selected_data = shapes_of_result(overlay, entry.id)
    go_to(viewer, image, entry.result.region)
    return overlay


def go_to_entry(viewer: Viewer, session: Session, entry: Entry) -> None:
    """Show an answer: its boxes on the canvas, its words in the docks.

    The slide of a project is opened where it is not open.

    Raises
    ------
    PathreasonError
        If its image was closed, or cannot be opened; its words are shown all the same.
    """
    try:
        if isinstance(entry.image, SlideFile):
            entry.image.open(viewer)
        show_entry(viewer, session, entry)
    finally:
        session.inquiry.show(entry)


def show_windows(viewer: Viewer, session: Session, entry: Entry) -> None:
    """Show the windows of an answer over its slide; none where it was read as one picture."""
    image, shown = entry.image(), WindowMap.of_result(entry.result)
    if image is None or image not in viewer.layers or shown is None:
        session.windows.hide(viewer)
    else:
        session.windows.show(viewer, image, shown, entry.id)


def draw_budget(
    viewer: Viewer, source: Image, entry: Entry, color: str, layer: Shapes | None = None
) -> Shapes:
    """Draw the boxes of an answer in one colour, to be compared with others.

    Parameters
    ----------
    viewer : napari.Viewer
    source : napari.layers.Image
    entry : Entry
    color : str
        ``#rrggbb``.
    layer : napari.layers.Shapes, optional
        Has the boxes of other budgets; made where it is not given.
    """
    if layer is not None:
        unchanged = not was_changed(layer)
        append_budget(layer, source, entry.id, entry.result, color)
        if unchanged:
            forget_changes(layer)  # they are ours
        return layer
    data, attributes, _ = budget_layer_data(source, entry.id, entry.result, color)
    return undoable(_add_shapes(viewer, data, **attributes))


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
    result, image = entry.result, entry.image()
    region = cited.region_in(result.region, regions_by_name(result))
    if image is None or image not in viewer.layers:
        raise image_closed(entry, "see its places")
    outline, doubted = box_to_data(region.box), entry.result.reliability.level == "none"
    name = "cited place (unreliable)" if doubted else "cited place"
    color = GREY if doubted else CITED_COLOR
    width = max(region.width, region.height) / 67
    # where the user has drawn on the outline's layer, that is left to them
    if former is not None and former in viewer.layers and former.nshapes == 1:
        place_like(former, image)
        former.data = [outline]
        former.name, former.edge_color = name, color
        former.edge_width, former.visible, layer = width, True, former
    else:
        layer = _add_shapes(
            viewer,
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
    go_to(viewer, image, region, MARGIN)
    return layer


def cited_by_shape(overlay: Shapes, index: int) -> tuple[int, Cited] | None:
    """Answer to which a shape of an overlay belongs, and what its rationale says of that box.

    Returns
    -------
    tuple of int and Cited, or None
        None for a region, a drawing, and a box that the rationale does not cite.
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
    result = mark.result
    cited = citing(result.answer.rationale, result.region, shape, label, regions_by_name(result))
    return None if cited is None else (owner, cited)


def entries_like(session: Session, entry: Entry) -> list[Entry]:
    """Answers that go into one file with an entry: of the same image and the same model."""
    return [
        other
        for other in session.entries
        if other.image() is entry.image()
        and other.result.slide == entry.result.slide
        and other.result.model == entry.result.model
    ]


def files_of(entries: Sequence[Entry]) -> AnswerFiles:
    """What is needed to write entries of one image and one model.

    Raises
    ------
    PathreasonError
        If their image was closed, or is no slide any more.
    """
    last = entries[-1]
    image = last.image()
    if image is None:
        raise image_closed(last, "save it")

    def model() -> UsedModel:
        from napari_pathreason.slide_run import used_model

        return used_model(last.model_id)

    others: dict[str, ShownSlide] = {}
    for other in (other for entry in entries for other in entry.others):
        if others.setdefault(other.name, other) != other:
            raise PathreasonError(
                f"these answers are about two other slides that are called {other.name}; save "
                "them one by one"
            )
    return AnswerFiles(
        [entry.result for entry in entries],
        slide_opener(image),
        model,
        others=tuple(others.values()),
        names=[entry.name for entry in entries],
    )


def write_answers(
    files: AnswerFiles,
    path: str,
    kind: FileKind | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> str:
    """Write a file, for a worker; returns why it could not be written, empty where it was.

    ``progress`` is as of `AnswerFiles.write`, and called in the worker.
    """
    try:
        files.write(path, kind, progress)
    except PathreasonError as error:
        return str(error)
    except Exception as error:  # a fault of ours; its own message may hold paths
        return f"unexpected {type(error).__name__} while saving; please report it"
    return ""


def write_training_labels(path: str, entries: Sequence[Entry]) -> int:
    """Write answers as labels for training, beside slides that are files.

    Raises
    ------
    PathreasonError
        If a slide is no file or its image was closed, or the table cannot be written.
    """
    folder = Path(path).parent
    answers = []
    for entry in entries:
        image, source = entry.image(), entry.image
        slide = None if image is None else slide_of(image)
        file = None if slide is None else slide.path
        if isinstance(source, SlideFile):
            file = source.path
        if file is None:
            raise PathreasonError(
                f"answer {entry.id} is about an image that is no file, or was closed; open the "
                "slide by PathReason, or take the answer out by a filter"
            )
        answers.append((os.path.relpath(file, folder), entry.result))
    return write_labels(path, answers)


def _add_shapes(viewer: Viewer, data: Sequence[NDArray[np.float64]], **attributes: Any) -> Shapes:
    """Add a Shapes layer; the user's layers stay selected."""
    selected = set(viewer.layers.selection)
    layer = viewer.add_shapes(data, **attributes)
    viewer.layers.selection = selected
    return layer

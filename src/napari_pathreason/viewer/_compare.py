"""Answers of several budgets over each other, told apart by colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._overlay import GREY, REGION_LABEL, overlay_layer_data, with_tag
from ._reliability import TAGS
from ._session import Entry
from ._undo import undoable

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

BUDGET_COLORS = ("#0072b2", "#e69f00", "#009e73", "#e6194b", "#56b4e9", "#cc79a7")
"""Told apart with colour-blind eyes and against pink and purple stains."""


def budget_title(entry: Entry) -> str:
    """The budget of an answer in words."""
    requested = entry.result.tokens.requested
    return "native" if requested is None else f"{requested:,}"


def budget_layer_data(
    source: Image, entry: Entry, color: str
) -> tuple[list[NDArray[np.float64]], dict[str, Any], str]:
    """Shapes layer with the region and the boxes of one answer, all in one colour.

    Boxes that may not be relied on are grey, and say so.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    entry : Entry
    color : str
        ``#rrggbb``.
    """
    data, attributes, kind = overlay_layer_data(source, [(entry.id, entry.result)])
    features, title = attributes["features"], budget_title(entry)
    tag = TAGS[entry.result.reliability.level]
    # every budget has the same region: one caption on top of the other could not be read
    captions = [
        "" if name == REGION_LABEL else with_tag(f"{title}: {name}", tag)
        for name in features["label"]
    ]
    colors = [GREY if former == GREY else color for former in features["color"]]
    attributes |= {
        "name": f"compared, {title}: {source.name}",
        "edge_color": colors,
        "features": {
            **features,
            "caption": np.asarray(captions, dtype=object),
            "color": np.asarray(colors, dtype=object),
        },
    }
    return data, attributes, kind


def draw_budget(viewer: Viewer, source: Image, entry: Entry, color: str) -> Shapes:
    """Add the layer of `budget_layer_data`; the user's layers stay selected."""
    selected = set(viewer.layers.selection)
    data, attributes, _ = budget_layer_data(source, entry, color)
    layer = undoable(viewer.add_shapes(data, **attributes))
    viewer.layers.selection = selected
    return layer

"""Answers as Shapes layers: region outlines and boxes over the image they were asked of.

One overlay holds all answers about an image, a colour for each label; answers at several budgets
are compared on a layer each, in a colour for each budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import LEVEL_KEY, REASONS_KEY, joined_reasons
from napari_pathreason.types import Level, Reliability, Result

from ._frame import box_to_data, placement, slide_to_data
from ._words import TAGS, shown_detections

if TYPE_CHECKING:
    from napari.layers import Image, Layer, Shapes

OVERLAY_KEY = "pathreason_overlay"
RESULTS_KEY = "pathreason_results"
"""Metadata key of an overlay's results by id; the writers save them with the shapes."""
REGION_LABEL = "region"
REGION_COLOR = "#1a5cff"
BOX_COLORS = ("#00c853", "#ffd600", "#00e5ff", "#ff6d00", "#d500f9")
"""Told apart from each other and from the pink and violet of H&E."""
BUDGET_COLORS = ("#0072b2", "#e69f00", "#009e73", "#e6194b", "#56b4e9", "#cc79a7")
"""Told apart with colour-blind eyes and against pink and purple stains."""
GREY, VEIL = "#5f6368", "#5f636840"
"""Edge and face of boxes that may not be relied on: the slide is greyed where they lie."""
MOST_IDS = 3
"""Answers about one outline that are named one by one: the caption must not run over the slide."""
CLEAR = "#00000000"
USERS_OWN = {
    "label": "",
    "result": 0,
    "tokens": 0,
    LEVEL_KEY: "",
    REASONS_KEY: "",
    "caption": "",
    "color": REGION_COLOR,
}
"""Features of shapes that a user adds to an overlay."""


def is_overlay(layer: Layer) -> bool:
    """Whether a layer holds answers of this plugin."""
    return bool(layer.metadata.get(OVERLAY_KEY))


def overlay_layer_data(
    source: Image, results: Iterable[tuple[int, Result]]
) -> tuple[list[NDArray[np.float64]], dict[str, Any], str]:
    """One Shapes layer for a set of results about one image.

    Parameters
    ----------
    source : napari.layers.Image
        Its scale, rotate, shear, translate, affine and units are carried over.
    results : iterable of (int, Result)
        Results with their ids.

    Returns
    -------
    tuple
        napari layer data: rectangles (4, 2) in the image's (row, column), and a polygon (n, 2) for
        a region that was asked about within an outline; features ``label``
        (``region`` or the lesion's name), ``result`` (id), ``tokens`` (visual tokens spent),
        ``reliability`` (``reliable``, ``uncertain`` or ``none``), ``reasons``, ``caption`` and
        ``color``.
    """
    marks = _Marks()
    by_id = dict(results)
    for result_id, result in by_id.items():
        marks.add(result_id, result)
    attributes: dict[str, Any] = {
        **placement(source),
        "name": f"answers: {source.name}",
        "shape_type": marks.kinds or "rectangle",
        "opacity": 1.0,
        "edge_color": marks.colors or REGION_COLOR,
        "face_color": marks.faces or CLEAR,
        "edge_width": marks.widths or 1,
        "features": _with_captions(marks.features(), marks.vertices),
        "feature_defaults": USERS_OWN,
        "text": {
            "string": {"feature": "caption"},
            "size": 14,
            "color": {"feature": "color"},
            "anchor": "upper_left",
            "translation": np.zeros(2),
        },
        "metadata": {OVERLAY_KEY: True, RESULTS_KEY: by_id},
    }
    return marks.vertices, attributes, "shapes"


def budget_layer_data(
    source: Image, result_id: int, result: Result, color: str
) -> tuple[list[NDArray[np.float64]], dict[str, Any], str]:
    """Shapes layer with the region and the boxes of one answer, all in one colour.

    Boxes that may not be relied on are grey, and say so.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    result_id : int
    result : Result
    color : str
        ``#rrggbb``.
    """
    data, attributes, kind = overlay_layer_data(source, [(result_id, result)])
    features, title = attributes["features"], budget_title(result)
    tag = TAGS[result.reliability.level]
    # every budget has the same region: one caption on top of the other could not be read
    captions = [
        "" if name == REGION_LABEL else _with_tag(f"{title}: {name}", tag)
        for name in features["label"]
    ]
    colors = [GREY if former == GREY else color for former in features["color"]]
    attributes |= {
        "name": f"compared: {source.name}",
        "edge_color": colors,
        "features": {
            **features,
            "caption": np.asarray(captions, dtype=object),
            "color": np.asarray(colors, dtype=object),
        },
    }
    return data, attributes, kind


def append_budget(layer: Shapes, source: Image, result_id: int, result: Result, color: str) -> None:
    """Add the boxes of one more answer to a layer of `budget_layer_data`; its region is there."""
    data, attributes, _ = budget_layer_data(source, result_id, result, color)
    before = layer.features.to_dict("list")
    if len(data) > 1:
        layer.add_rectangles(
            data[1:],
            edge_color=attributes["edge_color"][1:],
            face_color=attributes["face_color"][1:],
            edge_width=attributes["edge_width"][1:],
        )
        layer.selected_data = set()
        added = attributes["features"]
        layer.features = {name: [*before.get(name, []), *added[name][1:]] for name in added}
    layer.metadata[RESULTS_KEY][result_id] = result


def budget_title(result: Result) -> str:
    """The budget of an answer in words."""
    requested = result.tokens.requested
    return "native" if requested is None else f"{requested:,}"


def append_to_overlay(overlay: Shapes, result_id: int, result: Result) -> None:
    """Add the shapes of one more result to an overlay, leaving what the user did to it."""
    marks = _Marks()
    marks.add(result_id, result)
    before = overlay.features.to_dict("list")
    overlay.add(
        marks.vertices,
        shape_type=marks.kinds,
        edge_color=marks.colors,
        face_color=marks.faces,
        edge_width=marks.widths,
    )
    after = {name: [*before.get(name, []), *new] for name, new in marks.features().items()}
    overlay.features = _with_captions(after, overlay.data)
    overlay.metadata.setdefault(RESULTS_KEY, {})[result_id] = result


def shapes_of_result(overlay: Shapes, result_id: int) -> set[int]:
    """Indices of the shapes that belong to one result."""
    return {i for i, owner in enumerate(overlay.features.get("result", ())) if owner == result_id}


def _with_captions(
    features: dict[str, Any], vertices: Sequence[NDArray[np.float64]]
) -> dict[str, Any]:
    """Features with a column ``caption``: what is written at each shape.

    The same outline in several results has one caption that names them all, as texts on top of
    each other cannot be read. What may not be relied on says so.
    """
    first: dict[tuple[str, bytes], int] = {}
    owners: dict[int, list[tuple[str, str]]] = {}
    tags = [_tag(level) for level in features[LEVEL_KEY]]
    columns = (features["label"], features["result"], tags)
    for i, (label, result, tag) in enumerate(zip(*columns, strict=True)):
        place = first.setdefault((label, np.round(vertices[i]).tobytes()), i)
        owners.setdefault(place, []).append((str(result), tag))
    captions = [""] * len(vertices)
    for i, results in owners.items():
        label, ids = features["label"][i], _ids(results)
        if label == REGION_LABEL:
            captions[i] = ids
        elif len(results) == 1 and label:
            captions[i] = _with_tag(f"{results[0][0]}: {label}", results[0][1])
        elif label:  # a shape that the user added has no label, and no caption
            captions[i] = f"{ids}: {label}"
    return {**features, "caption": np.asarray(captions, dtype=object)}


def _ids(results: Sequence[tuple[str, str]]) -> str:
    """Numbers of answers; many are counted, and that some may not be relied on is said once."""
    if len(results) <= MOST_IDS and len({tag for _, tag in results}) == 1:
        return _with_tag(", ".join(number for number, _ in results), results[0][1])
    if len(results) <= MOST_IDS:
        return ", ".join(_with_tag(*one) for one in results)
    doubted = any(tag == TAGS["none"] for _, tag in results)
    some = f" (some {TAGS['none']})" if doubted else ""
    return f"{len(results):,} answers{some}"


def _tag(level: Any) -> str:
    """Of a value of the feature ``reliability``; a user may have written anything there."""
    return next((tag for one, tag in TAGS.items() if one == level), "")


def _with_tag(words: str, tag: str) -> str:
    """Words with what they are worth: ``2: tumour?``, ``2: tumour (unreliable)``."""
    return f"{words} ({tag})" if tag.isalpha() else f"{words}{tag}"


def box_color(level: Level, place: int) -> str:
    """Edge of a box of the label at a place; grey where it may not be relied on."""
    return GREY if level == "none" else BOX_COLORS[place % len(BOX_COLORS)]


@dataclass
class _Marks:
    """Shapes in the making, one entry of each list per shape."""

    vertices: list[NDArray[np.float64]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    colors: list[str] = field(default_factory=list)
    faces: list[str] = field(default_factory=list)
    widths: list[float] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    results: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    assessed: list[Reliability] = field(default_factory=list)

    def add(self, result_id: int, result: Result) -> None:
        """Append the region outline and every detection of a result."""
        detections, level = shown_detections(result), result.reliability.level
        names = list(dict.fromkeys([*result.query.options, *(d.label for d in detections)]))
        colors = {name: box_color(level, i) for i, name in enumerate(names)}
        outline = () if result.request is None else result.request.outline
        region = slide_to_data(outline) if outline else box_to_data(result.region.box)
        shapes = [(REGION_LABEL, region, REGION_COLOR)]
        shapes += [(d.label, box_to_data(d.box), colors[d.label]) for d in detections]
        # line widths are in level-0 pixels: two to three pixels of a screen that shows the region
        width = max(result.region.width, result.region.height) / 250
        self.kinds += ["polygon" if outline else "rectangle", *["rectangle"] * len(detections)]
        for label, vertices, color in shapes:
            self.vertices.append(vertices)
            self.colors.append(color)
            self.faces.append(VEIL if color == GREY else CLEAR)
            self.widths.append(width)
            self.labels.append(label)
            self.results.append(result_id)
            self.tokens.append(result.tokens.spent)
            self.assessed.append(result.reliability)

    def features(self) -> dict[str, Any]:
        """Columns of the feature table."""
        return {
            "label": np.asarray(self.labels, dtype=object),
            "result": np.asarray(self.results, dtype=int),
            "tokens": np.asarray(self.tokens, dtype=int),
            LEVEL_KEY: np.asarray([one.level for one in self.assessed], dtype=object),
            REASONS_KEY: np.asarray([joined_reasons(one) for one in self.assessed], dtype=object),
            "color": np.asarray(self.colors, dtype=object),
        }

"""Lesions of a slide run: the most confident as shapes, all of them as outlines in a picture."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import LEVEL_KEY, REASONS_KEY, joined_reasons
from napari_pathreason.slide_run import Lesion, RunPlan
from napari_pathreason.types import Result

from ._box_picture import COLOURS, BoxPicture
from ._frame import box_to_data, placement
from ._layers import PREVIEW_KEY
from ._overlay import (
    BOX_COLORS,
    CLEAR,
    GREY,
    OVERLAY_KEY,
    REGION_COLOR,
    RESULTS_KEY,
    VEIL,
    box_color,
)

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Shapes

MOST_BOXES = 1000
"""Boxes that are shapes, the most confident: napari makes one in 0.5 ms and changes one in 10 ms
of so many. The others are outlines of `all_lesions_layer`; all are in the files."""
A_STEP = 0.012
"""Seconds that a step may compute; napari paints for about as long behind it."""
LEAST, MOST = 20, 200
"""Boxes of a step."""
RESULT = 1
"""Number of the run's result among those that the writers save."""
NOTHING = (0.0, 0.0, 0.0, 0.0)
OTHER, UNRELIABLE = len(BOX_COLORS), len(BOX_COLORS) + 1
"""Colours behind those of the labels that are looked for."""


def most_confident(lesions: Sequence[Lesion], most: int = MOST_BOXES) -> list[Lesion]:
    """At most so many lesions, guesses last, by confidence; one without counts as certain."""

    def key(one: Lesion) -> tuple[bool, float]:
        confidence = one.detection.confidence
        return one.reliability.level != "none", 1.0 if confidence is None else confidence

    return sorted(lesions, key=key, reverse=True)[:most]


def box_layer_attributes(source: Image) -> dict[str, Any]:
    """Attributes of an empty Shapes layer for the lesions of a slide."""
    return {
        **placement(source),
        "name": f"lesions: {source.name}",
        "face_color": "transparent",
        "opacity": 1.0,
        "metadata": {OVERLAY_KEY: True},
    }


class BoxLayer:
    """Boxes on a Shapes layer, brought in line with the lesions step by step.

    Parameters
    ----------
    layer : napari.layers.Shapes
        As `box_layer_attributes` makes it; empty.
    """

    def __init__(self, layer: Shapes) -> None:
        self._layer = layer
        self._boxed: list[Lesion] = []
        self._wanted: Sequence[Lesion] = ()
        self._gone: set[int] = set()
        self._missing: list[Lesion] = []
        self._at_once = LEAST

    @property
    def changed(self) -> bool:
        """Whether the user has added or deleted shapes: the layer is theirs then."""
        return len(self._layer.data) != len(self._boxed)

    def step(self, wanted: Sequence[Lesion], plan: RunPlan) -> bool:
        """Take away what is no lesion any more, else draw some that are missing.

        Parameters
        ----------
        wanted : sequence of Lesion
            What the layer is to show; a sequence that is not changed afterwards.
        plan : RunPlan
            Of their run.

        Returns
        -------
        bool
            Whether anything was changed; call again until it is not.
        """
        if self.changed:
            return False
        if wanted is not self._wanted and wanted != self._wanted:
            boxed, listed = set(self._boxed), set(wanted)
            self._gone = {index for index, one in enumerate(self._boxed) if one not in listed}
            self._missing = [one for one in wanted if one not in boxed]
        self._wanted = wanted
        if self._gone:
            self._layer.selected_data = self._gone
            self._layer.remove_selected()
            self._boxed = [one for i, one in enumerate(self._boxed) if i not in self._gone]
            self._gone = set()
            self._set_features()
        elif self._missing:
            began = time.thread_time()  # what others compute meanwhile does not count
            batch = self._missing[: self._at_once]
            self._missing = self._missing[self._at_once :]
            # the thumbnail takes as long as forty boxes: only the last step draws it
            with self._layer.block_thumbnail_update() if self._missing else nullcontext():
                self._add(batch, plan)
            share = min(A_STEP / max(time.thread_time() - began, 1e-6), 2)
            self._at_once = min(max(round(len(batch) * share), LEAST), MOST)
        else:
            return False
        return True

    def show(self, lesion: Lesion, plan: RunPlan) -> int:
        """Draw a lesion beyond the most confident until those change; the index of its shape."""
        if lesion not in self._boxed:
            self._add([lesion], plan)
            self._missing = [one for one in self._missing if one != lesion]
        return self._boxed.index(lesion)

    def _add(self, lesions: Sequence[Lesion], plan: RunPlan) -> None:
        self._layer.add_rectangles(
            [box_to_data(one.detection.box) for one in lesions],
            edge_color=[self._colour(one, plan) for one in lesions],
            face_color=[VEIL if one.reliability.level == "none" else CLEAR for one in lesions],
            # level-0 pixels: two to three pixels of a screen that shows a few tiles
            edge_width=max(plan.tiles[0].region.width, plan.tiles[0].region.height) / 100,
        )
        self._layer.selected_data = set()
        self._boxed += lesions
        self._set_features()

    def _set_features(self) -> None:
        reasons = [joined_reasons(one.reliability) for one in self._boxed]
        self._layer.features = {
            **_features(self._boxed),
            REASONS_KEY: np.asarray(reasons, object),
            "result": np.full(len(self._boxed), RESULT),
        }

    def _colour(self, lesion: Lesion, plan: RunPlan) -> str:
        """Of its label; grey where it may not be relied on."""
        names, label = plan.settings.options, lesion.detection.label
        if label in names or lesion.reliability.level == "none":
            return box_color(lesion.reliability.level, names.index(label) if label in names else 0)
        return REGION_COLOR

    def finish(self, result: Result) -> None:
        """Let napari's Save dialog write the boxes with what the run says of them."""
        self._layer.metadata[RESULTS_KEY] = {RESULT: result}


@dataclass(frozen=True, slots=True, eq=False)
class AllLesions:
    """Boxes as a picture, and the features of each; made in a worker.

    Parameters
    ----------
    lesions : sequence of Lesion
    picture : BoxPicture
        Of their boxes, in their order.
    features : dict of str to array
        Columns ``index`` (the value of a pixel), ``label``, ``reliability``, ``confidence`` and
        ``tiles``; two rows for each lesion, as a box has two values.
    """

    lesions: Sequence[Lesion]
    picture: BoxPicture
    features: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, lesions: Sequence[Lesion], plan: RunPlan) -> AllLesions:
        """All lesions of a run, the coarse levels drawn; 100,000 take a second."""
        names = {name: i % len(BOX_COLORS) for i, name in enumerate(plan.settings.options)}
        picture = BoxPicture(
            (plan.slide.width, plan.slide.height),
            np.asarray([one.detection.box.corners for one in lesions], np.float64),
            np.asarray(
                [
                    UNRELIABLE
                    if one.reliability.level == "none"
                    else names.get(one.detection.label, OTHER)
                    for one in lesions
                ],
                np.int64,
            ),
        )
        picture.prepare()
        columns = _features(lesions)
        twice = {name: np.concatenate([values, values]) for name, values in columns.items()}
        index = np.concatenate([picture.outlines, picture.insides])
        return cls(lesions, picture, {"index": index, **twice})


def all_lesions_layer(source: Image, everything: AllLesions) -> Labels:
    """Labels layer of all lesions over their slide; it cannot be painted on.

    It has no features yet: of so many they take longer than the layer.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    everything : AllLesions
    """
    from napari.layers import Labels
    from napari.utils import CyclicLabelColormap
    from napari.utils.colormaps.standardize_color import transform_color

    colours = [*BOX_COLORS, REGION_COLOR, *[GREY] * (COLOURS - UNRELIABLE)]
    lines = [tuple(float(v) for v in rgba) for rgba in transform_color(colours)]
    with warnings.catch_warnings():
        # napari first makes random colours, of which skimage says that it clips some
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        return Labels(
            everything.picture.levels,
            multiscale=True,
            **placement(source),
            name=f"all lesions: {source.name}",
            colormap=CyclicLabelColormap(colors=[NOTHING, *lines, *[NOTHING] * COLOURS]),
            opacity=1.0,
            metadata={PREVIEW_KEY: True},
        )


def _features(lesions: Sequence[Lesion]) -> dict[str, Any]:
    """Columns ``label``, ``reliability``, ``confidence`` and ``tiles`` of a feature table."""
    confidences = [one.detection.confidence for one in lesions]
    return {
        "label": np.asarray([one.detection.label for one in lesions], object),
        LEVEL_KEY: np.asarray([one.reliability.level for one in lesions], object),
        "confidence": np.asarray([np.nan if one is None else one for one in confidences], float),
        "tiles": np.asarray([len(one.tiles) for one in lesions], int),
    }

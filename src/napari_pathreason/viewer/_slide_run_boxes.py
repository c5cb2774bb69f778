"""Lesions of a slide run as one Shapes layer that follows them in small steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_pathreason.exports import LEVEL_KEY, REASONS_KEY, joined_reasons
from napari_pathreason.slide_run import Lesion, RunPlan
from napari_pathreason.types import Result

from ._frame import box_to_data
from ._overlay import (
    CLEAR,
    OVERLAY_KEY,
    REGION_COLOR,
    RESULTS_KEY,
    VEIL,
    box_color,
    placement,
)

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

MOST_BOXES = 1000
"""Boxes that are shapes, the most confident: napari makes one in 0.5 ms and changes one in 10 ms
of so many. The others are outlines of `all_lesions_layer`; all are in the files."""
A_STEP = 0.012
"""Seconds that a step may compute; napari paints for about as long behind it."""
LEAST, MOST = 20, 200
"""Boxes of a step."""
RESULT = 1
"""Number of the run's result among those that the writers save."""


class BoxLayer:
    """Boxes on a Shapes layer, brought in line with the lesions step by step.

    Parameters
    ----------
    layer : napari.layers.Shapes
        As `box_layer_attributes` makes it; empty.
    """

    def __init__(self, layer: Shapes) -> None:
        self._layer = layer
        self._drawn: list[Lesion] = []
        self._wanted: Sequence[Lesion] = ()
        self._gone: set[int] = set()
        self._missing: list[Lesion] = []
        self._at_once = LEAST

    @property
    def changed(self) -> bool:
        """Whether the user has added or deleted shapes: the layer is theirs then."""
        return len(self._layer.data) != len(self._drawn)

    def step(self, wanted: Sequence[Lesion], plan: RunPlan) -> bool:
        """Take away what is no lesion any more, else draw some that are missing.

        Parameters
        ----------
        wanted : sequence of Lesion
            Not to be changed: another object is given where they are others.
        plan : RunPlan
            Of the run that found them.

        Returns
        -------
        bool
            Whether anything was changed; call again until it is not.
        """
        if self.changed:
            return False
        if wanted is not self._wanted:
            self._compare(wanted)
        if self._gone:
            self._layer.selected_data = self._gone
            self._layer.remove_selected()
            self._drawn = [one for i, one in enumerate(self._drawn) if i not in self._gone]
            self._gone = set()
            self._layer.features = _features(self._drawn)
        elif self._missing:
            began = time.thread_time()  # what others compute meanwhile does not count
            now = self._missing[: self._at_once]
            self._missing = self._missing[self._at_once :]
            # the thumbnail takes as long as forty boxes: only the last step draws it
            with self._layer.block_thumbnail_update() if self._missing else nullcontext():
                self._add(now, plan)
            share = min(A_STEP / max(time.thread_time() - began, 1e-6), 2)
            self._at_once = min(max(round(len(now) * share), LEAST), MOST)
        else:
            return False
        return True

    def show(self, lesion: Lesion, plan: RunPlan) -> int:
        """Draw a lesion beyond the most confident until those change; the index of its shape."""
        if lesion not in self._drawn:
            self._add([lesion], plan)
            self._missing = [one for one in self._missing if one != lesion]
        return self._drawn.index(lesion)

    def _add(self, lesions: Sequence[Lesion], plan: RunPlan) -> None:
        self._layer.add_rectangles(
            [box_to_data(one.found.box) for one in lesions],
            edge_color=[_colour(one, plan) for one in lesions],
            face_color=[VEIL if one.reliability.level == "none" else CLEAR for one in lesions],
            edge_width=line_width(plan),
        )
        self._layer.selected_data = set()
        self._drawn += lesions
        self._layer.features = _features(self._drawn)

    def _compare(self, wanted: Sequence[Lesion]) -> None:
        here, there = set(self._drawn), set(wanted)
        self._gone = {index for index, one in enumerate(self._drawn) if one not in there}
        self._missing = [one for one in wanted if one not in here]
        self._wanted = wanted

    def finish(self, result: Result) -> None:
        """Let napari's Save dialog write the boxes with what the run says of them."""
        self._layer.metadata[RESULTS_KEY] = {RESULT: result}


def most_confident(lesions: Sequence[Lesion]) -> list[Lesion]:
    """At most `MOST_BOXES` lesions, guesses last, by confidence; none told counts as sure."""

    def confident(one: Lesion) -> tuple[bool, float]:
        told = one.found.confidence
        return one.reliability.level != "none", 1.0 if told is None else told

    return sorted(lesions, key=confident, reverse=True)[:MOST_BOXES]


def box_layer_attributes(source: Image) -> dict[str, Any]:
    """Attributes of an empty Shapes layer for the lesions of a slide."""
    return {
        **placement(source),
        "name": f"lesions: {source.name}",
        "face_color": "transparent",
        "opacity": 1.0,
        "metadata": {OVERLAY_KEY: True},
    }


def line_width(plan: RunPlan) -> float:
    """Of a box, level-0 pixels: two to three pixels of a screen that shows a few tiles."""
    return max(plan.tiles[0].region.width, plan.tiles[0].region.height) / 100


def _features(lesions: Sequence[Lesion]) -> dict[str, Any]:
    confident = [one.found.confidence for one in lesions]
    return {
        "label": np.asarray([one.found.label for one in lesions], dtype=object),
        LEVEL_KEY: np.asarray([one.reliability.level for one in lesions], dtype=object),
        REASONS_KEY: np.asarray([joined_reasons(one.reliability) for one in lesions], dtype=object),
        "confidence": np.asarray(
            [np.nan if one is None else one for one in confident], dtype=float
        ),
        "tiles": np.asarray([len(one.tiles) for one in lesions], dtype=int),
        "result": np.full(len(lesions), RESULT),
    }


def _colour(lesion: Lesion, plan: RunPlan) -> str:
    """Of its label; grey where it may not be relied on."""
    names, label = plan.settings.lesions, lesion.found.label
    if label in names or lesion.reliability.level == "none":
        return box_color(lesion.reliability.level, names.index(label) if label in names else 0)
    return REGION_COLOR

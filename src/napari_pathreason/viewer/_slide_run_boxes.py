"""Lesions of a slide run as one Shapes layer that follows them in small steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_pathreason._types import Result
from napari_pathreason.slide_run import Lesion, Plan

from ._frame import box_to_data
from ._overlay import BOX_COLORS, OVERLAY_KEY, REGION_COLOR, RESULTS_KEY, placement

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

MOST_BOXES = 3000
"""Boxes shown, the surest ones: napari takes 0.14 ms to make a shape and 0.03 s to change one of
so many. All of them are in the files."""
AT_ONCE = 60
"""Boxes made in one step, about 0.02 s."""
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

    @property
    def changed(self) -> bool:
        """Whether the user has added or deleted shapes: the layer is theirs then."""
        return len(self._layer.data) != len(self._drawn)

    def step(self, lesions: Sequence[Lesion], plan: Plan) -> bool:
        """Take away what is no lesion any more, else draw some that are missing.

        Parameters
        ----------
        lesions : sequence of Lesion
        plan : Plan
            Of the run that found them.

        Returns
        -------
        bool
            Whether anything was changed; call again until it is not.
        """
        if self.changed:
            return False
        wanted = surest(lesions)
        here, there = set(self._drawn), set(wanted)
        gone = {index for index, one in enumerate(self._drawn) if one not in there}
        missing = [one for one in wanted if one not in here][:AT_ONCE]
        if gone:
            self._layer.selected_data = gone
            self._layer.remove_selected()
            self._drawn = [one for index, one in enumerate(self._drawn) if index not in gone]
        elif missing:
            self._layer.add_rectangles(
                [box_to_data(one.found.box) for one in missing],
                edge_color=[_colour(one.found.label, plan) for one in missing],
                face_color="transparent",
                edge_width=line_width(plan),
            )
            self._layer.selected_data = set()
            self._drawn += missing
        else:
            return False
        self._layer.features = _features(self._drawn)
        return True

    def finish(self, result: Result) -> None:
        """Let napari's Save dialog write the boxes with what the run says of them."""
        self._layer.metadata[RESULTS_KEY] = {RESULT: result}


def surest(lesions: Sequence[Lesion]) -> list[Lesion]:
    """At most `MOST_BOXES` lesions, by confidence; one that tells none counts as sure."""

    def sure(one: Lesion) -> float:
        return 1.0 if one.found.confidence is None else one.found.confidence

    return sorted(lesions, key=sure, reverse=True)[:MOST_BOXES]


def box_layer_attributes(source: Image) -> dict[str, Any]:
    """Attributes of an empty Shapes layer for the lesions of a slide."""
    return {
        **placement(source),
        "name": f"lesions: {source.name}",
        "face_color": "transparent",
        "opacity": 1.0,
        "metadata": {OVERLAY_KEY: True},
    }


def line_width(plan: Plan) -> float:
    """Of a box, level-0 pixels: two to three pixels of a screen that shows a few tiles."""
    return max(plan.tiles[0].region.width, plan.tiles[0].region.height) / 100


def _features(lesions: Sequence[Lesion]) -> dict[str, Any]:
    sure = [one.found.confidence for one in lesions]
    return {
        "label": np.asarray([one.found.label for one in lesions], dtype=object),
        "confidence": np.asarray([np.nan if one is None else one for one in sure], dtype=float),
        "tiles": np.asarray([len(one.tiles) for one in lesions], dtype=int),
        "result": np.full(len(lesions), RESULT),
    }


def _colour(label: str, plan: Plan) -> str:
    names = plan.settings.lesions
    return BOX_COLORS[names.index(label) % len(BOX_COLORS)] if label in names else REGION_COLOR

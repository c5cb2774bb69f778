"""All lesions of a large run as one layer, whose pixels are drawn where one looks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import LEVEL_KEY
from napari_pathreason.slide_run import Lesion, RunPlan

from ._box_picture import COLOURS, BoxPicture
from ._overlay import BOX_COLORS, GREY, REGION_COLOR, placement
from ._preview import PREVIEW_KEY

if TYPE_CHECKING:
    from napari.layers import Image, Labels

NOTHING = (0.0, 0.0, 0.0, 0.0)
OTHER, UNRELIABLE = len(BOX_COLORS), len(BOX_COLORS) + 1
"""Colours behind those of the labels that are looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class AllLesions:
    """Boxes as a picture, and what napari tells of each; made in a worker.

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
        found = [one.found for one in lesions]
        names = {name: i % len(BOX_COLORS) for i, name in enumerate(plan.settings.lesions)}
        picture = BoxPicture(
            (plan.slide.width, plan.slide.height),
            np.asarray([one.box.corners for one in found], np.float64),
            np.asarray(
                [
                    UNRELIABLE
                    if one.reliability.level == "none"
                    else names.get(one.found.label, OTHER)
                    for one in lesions
                ],
                np.int64,
            ),
        )
        picture.prepare()
        confident = [np.nan if one.confidence is None else one.confidence for one in found]
        columns: dict[str, Any] = {
            "label": np.asarray([one.label for one in found], object),
            LEVEL_KEY: np.asarray([one.reliability.level for one in lesions], object),
            "confidence": np.asarray(confident, float),
            "tiles": np.asarray([len(one.tiles) for one in lesions], int),
        }
        twice = {name: np.concatenate([values, values]) for name, values in columns.items()}
        index = np.concatenate([picture.outlines, picture.insides])
        return cls(lesions, picture, {"index": index, **twice})


def all_lesions_layer(source: Image, shown: AllLesions) -> Labels:
    """Labels layer of all lesions over their slide; it cannot be painted on.

    It has no features yet: of so many they take longer than the layer.

    Parameters
    ----------
    source : napari.layers.Image
        The slide; its placement and units are carried over.
    shown : AllLesions
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
            shown.picture.levels,
            multiscale=True,
            **placement(source),
            name=f"all lesions: {source.name}",
            colormap=CyclicLabelColormap(colors=[NOTHING, *lines, *[NOTHING] * COLOURS]),
            opacity=1.0,
            metadata={PREVIEW_KEY: True},
        )

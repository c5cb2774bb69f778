"""The class map of a slide run: each tile in the colour of its class, paler where uncertain."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.exports import LEVEL_KEY
from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import (
    NO_CLASS,
    NO_CLASS_COLOUR,
    ClassShare,
    ClassTally,
    RunPlan,
    TileRecord,
    class_colours,
    map_shape,
)

from ._frame import laid_over
from ._layers import PREVIEW_KEY
from ._words import reliability_words

if TYPE_CHECKING:
    from napari.layers import Image, Labels

CLEAR = (0.0, 0.0, 0.0, 0.0)
RELIABLE, UNCERTAIN, NONE = 0.6, 0.3, 0.5
"""How opaque a tile is, by what its answer is worth."""


class ClassMap:
    """Tiles as a picture of one pixel a tile, over the whole slide.

    Pixels hold the tile and, for a cycle of colours, its style: clear, the classes, the classes
    where they are uncertain, and no class.

    Parameters
    ----------
    plan : RunPlan
        Of a run whose tiles have classes.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.box = Box(0, 0, plan.slide.width, plan.slide.height)
        self._count = len(plan.classes)
        self._tally = ClassTally(plan)
        self._words = np.full(len(plan.tiles), "waiting", object)
        self._levels = np.full(len(plan.tiles), "", object)
        for tile in plan.tiles:
            if not tile.is_read(plan.settings.min_tissue):
                self._words[tile.index] = "not asked: almost no tissue"

    def take(self, record: TileRecord) -> None:
        """Note a tile that is done."""
        self._tally.add(record)
        answer = f"{record.answer}. " if record.reliability.level != "none" else ""
        self._words[record.index] = f"{answer}{reliability_words(record.reliability)}"
        self._levels[record.index] = record.reliability.level

    @property
    def names(self) -> tuple[str, ...]:
        """The classes, and what tiles without one are called."""
        return (*self.plan.classes, NO_CLASS)

    def shares(self) -> tuple[ClassShare, ...]:
        """How much of the slide is of each class by now."""
        return self._tally.shares()

    def labels(self) -> NDArray[np.int32]:
        """Values of the pixels, int32 (rows, columns)."""
        numbers = self._tally.numbers.astype(np.int32)
        paler = self._tally.uncertain & (numbers > 0) & (numbers <= self._count)
        none = numbers == self._count + 1
        styles = np.where(none, 2 * self._count + 1, numbers + self._count * paler)
        tiles = np.arange(len(numbers), dtype=np.int32)
        return (tiles * self._styles + styles + 1).astype(np.int32).reshape(map_shape(self.plan))

    def features(self) -> dict[str, Any]:
        """Feature table of the pixels, which napari shows under the cursor."""
        names = np.array(["", *self.names], object)
        return {
            "index": self.labels().ravel(),
            "tile": np.arange(len(self._words)),
            "class": names[self._tally.numbers],
            LEVEL_KEY: self._levels.copy(),
            "why": self._words.copy(),
        }

    @property
    def _styles(self) -> int:
        return 2 * self._count + 2

    def colours(self) -> list[tuple[float, ...]]:
        """Colour of each style, RGBA from 0 to 1."""
        classes = class_shades(self.plan.classes)
        return [
            CLEAR,
            *((*rgb, RELIABLE) for rgb in classes[:-1]),
            *((*rgb, UNCERTAIN) for rgb in classes[:-1]),
            (*classes[-1], NONE),
        ]


def class_shades(classes: Sequence[str]) -> list[tuple[float, float, float]]:
    """Red, green and blue from 0 to 1 of each class, and of tiles without one."""
    return [
        (red / 255, green / 255, blue / 255)
        for red, green, blue in (*class_colours(classes), NO_CLASS_COLOUR)
    ]


def class_layer(source: Image, shown: ClassMap) -> Labels:
    """Labels layer of a class map, over its slide; it cannot be painted on."""
    from napari.layers import Labels

    values = shown.labels()
    with warnings.catch_warnings():
        # napari first makes random colours, of which skimage says that it clips some
        warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")
        layer = Labels(
            values,
            **laid_over(source, shown.box, (values.shape[1], values.shape[0])),
            name=f"class map: {source.name}",
            features=shown.features(),
            opacity=1.0,
            metadata={PREVIEW_KEY: True},  # no slide to be asked about
        )
    colour_classes(layer, shown)
    layer.editable = False
    return layer


def colour_classes(layer: Labels, shown: ClassMap) -> None:
    """Give a class map the colours of its classes."""
    from napari.utils import CyclicLabelColormap

    layer.colormap = CyclicLabelColormap(colors=[CLEAR, *shown.colours()])

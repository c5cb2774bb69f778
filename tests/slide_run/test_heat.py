import numpy as np
import pytest

from napari_pathreason.geometry import Box, Region
from napari_pathreason.slide_run import HeatMap
from napari_pathreason.types import Detection, SlideInfo

SLIDE = SlideInfo("s", 1600, 800, (0.5, 0.5), "file")


def test_tiles_that_disagree_are_averaged():
    heat = HeatMap(SLIDE, (800, 800))
    assert heat.shape == (8, 16)
    assert heat.cell == (100, 100)
    heat.add(Region(0, 0, 800, 800), [Detection("t", Box(600, 0, 100, 800), 0.8)])
    heat.add(Region(400, 0, 800, 800), [])
    wanted = np.zeros((8, 16))
    wanted[:, 6] = 0.4
    assert heat.values() == pytest.approx(wanted)


def test_the_surest_box_of_a_tile_counts_and_untold_is_one():
    heat = HeatMap(SLIDE, (800, 800))
    boxes = [Detection("t", Box(0, 0, 800, 200), c) for c in (0.3, 0.6)]
    heat.add(Region(0, 0, 800, 800), [*boxes, Detection("t", Box(0, 400, 100, 100))])
    values = heat.values()
    assert values[0, 0] == pytest.approx(0.6)
    assert values[4, 0] == 1
    assert values[:, 8:].max() == 0


def test_a_box_below_a_cell_is_not_lost():
    heat = HeatMap(SLIDE, (800, 800))
    heat.add(Region(0, 0, 800, 800), [Detection("t", Box(110, 210, 3, 3))])
    assert np.argwhere(heat.values()).tolist() == [[2, 1]]


def test_memory_does_not_grow_with_the_slide():
    huge = HeatMap(SlideInfo("s", 2_000_000, 1_000_000), (100, 100))
    assert max(huge.shape) <= 4096

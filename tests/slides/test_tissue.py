import numpy as np
import pytest

from napari_pathreason.geometry import Region
from napari_pathreason.slides import slide_from_arrays, tissue_mask

GLASS, PINK, INK = (243, 241, 244), (214, 130, 180), (30, 30, 30)


def slide(colour, background=GLASS, noise=0):
    """600 x 400 px; what is coloured lies in the right half, its upper part."""
    pixels = np.full((400, 600, 3), background, np.uint8)
    pixels[:200, 300:] = colour
    drawn = np.random.default_rng(0).integers(-noise, noise + 1, pixels.shape)
    return slide_from_arrays([np.clip(pixels + drawn, 0, 255).astype(np.uint8)], "slide")


@pytest.mark.parametrize("colour", [PINK, INK])
def test_tissue_is_told_from_glass(colour):
    mask = tissue_mask(slide(colour, noise=3), (60, 40))
    assert mask.mask.shape == (40, 60)
    assert mask.share(Region(310, 10, 280, 180)) == 1
    assert mask.share(Region(0, 0, 280, 400)) == 0
    assert mask.share(Region(300, 0, 300, 400)) == pytest.approx(0.5, abs=0.05)
    assert mask.pixels_decoded > 0


@pytest.mark.parametrize(("colour", "share"), [(GLASS, 0), (PINK, 1)])
def test_a_slide_of_one_kind_is_not_split(colour, share):
    mask = tissue_mask(slide(colour, background=colour, noise=4), (60, 40))
    assert mask.share(Region(0, 0, 600, 400)) == share


def test_a_region_below_a_mask_pixel_takes_that_one():
    mask = tissue_mask(slide(PINK), (6, 4))
    assert mask.share(Region(599, 0, 1, 1)) == 1
    assert mask.share(Region(599, 399, 1, 1)) == 0

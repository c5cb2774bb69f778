"""The colour of a slide where there is nothing."""

import numpy as np
import pytest

from napari_pathreason.slides import background, slide_from_arrays

TISSUE = (190, 100, 170)


def slide_of(ground, tissue=TISSUE, share=0.5):
    pixels = np.full((400, 600, 3), ground, np.uint8)
    pixels[:, : int(600 * share)] = tissue
    return slide_from_arrays([pixels], "any.png")


@pytest.mark.parametrize("ground", [(255, 255, 255), (243, 240, 245), (236, 238, 236)])
def test_it_is_the_colour_of_glass(ground):
    assert background(slide_of(ground)).colour == ground


def test_a_slide_full_of_tissue_has_white():
    assert background(slide_of((255, 255, 255), share=1)).colour == (255, 255, 255)


def test_padding_is_no_glass():
    pixels = np.full((400, 600, 3), (243, 240, 245), np.uint8)
    pixels[:, :250] = 0
    pixels[100:300, 350:500] = TISSUE
    assert background(slide_from_arrays([pixels], "any.png")).colour == (243, 240, 245)


def test_fluorescence_has_its_dark_ground():
    assert background(slide_of((4, 6, 9), (40, 90, 160), 0.3)).colour == (4, 6, 9)


def test_it_is_looked_for_once():
    slide = slide_of((243, 240, 245))
    first, again = background(slide), background(slide)
    assert first.colour == again.colour
    assert first.pixels_decoded > 0
    assert again.pixels_decoded == 0

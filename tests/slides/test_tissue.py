from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image, ImageFilter

from napari_pathreason import slides
from napari_pathreason.geometry import Region
from napari_pathreason.slides import TissueMask, slide_from_arrays, tissue_mask

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


SAMPLE = Path(slides.__file__).parents[1] / "sample_data/CMU-1-Small-Region.svs"
SIDE = 512


@pytest.fixture(scope="module")
def specimen() -> np.ndarray:
    """The sample slide at an eighth of its size, its glass cut away to white."""
    with slides.open_slide(SAMPLE) as source:
        region = Region(0, 0, source.width, source.height)
        pixels = source.read_region(region, (277, 370)).pixels
    pixels[~slides.is_tissue(pixels)] = 255
    return pixels


def on_background(specimen: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The specimen in the middle of a slide, and where its tissue is."""
    rng = np.random.default_rng(0)
    level = {"white": 255, "black": 0, "grey": 190, "dark grey": 140}.get(kind, 243)
    pixels = np.full((SIDE, SIDE, 3), level, np.float64)
    rows, columns = slice(60, 60 + specimen.shape[0]), slice(100, 100 + specimen.shape[1])
    tissue = np.zeros((SIDE, SIDE), bool)
    tissue[rows, columns] = slides.is_tissue(specimen)
    lit = specimen if kind == "black" else specimen * (level / 255)
    pixels[rows, columns] = lit
    if kind == "noisy":
        pixels += rng.normal(0, 12, pixels.shape)
    if kind == "black and noisy":
        pixels[:, :50] = 0
        pixels += rng.normal(0, 6, pixels.shape)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), tissue


@pytest.mark.parametrize(
    "kind", ["white", "black", "grey", "dark grey", "noisy", "black and noisy"]
)
@pytest.mark.parametrize("zoom", [1, 4])
def test_the_sample_on_every_background(specimen: np.ndarray, kind: str, zoom: int):
    pixels, tissue = on_background(specimen, kind)
    with slide_from_arrays([pixels], "slide") as one:
        mask = tissue_mask(one, (SIDE // zoom, SIDE // zoom))
    found = np.repeat(np.repeat(mask.mask, zoom, 0), zoom, 1)
    # what is far from tissue, as thin edges are a matter of taste
    grown = np.asarray(Image.fromarray(tissue).convert("L").filter(ImageFilter.MaxFilter(11))) > 0
    deep = np.asarray(Image.fromarray(tissue).convert("L").filter(ImageFilter.MinFilter(5))) > 0
    assert found[~grown].mean() < 0.01
    assert found[deep].mean() > 0.9
    assert mask.unknown == 0


@pytest.mark.parametrize("level", [0, 90, 140, 190, 230, 255])
@pytest.mark.parametrize("noise", [0, 8])
def test_glass_alone_is_no_tissue(level: int, noise: int):
    drawn = np.random.default_rng(0).normal(level, noise, (400, 600, 3))
    pixels = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    with slide_from_arrays([pixels], "slide") as one:
        mask = tissue_mask(one, (150, 100))
    assert mask.mask.mean() < 0.01


def test_black_is_no_tissue_of_a_picture_either():
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:5] = PINK
    assert slides.tissue_share(pixels) == 0.5


def test_a_black_spot_within_a_picture_is_something():
    pixels = np.full((10, 10, 3), 255, np.uint8)
    pixels[3:6, 3:8] = 0
    assert slides.tissue_share(pixels) == 0.15


@pytest.mark.parametrize(("colour", "said"), [((30, 60, 180), 1), ((20, 130, 60), 1), (PINK, 0)])
def test_pen_marks_are_said(colour, said: int):
    assert len(tissue_mask(slide(colour), (60, 40)).notes) == said


def test_the_sample_has_no_pen_marks():
    with slides.open_slide(SAMPLE) as one:
        assert tissue_mask(one, (277, 370)).notes == ()


def test_the_share_within_an_outline():
    half = np.zeros((100, 100), bool)
    half[:50] = True
    mask, whole = TissueMask(half, 1000, 1000), Region(0, 0, 1000, 1000)
    assert mask.share(whole) == 0.5
    assert mask.share(whole, ((0, 0), (1000, 0), (500, 500))) == pytest.approx(1, abs=0.01)
    assert mask.share(Region(10, 700, 2, 2), ((10, 700), (12, 700), (10, 702))) == 0


@given(st.integers(0, 980), st.integers(0, 980), st.integers(1, 400), st.integers(1, 400))
def test_an_outline_of_all_of_a_region_is_the_region(x, y, width, height):
    region = Region(x, y, min(width, 1000 - x), min(height, 1000 - y))
    chequers = np.add.outer(np.arange(53), np.arange(71)) % 3 == 0
    mask = TissueMask(chequers, 1000, 1000)
    far = ((-10, -10), (1010, -10), (1010, 1010), (-10, 1010))
    assert mask.share(region, far) == mask.share(region)

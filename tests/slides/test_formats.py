"""Every kind of file: pixels as its own library reads them, colours, and flat pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide
from tests.support import coded_pixels

WIDTH, HEIGHT = 300, 200
RGB = coded_pixels(np.arange(WIDTH) * 6.0, np.arange(HEIGHT) * 6.0)
GREY = RGB[..., 0]


def whole(slide: Slide) -> np.ndarray:
    image = slide.read_region(Region(0, 0, slide.width, slide.height), (slide.width, slide.height))
    assert image.unreadable == 0
    return image.pixels


def read(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        return whole(slide)


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif"])
def test_a_flat_picture_is_read_exactly(tmp_path: Path, suffix: str):
    path = tmp_path / f"flat{suffix}"
    Image.fromarray(RGB).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    np.testing.assert_array_equal(read(path), RGB)


def test_a_jpeg_is_what_pillow_decodes(tmp_path: Path):
    path = tmp_path / "photo.JPG"
    Image.fromarray(RGB).save(path, quality=80)
    np.testing.assert_array_equal(read(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_modes_of_png(tmp_path: Path, mode: str):
    path = tmp_path / "mode.png"
    picture = Image.fromarray(RGB)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(GREY))
    picture = picture.convert(mode)
    picture.save(path)
    over = Image.new("RGBA", picture.size, "white")
    over.alpha_composite(picture.convert("RGBA"))
    expected = np.asarray(over.convert("RGB")).astype(int)
    assert np.abs(read(path) - expected).max() <= 1


def test_sixteen_bits_are_stretched_and_say_so(tmp_path: Path):
    path = tmp_path / "deep.png"
    Image.fromarray(
        np.linspace(1000, 5000, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype("u2")
    ).save(path)
    with open_slide(path) as slide:
        pixels = whole(slide)
        assert any("16" in note for note in slide.notes)
        assert any("grey" in note for note in slide.notes)
    assert pixels[0, 0, 0] == 0
    assert pixels[-1, -1, 0] == 255
    assert (np.diff(pixels[..., 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (64, 64)},
        {"tile": (64, 64), "compression": "lzw", "predictor": True},
        {"tile": (64, 64), "bigtiff": True, "compression": "zlib"},
        {"tile": (64, 64), "planarconfig": "separate"},
        {"planarconfig": "separate"},
        {"rowsperstrip": 7},
        {"rowsperstrip": 7, "compression": "zlib"},
        {"rowsperstrip": HEIGHT, "byteorder": ">"},
    ],
    ids=str,
)
def test_layouts_of_tiff(tmp_path: Path, options: dict):
    path = tmp_path / "layout.tif"
    given = dict(options)
    outer = {key: given.pop(key) for key in ("bigtiff", "byteorder") if key in given}
    planes = given.get("planarconfig") == "separate"
    pixels = np.moveaxis(RGB, -1, 0) if planes else RGB
    tifffile.imwrite(path, pixels, photometric="rgb", **given, **outer)
    np.testing.assert_array_equal(read(path), RGB)
    with open_slide(path) as slide:
        part = slide.read_region(Region(37, 41, 90, 77), (90, 77))
        np.testing.assert_array_equal(part.pixels, RGB[41:118, 37:127])


@pytest.mark.parametrize("tile", [None, (64, 64)], ids=["strips", "tiles"])
class TestColours:
    """What a tag says of the colours holds for tiles and for strips."""

    def test_grey(self, tmp_path: Path, tile):
        tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", tile=tile)
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), grey(GREY))

    def test_inverted_grey(self, tmp_path: Path, tile):
        tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite", tile=tile)
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), grey(255 - GREY))

    def test_palette(self, tmp_path: Path, tile):
        table = np.random.default_rng(1).integers(0, 65536, (3, 256), dtype=np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=table, tile=tile)
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), (table >> 8).astype("u1").T[GREY])

    def test_alpha(self, tmp_path: Path, tile):
        pixels = np.dstack([RGB, np.where(GREY > 60, 255, 0).astype(np.uint8)])
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], tile=tile
        )
        expected = np.where((GREY > 60)[..., None], RGB, 255)
        np.testing.assert_array_equal(read(tmp_path / "a.tif"), expected)

    def test_sixteen_bits(self, tmp_path: Path, tile):
        tifffile.imwrite(tmp_path / "a.tif", RGB.astype("u2") * 100, photometric="rgb", tile=tile)
        pixels = read(tmp_path / "a.tif").astype(float)
        order = np.corrcoef(pixels[..., 0].ravel(), RGB[..., 0].ravel())[0, 1]
        assert order > 0.999
        assert pixels.max() == 255

    def test_inks_are_refused(self, tmp_path: Path, tile):
        pixels = np.dstack([RGB, GREY])
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="separated", tile=tile)
        with pytest.raises(SlideError, match="save it as RGB"):
            open_slide(tmp_path / "a.tif")

    def test_a_stack_is_refused(self, tmp_path: Path, tile):
        tifffile.imwrite(
            tmp_path / "a.tif", np.stack([GREY] * 5), photometric="minisblack", tile=tile
        )
        with pytest.raises(SlideError, match="plane"):
            open_slide(tmp_path / "a.tif")


def test_ome_tiff_with_channels_first(tmp_path: Path):
    path = tmp_path / "planes.ome.tif"
    pixels = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(
        path, pixels, metadata={"axes": "CYX"}, photometric="minisblack", tile=(64, 64)
    )
    np.testing.assert_array_equal(read(path), RGB)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_flat_picture_is_decoded_once_at_the_first_read(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    loads = []
    path = tmp_path / f"flat{suffix}"
    if suffix == ".png":
        Image.fromarray(RGB).save(path)
    else:  # in one strip that is too large to be decoded for a part of it
        tifffile.imwrite(path, RGB, photometric="rgb", rowsperstrip=HEIGHT)
        monkeypatch.setattr("napari_pathreason.slides._tiff.BLOCK", WIDTH * HEIGHT - 1)
    decoders = ((Image.Image, "convert"), (tifffile.TiffPageSeries, "asarray"))
    for owner, name in decoders:
        decode = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *given, decode=decode: loads.append(1) or decode(*given)
        )
    with open_slide(path) as slide:
        slide.display_levels()
        assert loads == []
        assert slide.level_sizes == ((WIDTH, HEIGHT),)
        np.testing.assert_array_equal(whole(slide), RGB)
        np.testing.assert_array_equal(whole(slide), RGB)
    assert loads == [1]

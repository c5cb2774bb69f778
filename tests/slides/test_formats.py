"""Every kind of file: pixels as its own library reads them, colours, and flat pictures."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_pathreason._errors import SlideError
from napari_pathreason._geometry import Region
from napari_pathreason.slides import Slide, coded_pixels, open_slide
from napari_pathreason.slides import _lazy as lazy
from napari_pathreason.slides._tiff import TiffSource

WIDTH, HEIGHT = 300, 200
RGB = coded_pixels(np.arange(WIDTH) * 6.0, np.arange(HEIGHT) * 6.0)
GREY = RGB[..., 0]
JPEG_2000 = Path(__file__).parents[2].parent / "shared/slides/tcga-cr-7395-01a-01-ts1.svs"


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
def test_a_flat_picture_is_decoded_at_the_first_read(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
):
    loads = []
    path = tmp_path / f"flat{suffix}"
    Image.fromarray(RGB.astype("u1")).save(path)
    getitem = lazy.LazyPicture.__getitem__
    monkeypatch.setattr(
        lazy.LazyPicture, "__getitem__", lambda self, key: loads.append(1) or getitem(self, key)
    )
    with open_slide(path) as slide:
        slide.display_levels()
        assert loads == []
        assert slide.level_sizes == ((WIDTH, HEIGHT),)
        np.testing.assert_array_equal(whole(slide), RGB)


def test_a_lazy_picture_is_loaded_once():
    loads = []
    picture = lazy.LazyPicture(RGB.shape, np.uint8, lambda: loads.append(1) or RGB)
    assert (picture[:5] == RGB[:5]).all()
    assert (picture[5:] == RGB[5:]).all()
    assert loads == [1]


def write_svs(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """Pages as Aperio writes them: base, thumbnail, coarser levels, label, macro."""
    base = np.asarray(Image.fromarray(RGB).resize((900, 600)))
    about = (
        "Aperio Image Library v11.2.1\r\n900x600 (256x256) JPEG/RGB Q=90|AppMag = 20|MPP = 0.4990"
    )
    options = {"compression": "jpeg", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        for index, size in enumerate(sizes):
            level = np.asarray(Image.fromarray(base).resize(size))
            writer.write(level, tile=(128, 128), description=about, **options)
            if index == 0:
                small = np.asarray(Image.fromarray(base).resize((90, 60)))
                writer.write(small, description=about, rowsperstrip=60, **options)
        for name, kind in (("label", 1), ("macro", 9)):
            secret = np.zeros((50, 80, 3), np.uint8)
            writer.write(
                secret,
                description=f"Aperio Image Library v11.2.1\r\n{name} 80x50",
                subfiletype=kind,
                rowsperstrip=50,
                **options,
            )
    return path


def test_the_label_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_svs(tmp_path / "small.svs", [(900, 600), (225, 150)])
    with tifffile.TiffFile(path) as tiff:
        assert {series.name for series in tiff.series} >= {"Baseline", "Label", "Macro"}
        native = {page.offset for level in tiff.series[0].levels for page in level.pages}
        others = [page for page in tiff.pages if page.offset not in native]
        hidden = {offset for page in others for offset in page.dataoffsets}
    assert len(hidden) == 3
    asked = set()
    readat = TiffSource._tile
    monkeypatch.setattr(
        TiffSource,
        "_tile",
        lambda self, level, index: (
            asked.add(self._pages[level].dataoffsets[index]) or readat(self, level, index)
        ),
    )
    monkeypatch.setattr(
        tifffile.TiffPage, "asarray", lambda *_, **__: pytest.fail("a page was read whole")
    )
    with open_slide(path) as slide:
        assert slide.level_sizes == ((900, 600), (225, 150))
        assert slide.info.mpp == (0.499, 0.499)
        for level in slide.display_levels():
            np.asarray(level)
        whole(slide)
    assert asked
    assert not asked & hidden


def test_the_sample_is_bit_equal_to_tiffslide():
    from tiffslide import TiffSlide

    from napari_pathreason import slides

    path = Path(slides.__file__).parents[1] / "_samples/CMU-1-Small-Region.svs"
    with open_slide(path) as slide, TiffSlide(path) as peer:
        assert slide.level_sizes == peer.level_dimensions
        assert slide.info.mpp == (0.499, 0.499)
        assert slide.info.mpp_source == "file"
        for x, y, width, height in [(0, 0, 2220, 2967), (7, 11, 100, 90), (2000, 2900, 220, 67)]:
            ours = slide.read_region(Region(x, y, width, height), (width, height)).pixels
            np.testing.assert_array_equal(
                ours, peer.read_region((x, y), 0, (width, height), as_array=True)
            )


@pytest.mark.data
@pytest.mark.skipif(not JPEG_2000.exists(), reason="the JPEG 2000 slide is not in ../shared/slides")
def test_a_real_jpeg_2000_pyramid_is_bit_equal_to_tiffslide():
    from tiffslide import TiffSlide

    with open_slide(JPEG_2000) as slide, TiffSlide(JPEG_2000) as peer:
        assert slide.level_sizes == ((4443, 3567), (2221, 1783))
        assert (slide.info.mpp, slide.info.mpp_source) == (None, "unknown")
        ours = slide.read_region(Region(1000, 900, 700, 600), (700, 600)).pixels
        np.testing.assert_array_equal(
            ours, peer.read_region((1000, 900), 0, (700, 600), as_array=True)
        )
        coarse = slide.display_levels()[1][100:400, 200:700]
        expected = peer.zarr_group["1"][100:400, 200:700]
        np.testing.assert_array_equal(coarse, expected)
        assert slide.read_region(Region(0, 0, 4443, 3567), (555, 446)).level == 1


def write_ndpi(path: Path, pictures: list[np.ndarray]) -> None:
    """Levels as Hamamatsu writes them: one JPEG each, whose restart markers stand in a tag.

    Offsets have 64 bits: the upper halves of all values follow a directory.
    """
    data = bytearray(b"II*\0" + bytes(8))
    link = 4
    for index, picture in enumerate(pictures):
        buffer = io.BytesIO()
        blocks = picture.shape[1] // 32  # a fourth of a row of 8 x 8 blocks
        Image.fromarray(picture).save(
            buffer, "JPEG", quality=95, subsampling=0, restart_marker_blocks=blocks
        )
        jpeg = buffer.getvalue()
        scan = jpeg.index(b"\xff\xda")
        starts = [scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big")]
        starts += [
            at + 2
            for at in range(starts[0], len(jpeg) - 1)
            if jpeg[at] == 0xFF and 0xD0 <= jpeg[at + 1] <= 0xD7
        ]
        strip, markers = len(data), len(data) + len(jpeg)
        data += jpeg + np.array(starts, "<u4").tobytes()
        bits = len(data)
        data += np.array([8, 8, 8], "<u2").tobytes()
        lens = int(np.array([20.0 / 4**index], "<f4").view("<u4")[0])
        height, width = picture.shape[:2]
        tags = [  # code, type, count, value or offset
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 3, bits),
            (259, 3, 1, 7),
            (262, 3, 1, 6),
            (271, 2, 4, int.from_bytes(b"HAM\0", "little")),
            (273, 4, 1, strip),
            (277, 3, 1, 3),
            (278, 4, 1, height),
            (279, 4, 1, len(jpeg)),
            (284, 3, 1, 1),
            (65420, 4, 1, 1),
            (65421, 11, 1, lens),
            (65426, 4, len(starts), markers),
        ]
        data[link : link + 8] = struct.pack("<Q", len(data))
        data += struct.pack("<H", len(tags))
        data += b"".join(struct.pack("<HHII", *tag) for tag in tags)
        link = len(data)
        data += bytes(8) + bytes(4 * len(tags))
    path.write_bytes(data)


def test_an_ndpi_with_restart_markers(tmp_path: Path):
    path = tmp_path / "small.ndpi"
    large = np.asarray(Image.fromarray(RGB).resize((512, 256)))
    write_ndpi(path, [large, large[::4, ::4].copy()])
    with open_slide(path) as slide:
        assert isinstance(slide._source, TiffSource)
        assert slide.level_sizes == ((512, 256), (128, 64))
        assert slide._source.chunk == (128, 8)
        assert np.abs(whole(slide).astype(int) - large).max() <= 24
        part = slide.read_region(Region(200, 100, 30, 20), (30, 20))
        assert part.pixels_decoded == 3 * 128 * 8
        assert np.abs(part.pixels.astype(int) - large[100:120, 200:230]).max() <= 24


@pytest.mark.parametrize("vendor", ["scn", "bif"])
def test_miniatures_of_vendors(tmp_path: Path, vendor: str):
    """What tifffile can write of Leica's and Ventana's files: their description and tiles."""
    path = tmp_path / f"small.{vendor}"
    leica = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        '<collection sizeX="300000" sizeY="200000"><image><pixels sizeX="300" sizeY="200">'
        '<dimension sizeX="300" sizeY="200" r="0" ifd="0"/></pixels>'
        '<view sizeX="150000" sizeY="100000" offsetX="0" offsetY="0"/></image></collection></scn>'
    )
    described = {"description": leica} if vendor == "scn" else {"software": "ScanOutputManager"}
    tifffile.imwrite(
        path, RGB, photometric="rgb", tile=(64, 64), metadata=None, bigtiff=True, **described
    )
    np.testing.assert_array_equal(read(path), RGB)

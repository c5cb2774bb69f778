"""Slides as the makers of scanners write them, against what tiffslide reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide
from tests.support import coded_pixels
from tests.support.scanners import write_bif, write_ndpi, write_trestle

RGB = coded_pixels(np.arange(300) * 6.0, np.arange(200) * 6.0)
JPEG_2000 = Path(__file__).parents[2].parent / "shared/slides/tcga-cr-7395-01a-01-ts1.svs"


def whole(slide: Slide) -> np.ndarray:
    image = slide.read_region(Region(0, 0, slide.width, slide.height), (slide.width, slide.height))
    assert image.unreadable == 0
    return image.pixels


def read(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        return whole(slide)


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
    pread = os.pread
    monkeypatch.setattr(
        os, "pread", lambda file, count, offset: asked.add(offset) or pread(file, count, offset)
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

    path = Path(slides.__file__).parents[1] / "sample_data/CMU-1-Small-Region.svs"
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


def test_an_ndpi_with_restart_markers(tmp_path: Path):
    path = tmp_path / "small.ndpi"
    large = np.asarray(Image.fromarray(RGB).resize((512, 256)))
    write_ndpi(path, [large, large[::4, ::4].copy()])
    with open_slide(path, cache=0) as slide:
        assert slide.level_sizes == ((512, 256), (128, 64))
        assert slide.display_levels()[0].chunks == (8, 128, 3)
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


@pytest.mark.parametrize("first", [True, False])
def test_the_scale_of_an_scn_is_that_of_its_scan(tmp_path: Path, first: bool):
    """It describes the macro, too; of the optics it need not say a word."""

    def image(number: int, width: int, height: int, um: float) -> str:
        return (
            f'<image name="{number}"><pixels sizeX="{width}" sizeY="{height}"><dimension '
            f'sizeX="{width}" sizeY="{height}" r="0" ifd="{number}"/></pixels><view '
            f'sizeX="{width * um * 1000:.0f}" sizeY="{height * um * 1000:.0f}"/></image>'
        )

    path = tmp_path / "a.scn"
    images = [image(1, 300, 200, 0.5), image(0, 75, 50, 2.0)]
    about = "".join(images if first else images[::-1])
    leica = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection sizeX="300000" sizeY="200000">{about}</collection></scn>'
    )
    small = np.ascontiguousarray(RGB[::-4, ::4])
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(small, description=leica, **options)
        writer.write(RGB, **options)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        assert slide.info.mpp == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("overlap", [0, 8])
@pytest.mark.parametrize(("name", "write"), [("a.bif", write_bif), ("a.tif", write_trestle)])
def test_tiles_that_overlap_show_nothing_twice(tmp_path: Path, name: str, write, overlap: int):
    path = tmp_path / name
    shown = write(path, RGB, overlap)
    with open_slide(path) as slide:
        assert (slide.height, slide.width) == shown.shape[:2]
        np.testing.assert_array_equal(whole(slide), shown)
        assert ("its tiles overlap" in " ".join(slide.notes)) == bool(overlap)
        if overlap:
            assert slide.info.mpp == pytest.approx((0.465,) * 2 if name == "a.bif" else (0.5, 0.5))


@pytest.mark.parametrize("overlap", [0, 8])
@pytest.mark.parametrize("planes", [1, 3])
def test_the_scan_of_a_bif(tmp_path: Path, overlap: int, planes: int):
    """Its scale, and its focal planes, of which one is read."""
    path = tmp_path / "a.bif"
    shown = write_bif(path, RGB, overlap)
    stated = f'Z-layers="{planes}"'.encode()
    path.write_bytes(path.read_bytes().replace(b'Z-layers="1"', stated))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), shown)
        assert slide.info.mpp == pytest.approx((0.465, 0.465))
        assert any(f"{planes} focal planes" in note for note in slide.notes) == (planes > 1)


def test_tiles_that_overlap_and_that_nothing_lays_right_are_refused(tmp_path: Path):
    path = tmp_path / "a.bif"
    write_bif(path, RGB, 8)
    path.write_bytes(path.read_bytes().replace(b"AOIScanned", b"AOIUnknown"))
    with pytest.raises(SlideError, match=r"its tiles overlap.*export it as OME-TIFF"):
        open_slide(path)


@pytest.mark.parametrize("name", ["a.mrxs", "a.vms", "a.czi"])
def test_what_is_no_slide_of_that_kind_names_the_remedy(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"nothing of it" * 100)
    with pytest.raises(SlideError, match=f"{name}.*all files of the slide.*OME-TIFF"):
        open_slide(tmp_path / name)

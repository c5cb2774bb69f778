"""Slides that OpenSlide reads: DICOM, and those whose tiles differ here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_pathreason import slides
from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.reader import get_reader
from napari_pathreason.slides import open_slide
from tests.support import coded_pixels

DICOM = Path(__file__).parents[2].parent / "shared/slides/dicom_cmu1"
SAMPLE = Path(slides.__file__).parents[1] / "sample_data/CMU-1-Small-Region.svs"
RGB = coded_pixels(np.arange(300) * 6.0, np.arange(200) * 6.0)

needs_dicom = pytest.mark.skipif(
    not DICOM.is_dir(), reason="the DICOM slide is not in ../shared/slides"
)


def whole(path: Path) -> np.ndarray:
    with open_slide(path) as slide:
        region = Region(0, 0, slide.width, slide.height)
        image = slide.read_region(region, (slide.width, slide.height))
        assert image.unreadable == 0
        return image.pixels


@pytest.mark.data
@needs_dicom
def test_a_folder_of_dicom_is_the_slide_that_it_was_made_of():
    with open_slide(DICOM) as slide:
        assert slide.level_sizes == ((2220, 2967),)
        assert slide.info.mpp == pytest.approx((0.499, 0.499))
        assert slide.info.mpp_source == "file"
        region = Region(700, 900, 500, 400)
        ours = slide.read_region(region, (500, 400)).pixels
        assert slide.info.icc == "ignored"
    import openslide

    with openslide.OpenSlide(next(DICOM.glob("*.dcm"))) as peer:
        expected = np.asarray(peer.read_region((700, 900), 0, (500, 400)).convert("RGB"))
    np.testing.assert_array_equal(ours, expected)
    with open_slide(SAMPLE) as svs:
        same = svs.read_region(region, (500, 400)).pixels
    assert np.corrcoef(ours.ravel(), same.ravel())[0, 1] > 0.98  # packed anew, and more


@pytest.mark.data
@needs_dicom
def test_any_file_of_it_opens_the_slide_and_napari_takes_the_folder():
    for file in DICOM.glob("*.dcm"):
        with open_slide(file) as slide:
            assert (slide.width, slide.height) == (2220, 2967)
    reader = get_reader(str(DICOM))
    assert reader is not None
    ((levels, attributes, _),) = reader(str(DICOM))
    assert levels[0].shape == (2967, 2220, 3)
    assert attributes["units"] == ("um", "um")


def write_dicom(path: Path, pixels: bool) -> Path:
    """The head of a DICOM file, and an element of pixel data or none."""
    element = b"\xe0\x7f\x10\x00OW\0\0\4\0\0\0\1\2\3\4" if pixels else b""
    uid = b"1.2.840.10008.1.2.1\0"
    syntax = b"\2\0\x10\0UI" + len(uid).to_bytes(2, "little") + uid
    group = b"\2\0\0\0UL\4\0" + len(syntax).to_bytes(4, "little")
    path.write_bytes(bytes(128) + b"DICM" + group + syntax + element)
    return path


@pytest.mark.parametrize("in_folder", [True, False])
def test_dicom_that_is_no_slide_is_refused_by_its_name(tmp_path: Path, in_folder: bool):
    folder = tmp_path / "study"
    folder.mkdir()
    path = write_dicom(folder / "report.dcm", pixels=False)
    with pytest.raises(SlideError, match="DICOM without pixel data"):
        open_slide(folder if in_folder else path)
    write_dicom(path, pixels=True)
    with pytest.raises(SlideError, match="no whole-slide image"):
        open_slide(folder if in_folder else path)


def test_openslide_takes_over_where_tiles_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As on files whose tiles a reader garbles."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), compression="zlib")
    decode = tifffile.TiffPage.decode.func

    def garbled(page):
        right = decode(page)

        def wrong(*given, **named):
            values, *rest = right(*given, **named)
            return (255 - values, *rest)

        return wrong

    with open_slide(path) as slide:
        assert slide.notes == ()
    monkeypatch.setattr(tifffile.TiffPage, "decode", property(garbled))
    with open_slide(path) as slide:
        assert any("OpenSlide" in note for note in slide.notes)
    np.testing.assert_array_equal(whole(path), RGB)


def test_the_sample_needs_no_other_reader():
    with open_slide(SAMPLE) as slide:
        assert slide.notes == ()


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg", "jpeg2000", "webp"])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr", "minisblack", "miniswhite"])
def test_tiles_are_what_openslide_reads(tmp_path: Path, compression: str, photometric: str):
    """Of every kind of tiled TIFF that both read, by two grey levels at most."""
    import openslide

    if photometric == "ycbcr" and compression != "jpeg":
        pytest.skip("tifffile writes it with JPEG alone")
    path = tmp_path / "a.tif"
    pixels = RGB[..., 0] if photometric.startswith("minis") else RGB
    if compression == "webp" and pixels.ndim == 2:
        pytest.skip("WebP has three channels")
    options = {"tile": (64, 64), "compression": compression, "metadata": None}
    tifffile.imwrite(path, pixels, photometric=photometric, **options)
    try:
        peer = openslide.OpenSlide(path)
    except openslide.OpenSlideError:
        pytest.skip("OpenSlide does not read it")
    with peer:
        expected = np.asarray(peer.read_region((0, 0), 0, (300, 200)).convert("RGB"))
    with open_slide(path) as slide:
        assert not any("OpenSlide" in note for note in slide.notes)
        ours = slide.read_region(Region(0, 0, 300, 200), (300, 200)).pixels
    assert np.abs(ours.astype(int) - expected).max() <= 2


def test_an_svs_is_what_openslide_reads():
    import openslide

    with openslide.OpenSlide(SAMPLE) as peer, open_slide(SAMPLE) as slide:
        for x, y in ((0, 0), (1000, 1300), (1900, 2700)):
            size = min(300, slide.width - x), min(250, slide.height - y)
            expected = np.asarray(peer.read_region((x, y), 0, size).convert("RGB"))
            ours = slide.read_region(Region(x, y, *size), size).pixels
            assert np.abs(ours.astype(int) - expected).max() <= 2

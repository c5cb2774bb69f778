"""DICOM slides in many files, of several planes, or without the places of their tiles."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide
from tests.support import dicom
from tests.support.dicom import Dicom, share_out, with_places

FOLDER = Path(__file__).parents[2].parent / "shared/slides/dicom_cmu1"
FILES = sorted(FOLDER.glob("*.dcm"), key=lambda file: file.stat().st_size)
SIDE, ACROSS, DOWN = 240, 10, 13
GRID = [(1 + x * SIDE, 1 + y * SIDE) for y in range(DOWN) for x in range(ACROSS)]

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FILES, reason="the DICOM slide is not in ../shared/slides"),
]


@pytest.fixture(scope="module")
def slide() -> Dicom:
    return Dicom.read(FILES[-1])


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return read(FILES[-1])


def read(path: Path) -> np.ndarray:
    with open_slide(path) as opened:
        assert opened.notes == ()
        whole = Region(0, 0, opened.width, opened.height)
        image = opened.read_region(whole, (opened.width, opened.height))
    assert image.unreadable == 0
    return image.pixels


def refused(path: Path) -> str:
    with pytest.raises(SlideError) as error:
        open_slide(path)
    assert str(path.parent) not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("parts", [2, 3])
def test_a_concatenation_is_one_slide(tmp_path: Path, slide: Dicom, pixels, parts: int):
    """Whichever of its files is opened, or their folder."""
    files = share_out(slide, tmp_path, parts)
    for path in (tmp_path, files[-1]):
        np.testing.assert_array_equal(read(path), pixels)
    files[1].unlink()
    for path in (tmp_path, files[0]):
        assert f"one picture in {parts} files, of which number 2 is missing" in refused(path)


@pytest.mark.parametrize("order", [1, -1])
def test_tiles_lie_where_they_say(tmp_path: Path, slide: Dicom, pixels, order: int):
    places = with_places(slide.changed({}, slide.frames[::order]), GRID[::order])
    np.testing.assert_array_equal(read(places.write(tmp_path / "a.dcm")), pixels)


def test_tiles_that_are_left_out_are_white(tmp_path: Path, slide: Dicom, pixels):
    some = with_places(slide.changed({}, slide.frames[:100]), GRID[:100])
    expected = pixels.copy()
    expected[10 * SIDE :] = 255
    np.testing.assert_array_equal(read(some.write(tmp_path / "a.dcm")), expected)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ([], "does not say where each of its 130 tiles lies"),
        (GRID[:100], "does not say where each of its 130 tiles lies"),
        ([*GRID[:-1], None], "does not say where each of its 130 tiles lies"),
        ([(x + 100, y) for x, y in GRID], "lie on no grid"),
        ([*GRID[:-1], GRID[0]], "several tiles in 1 places"),
    ],
    ids=["none", "some", "all but one", "beside the grid", "twice"],
)
def test_tiles_without_a_place_of_their_own(tmp_path: Path, slide: Dicom, places, says: str):
    """OpenSlide leaves them out without a word, or shows the last of several."""
    assert says in refused(with_places(slide, places).write(tmp_path / "a.dcm"))


@pytest.mark.parametrize("organisation", ["TILED_SPARSE", "3D"])
def test_places_that_are_missing_altogether(tmp_path: Path, slide: Dicom, organisation: str):
    """At which OpenSlide ends the process, also where the file only lies beside a good one."""
    bad = slide.changed({dicom.ORGANISATION: organisation, dicom.INSTANCE: "1.2.3"})
    path = bad.write(tmp_path / "a.dcm")
    assert "does not say where" in refused(path)
    good = slide.write(tmp_path / "b.dcm")
    assert "does not say where" in refused(good)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({dicom.ROWS: 0}, r"states 2,220 x 0 px"),
        ({dicom.COLUMNS: 2**32 - 1}, r"px, no slide"),
        ({(0x28, 0x10): 1, (0x28, 0x11): 0}, r"in tiles of 0 x 1 px"),
        ({(0x28, 0x10): 65_535, (0x28, 0x11): 65_535}, "more than memory should hold"),
        ({(0x28, 0x02): 1, (0x28, 0x04): "MONOCHROME2"}, "holds 1 channels of 8 bits"),
        ({(0x28, 0x100): 16}, "holds 3 channels of 16 bits"),
        ({dicom.FOCAL_PLANES: 3}, "holds 3 focal planes; export one"),
        ({(0x02, 0x10): "1.2.840.10008.1.2.4.80"}, "Unsupported transfer syntax.*JPEG 2000"),
        ({(0x28, 0x04): "YBR_RCT"}, "Unsupported photometric interpretation YBR_RCT"),
    ],
    ids=str,
)
def test_what_is_no_slide_is_said_at_open(tmp_path: Path, slide: Dicom, values: dict, says: str):
    assert re.search(says, refused(slide.changed(values).write(tmp_path / "a.dcm")))


def test_what_was_left_out_is_said(tmp_path: Path, slide: Dicom):
    path = tmp_path / "a.dcm"
    more = slide.changed({dicom.OPTICAL_PATHS: 2}, 2 * slide.frames)
    with open_slide(more.write(path)) as opened:
        assert opened.notes == ("of 2 optical paths (channels, kinds of light) the first was read",)
    with open_slide(slide.changed({}, slide.frames[:100]).write(path)) as opened:
        assert opened.notes == ("30 of 130 tiles are missing",)
    path.write_bytes(FILES[-1].read_bytes()[:600_000])  # its table says where they lay
    with open_slide(path) as opened:
        assert opened.notes == ("55 of 130 tiles are missing",)


def test_tiles_that_none_can_decode_are_said_at_open(tmp_path: Path, slide: Dicom):
    path = slide.changed({}, tuple(bytes(len(f)) for f in slide.frames)).write(tmp_path / "a.dcm")
    assert "none of the tiles of a.dcm" in refused(path)
    path = slide.write(path)
    path.write_bytes(path.read_bytes()[:600_000])
    assert "none of the tiles of a.dcm" in refused(path)


def test_only_the_tile_that_failed(tmp_path: Path, slide: Dicom, pixels):
    frames = list(slide.frames)
    half = len(frames[70]) // 2
    frames[70] = frames[70][:half] + bytes(half)
    with open_slide(slide.changed({}, tuple(frames)).write(tmp_path / "a.dcm")) as opened:
        image = opened.read_region(Region(0, 0, 2220, 2967), (2220, 2967))
    assert image.lost == (Region(0, 7 * SIDE, SIDE, SIDE),)
    expected = pixels.copy()
    expected[7 * SIDE : 8 * SIDE, :SIDE] = 255
    np.testing.assert_array_equal(image.pixels, expected)


def test_a_label_alone_is_refused_by_its_name(tmp_path: Path):
    shutil.copy(FILES[0], tmp_path / "a.dcm")
    assert "is only the label of a slide" in refused(tmp_path / "a.dcm")
    assert "is only the label of a slide" in refused(tmp_path)


def test_two_pictures_of_one_size(tmp_path: Path, slide: Dicom):
    slide.write(tmp_path / "a.dcm")
    slide.changed({dicom.INSTANCE: "1.2.3"}, slide.frames[::-1]).write(tmp_path / "b.dcm")
    for path in (tmp_path, tmp_path / "a.dcm"):
        assert "2 pictures of the same size" in refused(path)


def test_two_slides_in_a_folder(tmp_path: Path, slide: Dicom, pixels):
    slide.write(tmp_path / "a.dcm")
    slide.changed({(0x20, 0x0E): "1.2.3", dicom.INSTANCE: "1.2.4"}).write(tmp_path / "b.dcm")
    assert "holds 2 slides; give a file of one: a.dcm, b.dcm" in refused(tmp_path)
    np.testing.assert_array_equal(read(tmp_path / "a.dcm"), pixels)


def test_a_damaged_profile_is_no_reason_to_refuse(tmp_path: Path, slide: Dicom):
    tag = b"\x28\x00\x00\x20OB"  # in the description of the optical path
    sequence = (0x48, 0x105)
    kind, value = slide.elements[sequence]
    at = value.index(tag) + 12
    value = value[:at] + b"\xa5" * 64 + value[at + 64 :]
    path = slide.changed({sequence: (kind, value)}).write(tmp_path / "a.dcm")
    with open_slide(path, icc=True) as opened:
        assert opened.info.icc == "ignored"
        assert opened.notes == (
            "its ICC profile cannot be used, and colours are as they lie there",
        )


def test_a_cut_header_is_said(tmp_path: Path):
    path = tmp_path / "a.dcm"
    path.write_bytes(FILES[-1].read_bytes()[:1000])
    assert refused(path) == "a.dcm ends before its pixels; copy it again"
    path.write_bytes(FILES[-1].read_bytes()[:202])
    assert "cut off or damaged; copy it again" in refused(path)

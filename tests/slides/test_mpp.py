"""Micrometres per pixel: the user's, else the file's where it can be believed, else unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, strategies as st

from napari_pathreason.errors import SlideError
from napari_pathreason.slides import mpp_of_ome, open_slide, slide_from_arrays
from tests.support import write_synthetic_slide

PIXELS = np.zeros((64, 64, 3), np.uint8)


def scale(path: Path, mpp=None) -> tuple:
    with open_slide(path, mpp) as slide:
        return slide.info.mpp, slide.info.mpp_source


def test_the_user_goes_before_the_file(tmp_path: Path):
    path = write_synthetic_slide(tmp_path / "a.ome.tif", 200, 100, (1,), tile=64, mpp=0.25)
    assert scale(path) == ((0.25, 0.25), "file")
    assert scale(path, 0.5) == ((0.5, 0.5), "user")
    assert "0.25" in "".join(notes(path, 0.5))
    assert notes(path, 0.25) == notes(path) == ()


def notes(path: Path, mpp=None) -> tuple[str, ...]:
    with open_slide(path, mpp) as slide:
        return slide.notes


def test_without_both_it_is_unknown(tmp_path: Path):
    path = write_synthetic_slide(tmp_path / "a.ome.tif", 200, 100, (1,), tile=64, mpp=None)
    assert scale(path) == (None, "unknown")
    assert scale(path, 0.5) == ((0.5, 0.5), "user")
    assert scale(path, (0.5, 0.6)) == ((0.5, 0.6), "user")


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), float("inf"), (0.5, 0)])
def test_a_senseless_scale_is_refused(mpp):
    with pytest.raises(SlideError, match="micrometres"):
        slide_from_arrays([PIXELS], "a", mpp)


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_a_resolution_in_centimetres_is_a_scale(tmp_path: Path, tile):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", tile=tile, resolution=(20000, 40000), resolutionunit=3
    )
    assert scale(path) == ((0.5, 0.25), "file")


@pytest.mark.parametrize("dpi", [1, 72, 96, 300])
def test_a_default_resolution_is_no_scale(tmp_path: Path, dpi: int):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", tile=(64, 64), resolution=(dpi, dpi), resolutionunit=2
    )
    assert scale(path) == (None, "unknown")


@given(x=st.floats(1e-3, 10), y=st.floats(1e-3, 10))
def test_units_of_ome(x: float, y: float):
    pixels = f'<Pixels PhysicalSizeX="{x}" PhysicalSizeXUnit="nm" PhysicalSizeY="{y}"/>'
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    assert mpp_of_ome(f"<OME {space}><Image>{pixels}</Image></OME>") == (x * 1e-3, y)


@pytest.mark.parametrize(
    "pixels",
    [
        "",
        "<Pixels/>",
        '<Pixels PhysicalSizeX="1"/>',
        '<Pixels PhysicalSizeX="1" PhysicalSizeY="0"/>',
        '<Pixels PhysicalSizeX="a" PhysicalSizeY="1"/>',
        '<Pixels PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel"/>',
        "<broken",
    ],
)
def test_ome_without_a_scale(pixels: str):
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    assert mpp_of_ome(f"<OME {space}><Image>{pixels}</Image></OME>") is None


@pytest.mark.parametrize("xml", [None, "", "no xml"])
def test_no_ome_at_all(xml: str | None):
    assert mpp_of_ome(xml) is None


@pytest.mark.parametrize(
    ("stated", "expected"),
    [("MPP = 0.2520", (0.252, 0.252)), ("MPP=nan", None), ("MPP = 0", None), ("AppMag = 20", None)],
)
def test_the_description_of_an_svs(tmp_path: Path, stated: str, expected):
    path = tmp_path / "a.svs"
    about = f"Aperio Image Library v11.2.1\r\n64x64 (64x64) RAW|Date = 12/29/09|{stated}|Left = 1"
    tifffile.imwrite(
        path, PIXELS, photometric="rgb", tile=(64, 64), description=about, metadata=None
    )
    assert scale(path)[0] == expected

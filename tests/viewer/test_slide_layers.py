"""How the slide behind a layer is read, and what the layer says of its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image

from napari_pathreason.errors import SlideError
from napari_pathreason.reader import slide_layer
from napari_pathreason.viewer import SLIDE_KEY, known_mpp, plane_layer, set_up_slide, slide_opener
from tests.support import write_synthetic_slide

RGB = np.full((40, 60, 3), 200, np.uint8)
PLANES = np.random.default_rng(0).integers(0, 255, (4, 128, 160), dtype=np.uint8)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What napari would show as warnings."""
    shown: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", shown.append)
    return shown


def layer_of(path: Path) -> Image:
    levels, attributes, _ = slide_layer(path)
    return Image(levels, **attributes)


@pytest.mark.parametrize(
    ("placed", "expected"),
    [
        ({"scale": (0.4, 0.5)}, (0.5, 0.4)),
        ({"affine": np.diag([0.4, 0.5, 1])}, (0.5, 0.4)),
        ({"scale": (2, 2), "affine": np.diag([0.2, 0.25, 1])}, (0.5, 0.4)),
        ({"scale": (0.4, 0.5), "rotate": 90}, (0.5, 0.4)),
        ({"scale": (0.4, 0.5), "rotate": 30, "translate": (7, 9)}, (0.5, 0.4)),
        ({"scale": (-0.4, 0.5)}, (0.5, 0.4)),
        ({"affine": [[0, 0.5, 0], [0.4, 0, 0], [0, 0, 1]]}, (0.5, 0.4)),
        ({"affine": [[0.4, 0.01, 0], [0, 0.5, 0], [0, 0, 1]]}, (0.5, 0.4)),
        ({"affine": [[0.4, 0.4, 0], [0, 0.5, 0], [0, 0, 1]]}, None),
        ({"scale": (0.4, 0.5), "shear": [0.7]}, None),
        ({"scale": (400, 500), "units": ("nm", "nm")}, (0.5, 0.4)),
        ({"scale": (4e-4, 0.5), "units": ("mm", "um")}, (0.5, 0.4)),
        ({"scale": (0.4, 0.5), "units": ("pixel", "um")}, None),
        ({"scale": (0.4, 0.5), "units": ("s", "s")}, None),
        ({"scale": (0.4, 0.5), "units": ("pixel", "pixel")}, None),
        ({"scale": (1, 1), "units": ("m", "m")}, None),
        ({"scale": (1e-4, 1e-4)}, None),
    ],
)
def test_the_scale_of_a_layer_is_where_it_lies(placed: dict, expected):
    layer = Image(RGB, rgb=True, **({"units": ("um", "um")} | placed))
    assert known_mpp(layer) == (None if expected is None else pytest.approx(expected, rel=1e-3))


def test_the_users_scale_goes_before_the_files(tmp_path: Path, notes: list[str]):
    path = write_synthetic_slide(tmp_path / "a.ome.tif", 300, 200, (1, 2), tile=64, mpp=0.25)
    layer = layer_of(path)
    assert notes == []
    before = layer.data[0][:50, :50]
    set_up_slide(layer, 0.5)
    assert known_mpp(layer) == (0.5, 0.5)
    assert tuple(layer.scale) == (0.5, 0.5)
    assert slide_opener(layer)().info.mpp_source == "user"
    np.testing.assert_array_equal(layer.data[0][:50, :50], before)
    set_up_slide(layer, None)
    assert (known_mpp(layer), tuple(layer.scale)) == ((0.25, 0.25), (0.25, 0.25))
    np.testing.assert_array_equal(layer.data[0][:50, :50], before)
    layer.metadata[SLIDE_KEY].close()


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_turned_plane_of_a_stack_is_asked_about_and_a_tilted_one_is_not():
    viewer = ViewerModel()
    turned, tilted = np.eye(4), np.eye(4)
    turned[1:3, 1:3] = tilted[:3:2, :3:2] = [[0.8, -0.6], [0.6, 0.8]]
    stack = viewer.add_image(PLANES, affine=turned, units=("um", "um", "um"))
    viewer.dims.set_point(0, 2)
    plane = plane_layer(viewer, stack)
    np.testing.assert_array_equal(plane.data, PLANES[2])
    assert known_mpp(plane) == pytest.approx((1, 1))
    stack.affine = tilted
    with pytest.raises(SlideError, match=r"tilted against the view; save the slice"):
        plane_layer(viewer, stack)


@pytest.mark.parametrize(
    "placed", [{}, {"shear": [0.7], "units": ("um", "um")}, {"units": ("s", "s")}]
)
def test_a_layer_of_arrays_takes_a_scale_too(placed: dict):
    layer = Image(RGB, rgb=True, **placed)
    assert known_mpp(layer) is None
    set_up_slide(layer, 0.5)
    assert known_mpp(layer) == (0.5, 0.5)


def test_fluorescence_is_shown_and_asked_about_after_a_choice(tmp_path: Path, notes: list[str]):
    path = tmp_path / "a.ome.tif"
    about = {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "Cy3", "Cy5"]}}
    tifffile.imwrite(path, PLANES, metadata=about, photometric="minisblack", tile=(64, 64))
    layer = layer_of(path)
    assert any("4 channels" in note for note in notes)
    assert np.asarray(layer.data[0]).any()
    with pytest.raises(SlideError, match="choose channels"):
        slide_opener(layer)
    with pytest.raises(SlideError, match="no channel"):
        set_up_slide(layer, None, "DRAQ5=red")
    with pytest.raises(SlideError, match="choose channels"):
        slide_opener(layer)
    set_up_slide(layer, None, "DAPI=blue")
    slide = slide_opener(layer)()
    assert slide.info.channels == "DAPI=blue"
    assert (np.asarray(layer.data[0])[..., :2] == 0).all()
    slide.close()


def test_the_profile_holds_for_display_and_model(tmp_path: Path):
    from PIL import ImageCms

    path = tmp_path / "a.tif"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), iccprofile=profile)
    layer = layer_of(path)
    assert slide_opener(layer)().info.icc == "ignored"
    set_up_slide(layer, None, "", True)
    slide = slide_opener(layer)()
    assert slide.info.icc == "applied"
    np.testing.assert_array_equal(np.asarray(layer.data[0]), np.asarray(slide.display_levels()[0]))
    slide.close()

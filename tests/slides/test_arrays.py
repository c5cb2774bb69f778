"""Arrays and OME-Zarr folders as slides."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide, slide_from_arrays
from tests.support import coded_pixels

WIDTH, HEIGHT = 260, 180
RGB = coded_pixels(np.arange(WIDTH) * 7.0, np.arange(HEIGHT) * 7.0)
PART = Region(31, 45, 120, 100)


def part_of(pixels: np.ndarray) -> np.ndarray:
    return pixels[45:145, 31:151]


def read(levels: list, region: Region = PART) -> np.ndarray:
    with slide_from_arrays(levels, "layer") as slide:
        return slide.read_region(region, (region.width, region.height)).pixels


@pytest.mark.parametrize(
    "wrap",
    [np.asarray, lambda a: da.from_array(a, chunks=(64, 64, 3)), zarr.array],
    ids=["numpy", "dask", "zarr"],
)
def test_any_array_is_a_slide(wrap):
    levels = [wrap(RGB), wrap(RGB[::2, ::2])]
    np.testing.assert_array_equal(read(levels), part_of(RGB))
    with slide_from_arrays(levels, "layer") as slide:
        assert slide.info.name == "layer"
        assert slide.path is None
        assert slide.info.mpp_source == "unknown"
        assert slide.read_region(Region(0, 0, WIDTH, HEIGHT), (130, 90)).level == 1
        assert slide.display_levels()[1].shape == (90, 130, 3)


@pytest.mark.parametrize("shape", [(5,), (5, 5, 2), (5, 5, 5), (2, 5, 5, 3), (0, 5), (5, 0, 3)])
def test_a_shape_that_is_no_picture_is_refused(shape: tuple[int, ...]):
    with pytest.raises(SlideError, match=r"choose|give"):
        slide_from_arrays([np.zeros(shape, np.uint8)], "layer")


@pytest.mark.parametrize(
    "other",
    [
        RGB[::2, ::2] / np.float32(255),
        RGB[::2, ::2].astype("u2") * 257,
        np.dstack([RGB, RGB[..., :1]])[::2, ::2],
        RGB[::2, ::2, 0],
    ],
    ids=["real numbers", "16 bits", "alpha", "grey"],
)
def test_levels_of_other_values_are_refused(other: np.ndarray):
    """They would be shown as if they were those of level 0, black or in other colours."""
    with pytest.raises(SlideError, match=r"level 1 of the layer holds .* write the pyramid anew"):
        slide_from_arrays([RGB, other], "layer")


def test_levels_may_differ_in_the_order_of_bytes():
    levels = [(RGB.astype("u2") * 257).astype(order) for order in ("<u2", ">u2")]
    np.testing.assert_allclose(read([levels[0], levels[1][::2, ::2]]), part_of(RGB), atol=1)


def test_no_levels_are_refused():
    with pytest.raises(SlideError, match="choose another"):
        slide_from_arrays([], "layer")


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i4", "f4", "f8", "bool"])
def test_other_types_keep_their_order(dtype: str):
    values = np.linspace(0, 1 if dtype == "bool" else 900, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    values = (values > 0.5) if dtype == "bool" else values.astype(dtype)
    with slide_from_arrays([values], "layer") as slide:
        assert len(slide.notes) == 2
        pixels = slide.read_region(Region(0, 0, WIDTH, HEIGHT), (WIDTH, HEIGHT)).pixels
    assert (pixels[..., 0] == pixels[..., 2]).all()
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert (np.diff(pixels[..., 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("fill", [0.0, 7.0, np.nan, np.inf])
def test_a_constant_picture_is_no_error(fill: float):
    read([np.full((HEIGHT, WIDTH), fill, np.float32)])


def test_alpha_lies_over_white():
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[-1] = 255  # one that hides everything is not believed
    assert (read([np.dstack([RGB, alpha])])[:-2] == 255).all()
    opaque = np.dstack([RGB, np.full_like(alpha, 255)])
    np.testing.assert_array_equal(read([opaque]), part_of(RGB))


def test_nothing_is_computed_before_the_first_read():
    def fail(_):
        raise RuntimeError("a chunk is missing")

    array = da.zeros((HEIGHT, WIDTH), dtype=np.uint16, chunks=64).map_blocks(fail, dtype=np.uint16)
    with slide_from_arrays([array], "layer") as slide:
        image = slide.read_region(PART, (120, 100))
    assert image.unreadable == 1
    assert (image.pixels == 255).all()


ORDERS = {
    "yxc": lambda a: a,
    "cyx": lambda a: np.moveaxis(a, -1, 0),
    "tczyx": lambda a: np.moveaxis(a, -1, 0)[None, :, None],
}


def write_zarr(path: Path, axes: str, version: str, unit: str | None, channels: int = 3) -> Path:
    units = {"unit": unit} if unit else {}
    kinds = {"t": "time", "c": "channel"}
    described = [
        {"name": axis, "type": kinds.get(axis, "space")} | (units if axis in "zyx" else {})
        for axis in axes
    ]
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    sets = []
    for index, step in enumerate((1, 2)):
        pixels = ORDERS[axes](RGB[::step, ::step, :channels])
        array = group.create_array(
            str(index),
            shape=pixels.shape,
            dtype="u1",
            chunks=tuple(64 if axis in "yx" else 1 for axis in axes),
        )
        array[:] = pixels
        scale = [{"y": 0.4 * step, "x": 0.5 * step}.get(axis, 1.0) for axis in axes]
        transform = {"type": "scale", "scale": scale}
        sets.append({"path": str(index), "coordinateTransformations": [transform]})
    multiscales = [{"version": version, "axes": described, "datasets": sets}]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    return path


@pytest.mark.parametrize("axes", ORDERS)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, axes: str, version: str):
    path = write_zarr(tmp_path / "a.ome.zarr", axes, version, "micrometer")
    with open_slide(path) as slide:
        assert slide.level_sizes == ((WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2))
        assert slide.info.mpp == (0.5, 0.4)
        assert slide.info.mpp_source == "file"
        pixels = slide.read_region(PART, (PART.width, PART.height)).pixels
        np.testing.assert_array_equal(pixels, part_of(RGB))
        coarse = slide.display_levels()[1]
        np.testing.assert_array_equal(np.asarray(coarse), RGB[::2, ::2])


def test_ome_zarr_units(tmp_path: Path):
    with open_slide(write_zarr(tmp_path / "a.zarr", "yxc", "0.5", "nanometer")) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == (None, "unknown")
        assert any("0.0005 x 0.0004 µm" in note for note in slide.notes)
    with open_slide(write_zarr(tmp_path / "b.zarr", "yxc", "0.5", None), 0.3) as slide:
        assert (slide.info.mpp, slide.info.mpp_source) == ((0.3, 0.3), "user")


def test_ome_zarr_with_two_channels_is_refused(tmp_path: Path):
    with pytest.raises(SlideError, match="2 channels"):
        open_slide(write_zarr(tmp_path / "a.zarr", "cyx", "0.4", None, channels=2))

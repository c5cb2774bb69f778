"""The size of a pixel: who is believed, in which order, and what is said of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_pathreason.slides import mpp_of_ome, open_slide
from tests.support import write_synthetic_slide

PIXELS = np.full((64, 64, 3), 200, np.uint8)


def scale_of(path: Path, mpp=None) -> tuple:
    with open_slide(path, mpp) as slide:
        return slide.info.mpp, slide.info.mpp_source, " ".join(slide.notes)


def write_tiff(path: Path, resolution: tuple[float, float], unit: int, **more) -> Path:
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None} | more
    tifffile.imwrite(path, PIXELS, resolution=resolution, resolutionunit=unit, **options)
    return path


@pytest.mark.parametrize(
    ("resolution", "unit", "says"),
    [
        ((10, 10), 3, "1000 µm"),  # what libvips writes
        ((1, 1), 2, "outside"),
        ((150, 150), 2, "outside"),
        ((200, 200), 2, "outside"),
        ((600, 600), 2, "do not know it"),
        ((1200, 1200), 2, "do not know it"),
        ((1e6, 1e6), 3, "outside"),
        ((20000, 1), 3, "outside"),
    ],
)
def test_no_microscope_writes_that(tmp_path: Path, resolution, unit: int, says: str):
    path = write_tiff(tmp_path / "a.tif", resolution, unit)
    mpp, source, notes = scale_of(path)
    assert (mpp, source) == (None, "unknown")
    assert says in notes
    assert scale_of(path, 0.5)[:2] == ((0.5, 0.5), "user")


def test_a_unit_of_nothing_is_no_scale(tmp_path: Path):
    assert scale_of(write_tiff(tmp_path / "a.tif", (40000, 40000), 1))[:2] == (None, "unknown")


@pytest.mark.parametrize(("kind", "count", "value"), [(2, 3, b"cm\0\0"), (3, 2, b"\3\0\3\0")])
def test_a_unit_of_another_type_is_no_scale_and_no_damage(tmp_path: Path, kind, count, value):
    path = write_tiff(tmp_path / "a.tif", (40000, 40000), 3)
    content = path.read_bytes()
    head = struct.pack("<HHI", 296, 3, 1)
    at = content.index(head)
    changed = struct.pack("<HHI", 296, kind, count) + value
    path.write_bytes(content[:at] + changed + content[at + len(changed) :])
    assert scale_of(path)[:2] == (None, "unknown")


@pytest.mark.parametrize(
    ("unit", "each", "expected"),
    [
        ("um", 4, 0.25),
        ("micron", 4, 0.25),
        ("\\u00B5m", 4, 0.25),
        ("µm", 4, 0.25),
        ("nm", 0.004, 0.25),
        ("mm", 4000, 0.25),
        ("cm", 40000, 0.25),
        ("pixel", 4, None),
        ("sec", 4, None),
    ],
)
def test_imagej_names_its_unit_in_words(tmp_path: Path, unit: str, each: float, expected):
    path = write_tiff(
        tmp_path / "a.tif",
        (each, each),
        1,
        description=f"ImageJ=1.54f\nunit={unit}\n".encode(),
    )
    mpp = scale_of(path)[0]
    assert mpp == (None if expected is None else pytest.approx((expected, expected), rel=1e-6))


def test_a_decimal_comma(tmp_path: Path):
    about = "Aperio Image Library v11.2.1\r\n64x64 (64x64) RAW|MPP = 0,2520|AppMag = 40"
    path = tmp_path / "a.svs"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(64, 64), description=about)
    assert scale_of(path)[0] == (0.252, 0.252)
    assert mpp_of_ome(ome("0,25", "0.5")) == (0.25, 0.5)


def ome(x: str, y: str, unit: str | None = None) -> str:
    named = "" if unit is None else f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    pixels = f'<Pixels PhysicalSizeX="{x}" PhysicalSizeY="{y}" {named}/>'
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    return f"<OME {space}><Image>{pixels}</Image></OME>"


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        *[("m", 1e6), ("dm", 1e5), ("cm", 1e4), ("mm", 1e3), ("µm", 1), ("\u03bcm", 1)],
        *[("nm", 1e-3), ("pm", 1e-6), ("Å", 1e-4), ("in", 25400), ("thou", 25.4), ("ft", 304800)],
        *[("km", 1e9), ("pt", 25400 / 72)],
    ],
)
def test_every_unit_of_length_of_ome(unit: str, um: float):
    assert mpp_of_ome(ome("2", "4", unit)) == pytest.approx((2 * um, 4 * um))


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "s", ""])
def test_what_is_no_length(unit: str):
    assert mpp_of_ome(ome("2", "4", unit)) is None


@pytest.mark.parametrize("value", ["INF", "-INF", "NaN", "nan", "inf", "0", "-1", "1e400"])
def test_what_is_no_size_is_unknown(tmp_path: Path, value: str):
    path = tmp_path / "a.ome.tif"
    about = ome(value, value).replace(
        "<Pixels",
        '<Pixels SizeX="64" SizeY="64" SizeC="3" SizeZ="1" SizeT="1" Type="uint8" '
        'DimensionOrder="XYCZT"',
    )
    about = about.replace(
        "/></Image>", '><Channel SamplesPerPixel="3"/><TiffData/></Pixels></Image>'
    )
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(64, 64), description=about)
    assert scale_of(path)[:2] == (None, "unknown")


def test_ome_goes_before_tags_and_a_difference_is_said(tmp_path: Path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(
        path,
        PIXELS,
        photometric="rgb",
        tile=(64, 64),
        resolution=(20000, 20000),
        resolutionunit=3,
        metadata={"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25},
    )
    mpp, source, notes = scale_of(path)
    assert (mpp, source) == ((0.25, 0.25), "file")
    assert "state 0.5 µm" in notes
    assert "0.25, which was taken" in notes


def test_the_user_is_not_contradicted_by_what_is_not_believed(tmp_path: Path):
    path = write_synthetic_slide(tmp_path / "a.ome.tif", 200, 100, (1,), tile=64, mpp=None)
    assert scale_of(path, 0.7) == ((0.7, 0.7), "user", "")
    assert scale_of(path, 200)[:2] == ((200, 200), "user")


def write_ngff(path: Path, dataset: list, image: list, document: list, unit="micrometer") -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=(64, 64, 3), dtype="u1", chunks=(64, 64, 3))[:] = PIXELS
    axes = [{"name": name, "type": "space", "unit": unit} for name in "yx"]
    axes.append({"name": "c", "type": "channel"})
    steps = {"coordinateTransformations": image} if image else {}
    datasets = [{"path": "0", "coordinateTransformations": dataset}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets} | steps]
    if document:
        group.attrs["coordinateTransformations"] = document
    return path


def times(*factors: float) -> dict:
    return {"type": "scale", "scale": list(factors)}


@pytest.mark.parametrize(
    ("dataset", "image", "document", "expected"),
    [
        ([times(1, 1, 1)], [times(0.1625, 0.1625, 1)], [], (0.1625, 0.1625)),
        ([times(0.5, 0.25, 1)], [], [], (0.25, 0.5)),
        ([times(2, 2, 1)], [times(0.5, 0.25, 1)], [times(0.5, 2, 1)], (1.0, 0.5)),
        (
            [times(0.5, 0.5, 1), {"type": "translation", "translation": [9, 9, 0]}],
            [],
            [],
            (0.5, 0.5),
        ),
        ([{"type": "identity"}], [times(0.5, 0.5, 1)], [], (0.5, 0.5)),
        (
            [{"type": "sequence", "transformations": [times(2, 2, 1), times(0.2, 0.1, 1)]}],
            [],
            [],
            (0.2, 0.4),
        ),
        ([{"type": "rotation", "rotation": [[0, 1], [1, 0]]}], [], [], None),
        ([times(0.5)], [], [], None),
        ([times(float("nan"), 0.5, 1)], [], [], None),
        ([times("a", 0.5, 1)], [], [], None),
        ([times(250, 250, 1)], [], [], None),
        ([times(0.5, 25, 1)], [], [], None),
        ([], [], [], None),
        ([{"type": "translation", "translation": [9, 9, 0]}], [], [], None),
        ([5, "scale"], [], [], None),
    ],
)
def test_transformations_of_ngff_are_composed(tmp_path: Path, dataset, image, document, expected):
    path = write_ngff(tmp_path / "a.zarr", dataset, image, document)
    mpp = scale_of(path)[0]
    assert mpp == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("coarse", "said"), [(1.0, ""), (0.5, "level 1 to be 1 times"), (9.0, "level 1 to be 18 times")]
)
def test_levels_that_contradict_their_sizes_are_said(tmp_path: Path, coarse: float, said: str):
    path = write_ngff(tmp_path / "a.zarr", [times(0.5, 0.5, 1)], [], [])
    group = zarr.open_group(path, mode="r+")
    group.create_array("1", shape=(32, 32, 3), dtype="u1", chunks=(32, 32, 3))[:] = PIXELS[::2, ::2]
    [about] = group.attrs["multiscales"]
    level = {"path": "1", "coordinateTransformations": [times(coarse, coarse, 1)]}
    group.attrs["multiscales"] = [about | {"datasets": [*about["datasets"], level]}]
    with open_slide(path) as slide:
        assert slide.info.mpp == (0.5, 0.5)
        about_levels = [note for note in slide.notes if "level" in note]
    assert len(about_levels) == bool(said)
    assert all(said in note and "check the scale" in note for note in about_levels)


def test_metadata_without_a_unit_are_no_scale(tmp_path: Path):
    path = write_ngff(tmp_path / "a.zarr", [times(0.5, 0.5, 1)], [], [])
    file = path / ".zattrs"
    about = json.loads(file.read_text())
    for axis in about["multiscales"][0]["axes"]:
        axis.pop("unit", None)
    file.write_text(json.dumps(about))
    assert scale_of(path)[:2] == (None, "unknown")


def write_images(path: Path, images: list[tuple[str, int, float, str]]) -> Path:
    """One page, and the OME-XML of several images: name, side, um, and what holds their pixels."""
    xml = "".join(
        f'<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" Type="uint8" '
        f'DimensionOrder="XYCZT" SizeX="{side}" SizeY="{side}" SizeC="3" SizeZ="1" SizeT="1" '
        f'PhysicalSizeX="{um}" PhysicalSizeY="{um}"><Channel ID="Channel:{number}:0" '
        f'SamplesPerPixel="3"/>{pixels}</Pixels></Image>'
        for number, (name, side, um, pixels) in enumerate(images)
    )
    space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    xml = f'<?xml version="1.0"?><OME xmlns="{space}">{xml}</OME>'
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None}
    tifffile.imwrite(path, PIXELS, description=xml, **options)
    return path


@pytest.mark.parametrize("name", ["", "scan"])
@pytest.mark.parametrize("side", [64, 32])
def test_the_scale_of_an_image_whose_pixels_are_elsewhere_is_not_taken(tmp_path, name, side):
    images = [(name, side, 3.0, "<MetadataOnly/>"), ("scan", 64, 0.25, "<TiffData/>")]
    path = write_images(tmp_path / "a.ome.tif", images)
    assert scale_of(path) == ((0.25, 0.25), "file", "")


def test_metadata_of_another_size_are_not_believed(tmp_path: Path):
    """A part that was cut out and saved with the metadata of the whole."""
    path = write_images(tmp_path / "a.ome.tif", [("scan", 999, 3.0, "<TiffData/>")])
    mpp, source, notes = scale_of(path)
    assert (mpp, source) == (None, "unknown")
    assert "describe a picture of 999 x 999 px, but it has 64 x 64 px" in notes

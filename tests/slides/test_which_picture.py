"""Which picture of a file is the slide, and which pages are levels of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide
from tests.support import coded_pixels

WIDTH, HEIGHT = 640, 480
RGB = coded_pixels(np.arange(WIDTH) * 3.0, np.arange(HEIGHT) * 4.0)
LABEL = np.zeros((100, 150, 3), np.uint8)
LABEL[::7] = 255
OPTIONS = {"photometric": "rgb", "compression": "zlib"}


def whole(slide: Slide) -> np.ndarray:
    return slide.read_region(
        Region(0, 0, slide.width, slide.height), (slide.width, slide.height)
    ).pixels


def half(pixels: np.ndarray, zoom: int = 2) -> np.ndarray:
    size = pixels.shape[1] // zoom, pixels.shape[0] // zoom
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", ["label", "Macro", "thumbnail image"])
def test_the_label_of_an_ome_tiff_is_never_the_slide(tmp_path: Path, first: bool, name: str):
    path = tmp_path / "a.ome.tif"
    pictures = [(LABEL, name, None), (RGB, "slide", (64, 64))]
    with tifffile.TiffWriter(path, ome=True) as writer:
        for pixels, called, tile in pictures if first else pictures[::-1]:
            about = {"axes": "YXS", "Name": called, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
            if called != "slide":
                about |= {"PhysicalSizeX": 20.0, "PhysicalSizeY": 20.0}
            writer.write(pixels, tile=tile, metadata=about, **OPTIONS)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        assert slide.info.mpp == (0.25, 0.25)


def test_a_label_larger_than_the_slide_is_not_the_slide(tmp_path: Path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(RGB, tile=(64, 64), metadata={"axes": "YXS", "Name": "label"}, **OPTIONS)
        small = half(RGB)
        writer.write(small, tile=(64, 64), metadata={"axes": "YXS", "Name": "scan"}, **OPTIONS)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), small)


def test_a_label_alone_is_refused(tmp_path: Path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, RGB, metadata={"axes": "YXS", "Name": "label"}, tile=(64, 64), **OPTIONS)
    with pytest.raises(SlideError, match="only a label"):
        open_slide(path)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_largest_page_is_the_slide_and_smaller_ones_are_levels(tmp_path: Path, order):
    path = tmp_path / "a.tif"
    levels = [RGB, half(RGB), half(RGB, 4)]
    with tifffile.TiffWriter(path) as writer:
        for index in order:
            writer.write(levels[index], tile=(64, 64), metadata=None, **OPTIONS)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((640, 480), (320, 240), (160, 120))
        np.testing.assert_array_equal(whole(slide), RGB)


def noise(width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (height // 20, width // 20, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST))


@pytest.mark.parametrize("subifds", [True, False])
def test_another_picture_of_the_right_size_is_no_level(tmp_path: Path, subifds: bool):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, tile=(64, 64), subifds=2 if subifds else None, metadata=None, **OPTIONS)
        for level in (noise(320, 240), half(RGB, 4)):
            writer.write(level, tile=(64, 64), subfiletype=1, metadata=None, **OPTIONS)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((640, 480), (160, 120))
        assert any("another picture" in note for note in slide.notes)
        coarse = slide.read_region(Region(0, 0, 640, 480), (160, 120)).pixels
        np.testing.assert_array_equal(coarse, half(RGB, 4))


@pytest.mark.parametrize("name", ["label-image", "scan.svs [label]", "LabelImage", "Thumbnail1"])
def test_a_label_is_known_by_a_word_of_its_name(tmp_path: Path, name: str):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for pixels, called in ((np.tile(LABEL, (8, 6, 1)), name), (RGB, "scan")):
            about = {"axes": "YXS", "Name": called}
            writer.write(pixels, tile=(64, 64), metadata=about, **OPTIONS)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)


@pytest.mark.parametrize("name", ["macrophages", "label-free", "mapped", "labelled nuclei"])
@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_a_word_within_another_says_nothing(tmp_path: Path, name: str, kind: str):
    if kind == "zarr":
        path = write_raw(tmp_path / "a.zarr", [name, "label image"])
    else:
        path = tmp_path / "a.ome.tif"
        about = {"axes": "YXS", "Name": name}
        tifffile.imwrite(path, RGB, ome=True, tile=(64, 64), metadata=about, **OPTIONS)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)


@pytest.mark.parametrize("hides", [True, False])
def test_a_mask_that_hides_something_is_said(tmp_path: Path, hides: bool):
    path = tmp_path / "a.tif"
    mask = np.ones(RGB.shape[:2], bool)
    mask[:100] = not hides
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(RGB, tile=(64, 64), metadata=None, **OPTIONS)
        tiff.write(mask, photometric="mask", subfiletype=4, metadata=None)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        assert any("a mask beside it" in note for note in slide.notes) == hides


@pytest.mark.parametrize("first", [True, False])
def test_a_mask_of_transparency_is_never_the_slide(tmp_path: Path, first: bool):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        for is_mask in (first, not first):
            if is_mask:
                mask = np.ones(RGB.shape[:2], bool)
                tiff.write(mask, photometric="mask", subfiletype=4, metadata=None)
            else:
                tiff.write(RGB, photometric="rgb", tile=(64, 64), metadata=None)
    with open_slide(path) as slide:
        assert (slide.height, slide.width) == RGB.shape[:2]
        image = slide.read_region(Region(0, 0, 64, 64), (64, 64))
        np.testing.assert_array_equal(image.pixels, RGB[:64, :64])
        assert slide.notes == ()


def test_a_level_that_was_left_blank_is_no_level(tmp_path: Path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(RGB, photometric="rgb", tile=(64, 64), metadata=None)
        blank = np.full_like(RGB[::2, ::2], int(RGB.mean()))
        tiff.write(blank, photometric="rgb", tile=(64, 64), subfiletype=1, metadata=None)
    with open_slide(path) as slide:
        assert len(slide.level_sizes) == 1
        assert any("shows another picture" in note for note in slide.notes)


@pytest.mark.parametrize("same", [True, False])
def test_a_level_of_ngff_shows_the_same_picture(tmp_path: Path, same: bool):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    noise = np.random.default_rng(0).integers(0, 255, RGB[::2, ::2].shape, dtype=np.uint8)
    for name, pixels in (("0", RGB), ("1", half(RGB) if same else noise)):
        array = group.create_array(name, shape=pixels.shape, dtype="u1", chunks=(64, 64, 3))
        array[:] = pixels
    datasets = [{"path": "0"}, {"path": "1"}]
    group.attrs["multiscales"] = [{"axes": ["y", "x", "c"], "datasets": datasets}]
    with open_slide(tmp_path / "a.zarr") as slide:
        assert len(slide.level_sizes) == 1 + same
        assert any("another picture" in note for note in slide.notes) != same


@pytest.mark.parametrize("quality", [30, 90])
def test_a_level_is_the_same_picture_for_all_its_artefacts(tmp_path: Path, quality: int):
    path = tmp_path / "a.tif"
    sharp = np.ascontiguousarray(RGB[::4, ::4])  # picked, not averaged
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "compression": "jpeg", "tile": (64, 64), "metadata": None}
        writer.write(RGB, subifds=1, compressionargs={"level": quality}, **options)
        writer.write(sharp, subfiletype=1, compressionargs={"level": quality}, **options)
    with open_slide(path) as slide:
        assert len(slide.level_sizes) == 2


def test_several_large_pictures_are_said(tmp_path: Path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, pixels in (("one", half(RGB)), ("two", RGB), ("three", noise(640, 400))):
            about = {"axes": "YXS", "Name": name}
            writer.write(pixels, tile=(64, 64), metadata=about, **OPTIONS)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        assert any("3 large pictures" in note for note in slide.notes)


@pytest.mark.parametrize("ome", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_a_pyramid_goes_before_a_larger_picture_without_levels(tmp_path: Path, ome, first):
    """A label that nothing names may have more pixels than a small scan; it has no levels."""
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    label = np.tile(LABEL, (8, 6, 1))
    about = {"metadata": {"axes": "YXS"} if ome else None}

    def write_label(writer: tifffile.TiffWriter) -> None:
        writer.write(label, rowsperstrip=64, **about, **OPTIONS)

    with tifffile.TiffWriter(path, ome=ome) as writer:
        if first:
            write_label(writer)
        writer.write(RGB, tile=(64, 64), subifds=2 if ome else None, **about, **OPTIONS)
        for zoom in (2, 4):
            level = {} if ome else {"metadata": None}
            writer.write(half(RGB, zoom), tile=(64, 64), **level, **OPTIONS)
        if not first:
            write_label(writer)
    assert label.size > RGB.size
    with open_slide(path) as slide:
        assert slide.level_sizes == ((640, 480), (320, 240), (160, 120))
        np.testing.assert_array_equal(whole(slide), RGB)
        assert any("2 large pictures; the one with levels" in note for note in slide.notes)


def test_a_small_pyramid_is_not_the_slide(tmp_path: Path):
    """An overview and its halves say nothing against a large scan without levels."""
    path = tmp_path / "a.tif"
    large = coded_pixels(np.arange(WIDTH * 2 + 64) * 2.0, np.arange(HEIGHT * 2 + 64) * 2.0)
    with tifffile.TiffWriter(path) as writer:
        for zoom in (1, 2, 4):
            writer.write(half(RGB, zoom), tile=(64, 64), metadata=None, **OPTIONS)
        writer.write(large, tile=(64, 64), metadata=None, **OPTIONS)
    with open_slide(path) as slide:
        assert (slide.height, slide.width) == large.shape[:2]


def write_raw(path: Path, names: list[str]) -> Path:
    """A folder as bioformats2raw makes it: images by number, described by one OME-XML."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    for number, name in enumerate(names):
        pixels = LABEL if name == "label image" else RGB
        image = group.create_group(str(number))
        array = image.create_array("0", shape=pixels.shape, dtype="u1", chunks=(64, 64, 3))
        array[:] = pixels
        axes = [{"name": n, "type": "space"} for n in "yx"] + [{"name": "c", "type": "channel"}]
        datasets = [{"path": "0"}]
        image.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    (path / "OME").mkdir()
    images = "".join(f'<Image Name="{name}"><Pixels/></Image>' for name in names)
    space = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    (path / "OME" / "METADATA.ome.xml").write_text(f"<OME {space}>{images}</OME>")
    return path


@pytest.mark.parametrize("names", [["scan", "label image"], ["label image", "scan"], ["scan"]])
def test_the_first_image_of_a_bioformats_folder(tmp_path: Path, names: list[str]):
    with open_slide(write_raw(tmp_path / "a.zarr", names)) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        others = [note for note in slide.notes if "the others are" in note]
        assert len(others) == len(names) - 1
        assert all("label image" in note for note in others)


def test_an_overview_that_nothing_names_is_not_the_slide(tmp_path: Path):
    path = write_raw(tmp_path / "a.zarr", ["label image", "b"])
    xml = path / "OME" / "METADATA.ome.xml"
    xml.write_text(xml.read_text().replace("label image", "a"))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        said = "of 2 images 1, the largest, was opened; the others are 0 (a)"
        assert any(said in note for note in slide.notes)


def test_an_image_that_is_missing_does_not_lend_its_name(tmp_path: Path):
    """Else the label would be the scan that is gone."""
    path = write_raw(tmp_path / "a.zarr", ["scan", "label image"])
    shutil.rmtree(path / "0")
    with pytest.raises(SlideError, match="holds no image"):
        open_slide(path)
    path = write_raw(tmp_path / "b.zarr", ["one", "two"])
    shutil.rmtree(path / "0")
    with open_slide(path) as slide:
        assert any("are missing: 0 (one)" in note for note in slide.notes)


@pytest.mark.parametrize("ome", [True, False])
def test_a_small_page_that_holds_the_slide_as_its_part(tmp_path: Path, ome: bool):
    path = tmp_path / ("a.ome.tif" if ome else "a.tif")
    about = {"metadata": {"axes": "YXS"} if ome else None}
    with tifffile.TiffWriter(path, ome=ome) as writer:
        writer.write(half(RGB, 4), tile=(64, 64), subifds=2, **about, **OPTIONS)
        writer.write(RGB, tile=(64, 64), **OPTIONS)
        writer.write(half(RGB), tile=(64, 64), **OPTIONS)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((640, 480), (320, 240), (160, 120))
        np.testing.assert_array_equal(whole(slide), RGB)


@pytest.mark.parametrize("kind", ["tif", "zarr"])
def test_a_level_that_is_far_darker_is_no_level(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    bright = RGB // 2 + 110
    levels = [bright, half(bright) // 2]
    if kind == "zarr":
        group = zarr.open_group(path, mode="w", zarr_format=2)
        for name, level in enumerate(levels):
            array = group.create_array(str(name), shape=level.shape, dtype="u1", chunks=(64, 64, 3))
            array[:] = level
        datasets = [{"path": "0"}, {"path": "1"}]
        group.attrs["multiscales"] = [{"axes": ["y", "x", "c"], "datasets": datasets}]
    else:
        with tifffile.TiffWriter(path) as writer:
            writer.write(levels[0], tile=(64, 64), subifds=1, **OPTIONS)
            writer.write(levels[1], tile=(64, 64), **OPTIONS)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((WIDTH, HEIGHT),)
        assert any("shows another picture" in note for note in slide.notes)


def test_several_pyramids_of_one_folder_are_said(tmp_path: Path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    axes = ["y", "x", "c"]
    for name, pixels in (("0", RGB), ("1", RGB[::-1])):
        group.create_array(name, shape=RGB.shape, dtype="u1", chunks=(160, 160, 3))[:] = pixels
    several = [{"axes": axes, "datasets": [{"path": path}]} for path in "01"]
    group.attrs["multiscales"] = several
    with open_slide(tmp_path / "a.zarr") as slide:
        np.testing.assert_array_equal(whole(slide), RGB)
        assert any("first of 2 pyramids" in note for note in slide.notes)


def test_folders_are_refused_by_what_they_are(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SlideError, match="neither a DICOM slide nor an OME-Zarr"):
        open_slide(tmp_path / "empty")
    group = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    group.attrs["plate"] = {"wells": []}
    with pytest.raises(SlideError, match="plate of wells"):
        open_slide(tmp_path / "plate.zarr")

"""Bad input: an error of one line that names the remedy, or white where tiles are damaged."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.reader import get_reader
from napari_pathreason.slides import open_slide
from tests.support import write_synthetic_slide

NOISE = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)


def refusal(path: Path) -> str:
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path.parent) not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("name", ["missing.svs", "missing.png", "missing.zarr"])
def test_a_missing_file(tmp_path: Path, name: str):
    assert "check the name" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["a.svs", "a.tif", "a.ome.tif", "a.ndpi", "a.png", "a.jpg", "a.txt"]
)
@pytest.mark.parametrize(
    "content", [b"", b"II", b"II*\0", b"MM\0+\0\x08\0\0", b"words, no image", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_image(tmp_path: Path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(content)
    assert "give an SVS" in refusal(path)


@pytest.mark.parametrize("where", ["empty", "text", "array"])
def test_a_folder_that_is_no_zarr_image(tmp_path: Path, where: str):
    folder = tmp_path / "some.zarr"
    folder.mkdir()
    if where == "text":
        (folder / "zarr.json").write_text("{}")
    if where == "array":
        import zarr

        zarr.save_array(folder, np.zeros((5, 5)))
    assert "multiscales" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
@pytest.mark.parametrize("name", ["pipe.png", "pipe.tif", "zero.png", "zero.svs"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str):
    path = tmp_path / name
    if name.startswith("pipe"):
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(SlideError, match="neither a file nor a folder"):
        open_slide(path)


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "\x1b[2J.png"])
def test_a_name_that_no_file_has_is_missing(tmp_path: Path, name: str):
    with pytest.raises(SlideError, match="is not there") as error:
        open_slide(tmp_path / name)
    assert "\x1b" not in str(error.value)
    assert get_reader(str(tmp_path / name)) is None


@pytest.mark.parametrize("name", ["loop.png", "loop.zarr", "nothing.tif"])
def test_a_link_to_nothing_is_missing(tmp_path: Path, name: str):
    path = tmp_path / name
    path.symlink_to(name if name.startswith("loop") else "not there")
    with pytest.raises(SlideError, match="is not there"):
        open_slide(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_cut_picture_fails_at_the_first_read(tmp_path: Path, suffix: str):
    path = tmp_path / f"cut{suffix}"
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, "PNG" if suffix == ".png" else "JPEG")
    path.write_bytes(buffer.getvalue()[: buffer.tell() // 2])
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="copy the file again"):
            slide.read_region(Region(0, 0, 512, 512), (64, 64))
        with pytest.raises(SlideError, match="copy the file again"):
            slide.display_levels()[0][:5, :5]


def test_a_picture_of_too_many_pixels_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "vast.png"
    Image.fromarray(NOISE).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 512 * 512 // 2 - 1)
    assert "pyramidal TIFF" in refusal(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 512 * 512 - 1)  # Pillow would warn
    with open_slide(path) as slide:
        assert (slide.display_levels()[0][:9, :9] == NOISE[:9, :9]).all()


def test_a_cut_slide_tells_the_share_it_lacks(tmp_path: Path):
    """The tail of the tiles is gone, the directory stands at the front."""
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, NOISE, photometric="rgb", tile=(128, 128))
    with tifffile.TiffFile(path) as tiff:
        offsets = tiff.pages[0].dataoffsets
    with path.open("r+b") as file:
        file.truncate(offsets[12] - 10)  # the last row of tiles, and some bytes of the one before
    with open_slide(path) as slide:
        image = slide.read_region(Region(0, 0, 512, 512), (512, 512))
        assert image.unreadable == 5 / 16
        np.testing.assert_array_equal(image.pixels[:256], NOISE[:256])
        assert (image.pixels[384:] == 255).all()
        assert slide.read_region(Region(0, 0, 200, 200), (100, 100)).unreadable == 0
        assert slide.read_region(Region(0, 400, 50, 50), (50, 50)).unreadable == 1
        assert (np.asarray(slide.display_levels()[0])[384:] == 255).all()


@pytest.mark.parametrize("compression", ["jpeg", "zlib", "jpeg2000", "lzw"])
def test_corrupt_tiles_are_white_and_counted(tmp_path: Path, compression: str):
    path = tmp_path / "corrupt.tif"
    tifffile.imwrite(path, NOISE, photometric="rgb", tile=(128, 128), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        spots = [(tiff.pages[0].dataoffsets[i], tiff.pages[0].databytecounts[i]) for i in (0, 5)]
    with path.open("r+b") as file:
        for offset, count in spots:
            file.seek(offset)
            file.write(b"\xa5" * count)
    with open_slide(path) as slide:
        image = slide.read_region(Region(0, 0, 512, 512), (512, 512))
        assert image.unreadable == 2 / 16
        assert (image.pixels[:128, :128] == 255).all()
        assert (image.pixels[128:256, 128:256] == 255).all()
        assert (image.pixels[256:] != 255).any()
        half = slide.read_region(Region(64, 0, 128, 128), (128, 128))
        assert half.unreadable == 0.5


def test_tiles_that_the_file_leaves_out_are_white(tmp_path: Path):
    """A tile of no bytes is background, not damage."""
    path = tmp_path / "sparse.tif"
    tiles = [NOISE[:128, :128].tobytes(), b"", b"", NOISE[:128, :128].tobytes()]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=(256, 256, 3),
        dtype=np.uint8,
        tile=(128, 128),
        photometric="rgb",
        compression=None,
    )
    with open_slide(path) as slide:
        image = slide.read_region(Region(0, 0, 256, 256), (256, 256))
    assert image.unreadable == 0
    assert (image.pixels[:128, 128:] == 255).all()
    np.testing.assert_array_equal(image.pixels[128:, 128:], NOISE[:128, :128])


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_pyramid_cut_anywhere_never_raises_but_as_a_slide_error(tmp_path: Path, share: float):
    path = write_synthetic_slide(tmp_path / "cut.ome.tif", 600, 500, (1, 3), tile=64)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    try:
        with open_slide(path) as slide:
            image = slide.read_region(Region(0, 0, slide.width, slide.height), (100, 100))
    except SlideError:
        return
    assert 0 <= image.unreadable <= 1


OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="64" '
    'SizeY="64" SizeC="3" SizeZ="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="3"/>'
    '<TiffData IFD="0"/></Pixels></Image></OME>'
)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('SizeZ="1"', 'SizeZ="abc"', "states SizeZ as 'abc', which is no whole number"),
        ('SizeC="3"', 'SizeC=""', "states SizeC as '', which"),
        ('SizeT="1"', 'SizeT="1.0"', "states SizeT as '1.0', which"),
        ('SizeX="64"', 'SizeX="1e9"', "states SizeX as '1e9', which"),
        ('SizeY="64"', "", "does not state its SizeY"),
        ('IFD="0"', 'IFD="first"', "states IFD as 'first', which"),
        ('Pixel="3"', 'Pixel="three"', "states SamplesPerPixel as 'three', which"),
        ("XYCZT", "XYCZQ", "order of its dimensions as 'XYCZQ', which is none"),
    ],
)
def test_numbers_of_ome_that_are_none(tmp_path: Path, old: str, new: str, says: str):
    path = tmp_path / "a.ome.tif"
    options = {"photometric": "rgb", "tile": (64, 64), "metadata": None}
    tifffile.imwrite(path, NOISE[:64, :64], description=OME.replace(old, new), **options)
    assert says in refusal(path)
    tifffile.imwrite(path, NOISE[:64, :64], description=OME, **options)
    with open_slide(path) as slide:
        assert slide.notes == ()


@pytest.mark.parametrize("name", ["a.svs", "a.png", "a.zarr.zip", "a.ome.tif"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\3\4" + bytes(60), "is a ZIP archive; unpack it"),
        (b"\x1f\x8b\x08" + bytes(60), "is packed with gzip; unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html><body>Not found", "is a web page"),
        (b"<HTML><body>Not found", "is a web page"),
        (b"%PDF-1.7\n" + bytes(60), "is a PDF document"),
    ],
    ids=["zip", "gzip", "git lfs", "html", "HTML", "pdf"],
)
def test_what_is_known_to_be_something_else(tmp_path: Path, name: str, content: bytes, says: str):
    (tmp_path / name).write_bytes(content)
    assert says in refusal(tmp_path / name)

"""What is damaged: exactly the native tiles or chunks that failed, and nothing that passes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import (
    RegionImage,
    Slide,
    open_slide,
    slide_from_arrays,
    tissue_mask,
)
from tests.support import coded_pixels

WIDTH, HEIGHT = 512, 384
RGB = coded_pixels(np.arange(WIDTH) * 4.0, np.arange(HEIGHT) * 4.0)
RGB[:8, :8] = 255


def whole(slide: Slide) -> RegionImage:
    return slide.read_region(Region(0, 0, slide.width, slide.height), (slide.width, slide.height))


def write(path: Path, pixels=RGB, compression="zlib", **options) -> Path:
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(128, 128), compression=compression, **options
    )
    return path


def segment(path: Path, index: int, page: int = 0) -> tuple[int, int]:
    with tifffile.TiffFile(path) as tiff:
        one = tiff.pages[page]
        return one.dataoffsets[index], one.databytecounts[index]


def patch(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compression", ["zlib", "lzw"])
def test_only_the_tile_that_failed(tmp_path: Path, dtype: str, compression: str):
    pixels = RGB if dtype == "u1" else (RGB * (1 / 255 if dtype == "f4" else 257.0)).astype(dtype)
    path = write(tmp_path / "a.tif", pixels, compression)
    at, count = segment(path, 5)
    patch(path, at, b"\xa5" * count)
    with open_slide(path) as slide:
        image = whole(slide)
        assert image.unreadable == 1 / 12
        assert image.lost == (Region(128, 128, 128, 128),)
        expected = RGB.copy()
        expected[128:256, 128:256] = 255
        assert np.abs(image.pixels.astype(int) - expected).max() <= 1
        assert slide.read_region(Region(0, 0, 100, 100), (50, 50)).unreadable == 0


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_what_is_left_out_is_white_in_every_type(tmp_path: Path, dtype: str):
    scaled = (RGB.astype(dtype) * (257 if dtype == "u2" else 1)).astype(dtype)
    tiles = [
        scaled[y : y + 128, x : x + 128].tobytes()
        for y in range(0, HEIGHT, 128)
        for x in range(0, WIDTH, 128)
    ]
    tiles[1] = b""
    path = tmp_path / "a.tif"
    options = {"shape": RGB.shape, "dtype": np.dtype(dtype), "tile": (128, 128)}
    tifffile.imwrite(path, iter(tiles), photometric="rgb", compression=None, **options)
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.unreadable == 0
    assert (image.pixels[:128, 128:256] == 255).all()
    np.testing.assert_array_equal(image.pixels[128:], RGB[128:])


def planes_without_one(lost: int, which: int) -> list[bytes]:
    """Tiles of red, green and blue apart, of which one is left out."""
    tiles = [
        np.ascontiguousarray(RGB[y : y + 128, x : x + 128, channel]).tobytes()
        for channel in range(3)
        for y in range(0, HEIGHT, 128)
        for x in range(0, WIDTH, 128)
    ]
    tiles[which * 12 + lost] = b""
    return tiles


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_colour_that_alone_is_left_out_was_lost(tmp_path: Path, which: int):
    path = tmp_path / "a.tif"
    options = {"shape": (3, HEIGHT, WIDTH), "dtype": np.uint8, "tile": (128, 128)}
    tiles = iter(planes_without_one(6, which))
    tifffile.imwrite(path, tiles, photometric="rgb", planarconfig="separate", **options)
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.lost == (Region(256, 128, 128, 128),)
    assert (image.pixels[128:256, 256:384] == 255).all()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_channel_that_alone_is_left_out_is_dark(tmp_path: Path, which: int):
    """Of fluorescence, a writer may leave out where one channel holds nothing."""
    path = tmp_path / "a.ome.tif"
    names = ["DAPI", "FITC", "Cy3"]
    about = {"axes": "CYX", "Channel": {"Name": names}}
    options = {"shape": (3, HEIGHT, WIDTH), "dtype": np.uint8, "tile": (128, 128)}
    tiles = iter(planes_without_one(6, which))
    tifffile.imwrite(path, tiles, photometric="minisblack", metadata=about, **options)
    with open_slide(path, channels="1=red,2=green,3=blue") as slide:
        image = whole(slide)
    part = image.pixels[128:256, 256:384]
    other = 0 if which else 1
    assert image.unreadable == 0
    assert (part[..., which] == 0).all()
    assert np.corrcoef(part[..., other].ravel(), RGB[PART][..., other].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_half_a_jpeg_tile_is_damage_and_not_grey(tmp_path: Path, share: float):
    path = write(tmp_path / "a.tif", compression="jpeg")
    with open_slide(path) as slide:
        before = whole(slide)
        assert before.unreadable == 0
    at, count = segment(path, 6)
    cut = int(count * share)
    patch(path, at + cut, bytes(count - cut))
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.unreadable == 1 / 12
    assert (image.pixels[128:256, 256:384] == 255).all()
    np.testing.assert_array_equal(image.pixels[:128], before.pixels[:128])


def test_a_jpeg_tile_larger_than_declared_is_damage(tmp_path: Path):
    """Its header would have memory for 65,500 x 65,500 px."""
    path = write(tmp_path / "a.tif", compression="jpeg")
    at, count = segment(path, 6)
    with path.open("rb") as file:
        file.seek(at)
        data = file.read(count)
    frame = data.index(b"\xff\xc0")
    patch(path, at + frame + 5, b"\xff\xdc\xff\xdc")
    with open_slide(path) as slide:
        assert whole(slide).unreadable == 1 / 12


@pytest.mark.parametrize("codec", ["jpegxl", "jpegxr", "lerc", "jpeg2k", "webp", "png"])
def test_no_tile_is_larger_than_the_file_declares(tmp_path: Path, codec: str):
    """A stream of some bytes may ask for more memory than there is."""
    compression = codec.replace("2k", "2000")
    path = write(tmp_path / "a.tif", compression=compression)
    large = getattr(imagecodecs, f"{codec}_encode")(np.full((256, 256, 3), 77, np.uint8))
    size = path.stat().st_size
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tags = tiff.pages[0].tags
        at, counts = list(tiff.pages[0].dataoffsets), list(tiff.pages[0].databytecounts)
        at[5], counts[5] = size, len(large)
        tags[324].overwrite(at)
        tags[325].overwrite(counts)
    assert path.stat().st_size == size
    with path.open("ab") as file:
        file.write(large)
    with open_slide(path) as slide:
        assert whole(slide).lost == (Region(128, 128, 128, 128),)


@pytest.mark.parametrize("side", [512, 2304])
def test_a_damaged_strip_of_jpeg_is_no_grey(tmp_path: Path, side: int):
    """Also one that is too large to be decoded for a part of it."""
    path = tmp_path / "a.tif"
    pixels = np.tile(RGB, (6, 5, 1))[:side, :side].copy()
    tifffile.imwrite(path, pixels, photometric="rgb", compression="jpeg", rowsperstrip=side)
    at, count = segment(path, 0)
    patch(path, at + count // 2, bytes(count // 2))
    with pytest.raises(SlideError, match=r"damaged.*cop"), open_slide(path) as slide:
        whole(slide)


def test_a_picture_is_read_whatever_it_is_called(tmp_path: Path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, format="PNG")
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide).pixels, RGB)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_damaged_flat_jpeg_is_an_error(tmp_path: Path, name: str):
    path = tmp_path / name
    Image.fromarray(RGB).save(path, format="JPEG", quality=90)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3] + b"\xff\xd9")
    with open_slide(path) as slide, pytest.raises(SlideError, match="copy the file again"):
        whole(slide)


@pytest.mark.parametrize("lossless", [True, False])
def test_half_a_flat_webp_is_an_error(tmp_path: Path, lossless: bool):
    path = tmp_path / "a.webp"
    Image.fromarray(RGB).save(path, lossless=lossless)
    with open_slide(path) as slide:
        assert whole(slide).unreadable == 0
    size = path.stat().st_size
    patch(path, size // 2, bytes(size - size // 2))
    with open_slide(path) as slide, pytest.raises(SlideError, match="copy the file again"):
        whole(slide)


def write_zarr(path: Path, pixels=RGB, zarr_format=2) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    array = group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(128, 128, 3))
    array[:] = pixels
    axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    axes.append({"name": "c", "type": "channel"})
    about = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]}
    group.attrs.update(about if zarr_format == 2 else {"ome": {"version": "0.5"} | about})
    return path


def chunk(path: Path, y: int, x: int, zarr_format: int) -> Path:
    return path / "0" / (f"{y}.{x}.0" if zarr_format == 2 else f"c/{y}/{x}/0")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_only_the_chunk_that_failed(tmp_path: Path, zarr_format: int, dtype: str):
    pixels = (RGB.astype(dtype) * (257 if dtype == "u2" else 1)).astype(dtype)
    path = write_zarr(tmp_path / "a.zarr", pixels, zarr_format)
    chunk(path, 1, 1, zarr_format).write_bytes(b"\x01\x02")
    with open_slide(path) as slide:
        image = whole(slide)
        assert image.unreadable == 1 / 12
        assert image.lost == (Region(128, 128, 128, 128),)
        expected = RGB.copy()
        expected[128:256, 128:256] = 255
        assert np.abs(image.pixels.astype(int) - expected).max() <= 1
        half = slide.read_region(Region(64, 128, 128, 128), (64, 64))
        assert 0.4 < half.unreadable < 0.6


@pytest.mark.parametrize("codec", [ZstdCodec(), BloscCodec(cname="zstd"), GzipCodec()])
def test_a_chunk_that_becomes_more_than_one_is_damage(tmp_path: Path, codec):
    """A few bytes may become more than memory holds."""
    large = np.zeros((2048, 2048, 3), np.uint8)
    path, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    for folder, pixels, side in ((path, RGB, 128), (other, large, 2048)):
        group = zarr.open_group(folder, mode="w", zarr_format=3)
        group.create_array(
            "0", shape=pixels.shape, dtype="u1", chunks=(side, side, 3), compressors=codec,
            config={"write_empty_chunks": True},
        )[:] = pixels  # fmt: skip
    about = {"multiscales": [{"axes": ["y", "x", "c"], "datasets": [{"path": "0"}]}]}
    zarr.open_group(path, mode="r+").attrs["ome"] = {"version": "0.5"} | about
    shutil.copy(chunk(other, 0, 0, 3), chunk(path, 1, 2, 3))
    with open_slide(path) as slide:
        assert whole(slide).lost == (Region(256, 128, 128, 128),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shape": [60_000, 60_000, 3], "chunks": [60_000, 60_000, 3]}, "larger than memory"),
        ({"shape": [60_000, 60_000, 3], "chunks": [1, 1, 1]}, "10,800,000,000 chunks"),
    ],
)
def test_chunks_that_no_slide_has_are_said_at_open(tmp_path: Path, changes: dict, says: str):
    path = write_zarr(tmp_path / "a.zarr")
    file = path / "0/.zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(SlideError, match=says):
        open_slide(path)


def test_a_level_that_only_a_summary_knows_is_missing(tmp_path: Path):
    path = write_zarr(tmp_path / "a.zarr")
    zarr.consolidate_metadata(path)
    shutil.rmtree(path / "0")
    with pytest.raises(SlideError, match=r"level 0 of a\.zarr is missing"):
        open_slide(path)


@pytest.mark.parametrize("other", [RGB[::2, ::2].astype("u2"), RGB[::2, ::2, :1]])
def test_levels_of_other_values_are_said_at_open(tmp_path: Path, other: np.ndarray):
    path = write_zarr(tmp_path / "a.zarr")
    group = zarr.open_group(path, mode="r+")
    group.create_array("1", shape=other.shape, dtype=other.dtype, chunks=(64, 64, 1))[:] = other
    [about] = group.attrs["multiscales"]
    group.attrs["multiscales"] = [about | {"datasets": [{"path": "0"}, {"path": "1"}]}]
    with pytest.raises(SlideError, match=r"level 1 of a.zarr holds .* write the pyramid anew"):
        open_slide(path)


def test_a_folder_in_place_of_a_chunk_is_damage(tmp_path: Path):
    path = write_zarr(tmp_path / "a.zarr")
    chunk(path, 1, 2, 2).unlink()
    chunk(path, 1, 2, 2).mkdir()
    with open_slide(path) as slide:
        assert whole(slide).lost == (Region(256, 128, 128, 128),)


def test_a_chunk_that_promises_more_than_it_holds(tmp_path: Path):
    """Blosc would read past the end of it, and the process would die."""
    path = tmp_path / "a.zarr"
    group = zarr.open_group(write_zarr(path), mode="r+")
    pixels = np.random.default_rng(0).integers(0, 255, RGB.shape, dtype=np.uint8)
    packed = BloscCodec(cname="lz4")
    group3 = zarr.open_group(tmp_path / "b.zarr", mode="w", zarr_format=3)
    array = group3.create_array(
        "0", shape=RGB.shape, dtype="u1", chunks=(128, 128, 3), compressors=packed
    )
    array[:] = pixels
    group3.attrs["ome"] = {"version": "0.5", "multiscales": group.attrs["multiscales"]}
    file = chunk(tmp_path / "b.zarr", 1, 1, 3)
    file.write_bytes(file.read_bytes()[:530])
    with open_slide(tmp_path / "b.zarr") as slide:
        image = whole(slide)
    assert image.lost == (Region(128, 128, 128, 128),)
    np.testing.assert_array_equal(image.pixels[:128], pixels[:128])


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_that_were_left_out_are_white(tmp_path: Path, zarr_format: int):
    path = write_zarr(tmp_path / "a.zarr", RGB, zarr_format)
    chunk(path, 0, 2, zarr_format).unlink()
    with open_slide(path) as slide:
        image = whole(slide)
        part = slide.read_region(Region(300, 100, 100, 100), (100, 100)).pixels
    expected = RGB.copy()
    expected[:128, 256:384] = 255
    assert image.unreadable == 0
    np.testing.assert_array_equal(image.pixels, expected)
    np.testing.assert_array_equal(part, expected[100:200, 300:400])


@pytest.mark.parametrize(
    ("dtype", "top", "fill"),
    [
        ("u2", 4095, 0),
        ("u2", 65535, 0),
        ("i2", 4095, 0),
        ("f4", 1, 0),
        ("f4", 255, 0),
        ("f4", 1, np.nan),
    ],
)
def test_what_was_left_out_changes_no_brightness(tmp_path: Path, dtype: str, top: int, fill: float):
    """White is painted on the picture and is no value of it: what else is there stays as bright."""
    values = RGB / 255 * top
    pixels = (values if dtype == "f4" else np.rint(values)).astype(dtype)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    options = {"shape": pixels.shape, "dtype": dtype, "chunks": (128, 128, 3), "fill_value": fill}
    group.create_array("0", **options)[:] = pixels
    datasets = [{"path": "0"}]
    group.attrs["multiscales"] = [{"axes": ["y", "x", "c"], "datasets": datasets}]
    chunk(tmp_path / "a.zarr", 0, 2, 2).unlink()
    with open_slide(tmp_path / "a.zarr") as slide:
        image = whole(slide)
    expected = RGB.copy()
    expected[:128, 256:384] = 255
    assert image.unreadable == 0
    assert np.abs(image.pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("fill", [7, 255])
def test_a_fill_value_that_was_chosen_is_a_colour(tmp_path: Path, fill: int):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    options = {"shape": RGB.shape, "dtype": "u1", "chunks": (128, 128, 3), "fill_value": fill}
    group.create_array("0", **options)[:] = RGB
    datasets = [{"path": "0"}]
    group.attrs["multiscales"] = [{"axes": ["y", "x", "c"], "datasets": datasets}]
    chunk(tmp_path / "a.zarr", 0, 2, 2).unlink()
    with open_slide(tmp_path / "a.zarr") as slide:
        assert (whole(slide).pixels[:128, 256:384] == fill).all()


def test_parts_of_a_graph_that_fail(tmp_path: Path):
    import dask.array as da

    def fail_there(block, block_info=None):
        if block_info[0]["chunk-location"][:2] == (1, 2):
            raise KeyError("a part is missing")
        return block

    array = da.from_array(RGB, chunks=(128, 128, 3)).map_blocks(fail_there, dtype="u1")
    with slide_from_arrays([array], "layer") as slide:
        image = whole(slide)
    assert image.lost == (Region(256, 128, 128, 128),)
    np.testing.assert_array_equal(image.pixels[:128], RGB[:128])


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EMFILE])
def test_what_passes_is_tried_again_then_raised(tmp_path: Path, code: int, monkeypatch):
    monkeypatch.setattr("napari_pathreason.slides._files.PAUSES", (0.0, 0.0))
    pread, failures = os.pread, [2]

    def flaky(*where):
        if failures[0]:
            failures[0] -= 1
            raise OSError(code, os.strerror(code))
        return pread(*where)

    with open_slide(write(tmp_path / "a.tif"), cache=0) as slide:
        monkeypatch.setattr(os, "pread", flaky)
        assert whole(slide).unreadable == 0
        failures[0] = 10**9
        with pytest.raises(SlideError, match="check the disk or the network"):
            whole(slide)
        failures[0] = 0
        assert whole(slide).unreadable == 0


def test_what_passes_is_no_damage_of_an_array_either(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("napari_pathreason.slides._files.PAUSES", (0.0,))

    class Busy:
        shape, dtype, left = RGB.shape, RGB.dtype, 1

        def __getitem__(self, key):
            if self.left:
                self.left -= 1
                raise OSError(errno.EIO, "busy")
            return RGB[key]

    busy = Busy()
    with slide_from_arrays([busy], "layer") as slide:
        assert whole(slide).unreadable == 0
        busy.left = 10**9
        with pytest.raises(SlideError, match="check the disk"):
            whole(slide)


# said at open


def tag_at(path: Path, code: int) -> int:
    """Where the entry of a tag of the first directory begins."""
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages[0].tags[code].offset


@pytest.mark.parametrize("code", [324, 325])
def test_a_lost_table_is_said_at_open(tmp_path: Path, code: int):
    path = write(tmp_path / "a.tif")
    patch(path, tag_at(path, code), (65000).to_bytes(2, "little"))
    with pytest.raises(SlideError, match=r"table of the .* of its tiles is lost"):
        open_slide(path)


@pytest.mark.parametrize("code", [324, 325])
def test_a_table_that_is_too_short_is_said_at_open(tmp_path: Path, code: int):
    path = write(tmp_path / "a.tif")
    patch(path, tag_at(path, code) + 4, (7).to_bytes(4, "little"))
    with pytest.raises(SlideError, match=r"needs 12 tiles.*holds 7"):
        open_slide(path)


def test_a_size_that_the_table_cannot_hold_is_said_at_open(tmp_path: Path):
    path = write(tmp_path / "a.tif")
    patch(path, tag_at(path, 257) + 8, (200_000).to_bytes(4, "little"))
    with pytest.raises(SlideError, match="needs"):
        open_slide(path)


def test_a_codec_that_is_not_served_is_said_at_open(tmp_path: Path):
    path = write(tmp_path / "a.tif")
    patch(path, tag_at(path, 259) + 8, (34718).to_bytes(2, "little"))
    with pytest.raises(SlideError, match="not served"):
        open_slide(path)


def test_tiles_that_none_can_decode_are_said_at_open(tmp_path: Path):
    path = write(tmp_path / "a.tif")
    for index in range(12):
        at, count = segment(path, index)
        patch(path, at, b"\xa5" * count)
    with pytest.raises(SlideError, match="none of the tiles"):
        open_slide(path)


def test_a_cut_file_is_said_at_open(tmp_path: Path):
    path = write(tmp_path / "a.tif")
    at, _ = segment(path, 10)
    with path.open("r+b") as file:
        file.truncate(at)
    with open_slide(path) as slide:
        assert any("2 of 12 tiles are missing" in note for note in slide.notes)


def write_set(path: Path, second: str) -> Path:
    """The first file of a set of two channels, which names the second one."""
    uuids = [f"urn:uuid:00000000-0000-0000-0000-00000000000{n}" for n in (1, 2)]
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID>'
        "</TiffData>"
        for c, (name, uuid) in enumerate(zip((path.name, second), uuids, strict=True))
    )
    about = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{uuids[0]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
        f'Type="uint8" SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeC="2" SizeZ="1" SizeT="1">'
        f'<Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/>{data}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, RGB[..., 0], description=about, tile=(128, 128), metadata=None)
    return path


def test_a_missing_file_of_a_set_is_said_at_open(tmp_path: Path):
    with pytest.raises(SlideError, match=r"second\.ome\.tif is missing"):
        open_slide(write_set(tmp_path / "first.ome.tif", "second.ome.tif"))


@pytest.mark.parametrize("second", ["../b/second.ome.tif", "b/second.ome.tif", "/dev/zero", "pipe"])
def test_a_set_holds_no_files_but_those_beside_it(tmp_path: Path, second: str):
    """Libraries open whatever a file names: of another folder, or a pipe, for which they wait."""
    folder = tmp_path / "a"
    for place in (folder, tmp_path / "b", folder / "b"):
        place.mkdir(parents=True, exist_ok=True)
        write_set(place / "second.ome.tif", "first.ome.tif")
    os.mkfifo(folder / "pipe")
    path = write_set(folder / "first.ome.tif", second)
    named = second.rpartition("/")[2]
    why = "is no file" if named == second else "lies in another folder"
    with pytest.raises(SlideError, match=f"of which {named} {why}; save the set as one") as caught:
        open_slide(path)
    assert ".." not in str(caught.value)
    # one that names a single file, and not itself, may have been renamed: then no set is missing
    content = path.read_bytes()
    alone = content.replace(b' UUID="urn', b' OLD_="urn').replace(
        b'FileName="first', b'OldName_="first'
    )
    path.write_bytes(alone)
    with pytest.raises(SlideError, match=f"of which {named} {why}"):
        open_slide(path)


def test_an_image_of_metadata_alone_has_no_planes(tmp_path: Path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(128, 128), metadata={"axes": "YXS"})
    with tifffile.TiffFile(path) as tiff:
        about = tiff.ome_metadata
    more = (
        '<Image ID="Image:1"><Pixels ID="Pixels:1" DimensionOrder="XYCZT" Type="uint8" SizeX="9" '
        'SizeY="9" SizeC="1" SizeZ="1" SizeT="1"><MetadataOnly/></Pixels></Image></OME>'
    )
    about = about.replace("</OME>", more)
    tifffile.imwrite(
        path, RGB, photometric="rgb", tile=(128, 128), metadata=None, description=about.encode()
    )
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide).pixels, RGB)


def test_a_large_strip_that_was_left_out_is_white(tmp_path: Path):
    """Such a picture is decoded whole, by a library that gives black for it."""
    dark = np.full((2100, 2100, 3), 90, np.uint8)
    strips = [zlib.compress(dark.tobytes()), b""]
    options = {"rowsperstrip": 2100, "compression": "zlib", "photometric": "rgb"}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, iter(strips), shape=(4200, 2100, 3), dtype=np.uint8, **options)
    with open_slide(path) as slide:
        image = slide.read_region(Region(0, 2000, 2100, 200), (2100, 200))
    assert image.unreadable == 0
    assert (image.pixels[:100] == 90).all()
    assert (image.pixels[100:] == 255).all()


# levels


def write_pyramid(path: Path) -> Path:
    small = np.ascontiguousarray(RGB[::2, ::2])
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
        writer.write(RGB, subifds=1, **options)
        writer.write(small, subfiletype=1, **options)
    return path


def coarse_table(path: Path) -> tuple[list[int], list[int], int]:
    """Offsets and sizes of the tiles of the coarse level, and where the table of sizes lies."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.series[0].levels[1].keyframe
        return list(page.dataoffsets), list(page.databytecounts), page.tags[325].valueoffset


@pytest.mark.parametrize("how", ["damaged", "left out"])
def test_a_mask_knows_what_it_could_not_judge(tmp_path: Path, how: str):
    path = write_pyramid(tmp_path / "a.tif")
    offsets, counts, table = coarse_table(path)
    lost = [i for i in range(len(counts)) if i not in (0, 1, 2, 3)]
    for index in lost:
        if how == "damaged":
            patch(path, offsets[index], b"\xa5" * counts[index])
        else:
            with tifffile.TiffFile(path) as tiff:
                tag = tiff.series[0].levels[1].keyframe.tags[325]
                kind = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
            patch(path, table + kind * index, bytes(kind))
    with open_slide(path) as slide:
        assert slide.level_sizes == ((512, 384), (256, 192))
        mask = tissue_mask(slide, (64, 48))
        assert mask.unknown == pytest.approx(2 / 3, abs=0.05)
        assert mask.mask[16:].all()
        assert any("could not be judged" in note for note in mask.notes)
        assert whole(slide).unreadable == 0


# left out, or lost


PART = (slice(128, 256), slice(256, 384))
"""Rows and columns of one tile or chunk of level 0."""


def write_levels(folder: Path, kind: str, is_blank: bool) -> tuple[Path, np.ndarray]:
    """A pyramid of two levels whose level 0 leaves a part out that is blank or not, and level 0."""
    fine = RGB.copy()
    if is_blank:
        fine[PART] = 243  # glass, beside tissue
    coarse = np.asarray(Image.fromarray(fine).reduce(2))
    path = folder / f"a.{kind}"
    if kind == "tif":
        packed = [
            zlib.compress(np.ascontiguousarray(fine[y : y + 128, x : x + 128]))
            for y in range(0, HEIGHT, 128)
            for x in range(0, WIDTH, 128)
        ]
        packed[6] = b""
        options = {"photometric": "rgb", "tile": (128, 128), "compression": "zlib"}
        with tifffile.TiffWriter(path) as writer:
            writer.write(iter(packed), shape=RGB.shape, dtype=np.uint8, **options)
            writer.write(coarse, **options)
    else:
        group = zarr.open_group(path, mode="w", zarr_format=2)
        for name, level in (("0", fine), ("1", coarse)):
            array = group.create_array(name, shape=level.shape, dtype="u1", chunks=(128, 128, 3))
            array[:] = level
        datasets = [{"path": "0"}, {"path": "1"}]
        group.attrs["multiscales"] = [{"axes": ["y", "x", "c"], "datasets": datasets}]
        chunk(path, 1, 2, 2).unlink()
    fine[PART] = 255
    return path, fine


@pytest.mark.parametrize("kind", ["tif", "zarr"])
@pytest.mark.parametrize("is_blank", [True, False])
def test_what_a_coarser_level_shows_was_lost(tmp_path: Path, kind: str, is_blank: bool):
    """A tile of no bytes in the midst of tissue is no background: encoders and copies fail."""
    path, expected = write_levels(tmp_path, kind, is_blank)
    with open_slide(path) as slide:
        assert len(slide.level_sizes) == 2
        image = whole(slide)
        inside = slide.read_region(Region(270, 140, 20, 20), (20, 20))
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.lost == (() if is_blank else (Region(256, 128, 128, 128),))
    assert inside.unreadable == (0 if is_blank else 1)


def test_a_chunk_that_only_a_coarse_level_lacks_was_lost(tmp_path: Path):
    path, _ = write_levels(tmp_path, "zarr", False)
    (path / "1" / "0.0.0").unlink()
    with open_slide(path) as slide:
        image = slide.read_region(Region(0, 0, WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2))
    assert image.level == 1
    assert image.lost == (Region(0, 0, 256, 256),)
    assert (image.pixels[:128, :128] == 255).all()


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("is_nothing", [True, False])
def test_a_colour_whose_chunk_alone_is_not_there(tmp_path: Path, level: int, is_nothing: bool):
    """By the format it is 0; where another level shows that colour, it was lost."""
    fine = RGB.copy()
    fine[..., 2] = 0 if is_nothing else 150
    levels = [fine, np.ascontiguousarray(fine[::2, ::2])]
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for name, pixels in enumerate(levels):
        planes = np.moveaxis(pixels, -1, 0)
        array = group.create_array(str(name), shape=planes.shape, dtype="u1", chunks=(1, 64, 64))
        array[:] = planes
    datasets = [{"path": "0"}, {"path": "1"}]
    group.attrs["multiscales"] = [{"axes": ["c", "y", "x"], "datasets": datasets}]
    (path / str(level) / "2.1.1").unlink(missing_ok=is_nothing)
    zoom = level + 1
    with open_slide(path) as slide:
        region = Region(0, 0, WIDTH, HEIGHT)
        image = slide.read_region(region, (WIDTH // zoom, HEIGHT // zoom))
    expected = levels[level].copy()
    if not is_nothing:
        expected[64:128, 64:128] = 255
    np.testing.assert_array_equal(image.pixels, expected)
    side = 64 * zoom
    assert image.lost == (() if is_nothing else (Region(side, side, side, side),))


@pytest.mark.parametrize(("value", "lost"), [(150, (Region(64, 64, 64, 64),)), (0, ())])
def test_a_colour_whose_chunk_alone_is_not_there_on_one_level(
    tmp_path: Path, value: int, lost: tuple
):
    """A colour that is there all around a chunk does not end at its edges."""
    pixels = RGB.copy()
    pixels[..., 2] = value
    path = write_planes(tmp_path / "a.zarr", [np.moveaxis(pixels, -1, 0)], "cyx", (1, 64, 64))
    (path / "0" / "2.1.1").unlink(missing_ok=True)
    with open_slide(path) as slide:
        image = whole(slide)
    if lost:
        pixels[64:128, 64:128] = 255
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.lost == lost


def write_planes(path: Path, levels: list[np.ndarray], axes: str, chunks: tuple) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for number, level in enumerate(levels):
        options = {"shape": level.shape, "dtype": level.dtype, "chunks": chunks}
        group.create_array(str(number), **options)[:] = level
    datasets = [{"path": str(number)} for number in range(len(levels))]
    group.attrs["multiscales"] = [{"axes": list(axes), "datasets": datasets}]
    return path


GREY = np.full((HEIGHT, WIDTH), 240, np.uint8)
GREY[100:300, 150:400] = np.random.default_rng(1).integers(60, 200, (50, 125)).repeat(
    4, axis=0
).repeat(2, axis=1)  # fmt: skip
"""Glass around something, in one channel."""


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("is_bright", [True, False])
@pytest.mark.parametrize("kind", ["zarr", "tif"])
def test_what_is_left_out_of_one_channel_is_its_ground(
    tmp_path: Path, dtype: str, is_bright: bool, kind: str
):
    """Glass is bright, what does not fluoresce is dark."""
    pixels = (GREY if is_bright else 255 - GREY).astype(dtype)
    path = tmp_path / f"a.{kind}"
    if kind == "zarr":
        write_planes(path, [pixels], "yx", (128, 128))
        (path / "0" / "0.0").unlink()
    else:
        tiles = [
            np.ascontiguousarray(pixels[y : y + 128, x : x + 128]).tobytes()
            for y in range(0, HEIGHT, 128)
            for x in range(0, WIDTH, 128)
        ]
        options = {"shape": pixels.shape, "dtype": pixels.dtype, "tile": (128, 128)}
        tifffile.imwrite(path, iter([b"", *tiles[1:]]), photometric="minisblack", **options)
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.unreadable == 0
    assert (image.pixels[:128, :128] == (255 if is_bright else 0)).all()
    glass = image.pixels[350:, :]
    assert (glass >= 235).all() if is_bright else (glass <= 20).all()


@pytest.mark.parametrize("is_bright", [True, False])
def test_a_chunk_of_one_channel_that_a_coarser_level_shows_was_lost(
    tmp_path: Path, is_bright: bool
):
    pixels = GREY if is_bright else 255 - GREY
    path = write_planes(tmp_path / "a.zarr", [pixels, pixels[::2, ::2]], "yx", (128, 128))
    (path / "0" / "1.2").unlink()
    with open_slide(path) as slide:
        assert whole(slide).lost == (Region(256, 128, 128, 128),)


@pytest.mark.parametrize("kind", ["zarr", "tif"])
@pytest.mark.parametrize("is_shown", [True, False])
def test_a_channel_that_a_coarser_level_shows_was_lost(tmp_path: Path, kind: str, is_shown: bool):
    """Of fluorescence, too, a part that all levels lack holds nothing, and no other does."""
    planes = np.moveaxis(RGB, -1, 0).copy()
    planes[1][PART] = 90 if is_shown else 0
    levels = [planes, np.ascontiguousarray(planes[:, ::2, ::2])]
    path = tmp_path / f"a.{'zarr' if kind == 'zarr' else 'ome.tif'}"
    if kind == "zarr":
        write_planes(path, levels, "cyx", (1, 128, 128))
        (path / "0" / "1.1.2").unlink(missing_ok=not is_shown)
    else:
        about = {"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "Cy3"]}}
        with tifffile.TiffWriter(path) as writer:
            options = {"photometric": "minisblack", "tile": (128, 128), "compression": "zlib"}
            writer.write(levels[0], subifds=1, metadata=about, **options)
            writer.write(levels[1], subfiletype=1, **options)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            counts = list(tiff.pages[1].databytecounts)
            tiff.pages[1].tags[325].overwrite([*counts[:6], 0, *counts[7:]])
    with open_slide(path, channels="1=red,2=green,3=blue") as slide:
        assert len(slide.level_sizes) == 2
        image = whole(slide)
    assert image.lost == ((Region(256, 128, 128, 128),) if is_shown else ())
    assert (image.pixels[PART][..., 1] == 0).all()


# streams whose decoder does not tell


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("side", [128, 2304])
@pytest.mark.parametrize(
    ("codec", "how"),
    [
        *(("jpeg2000", "zeros"), ("jpeg2000", "cut"), ("jpegxr", "zeros"), ("jpegxr", "cut")),
        *(("webp", "zeros"), ("webp", "cut")),
    ],
)
def test_half_a_tile_is_damage_whatever_its_decoder_makes_of_it(
    tmp_path: Path, dtype: str, side: int, codec: str, how: str
):
    """Also of a strip that is too large to be decoded for a part of it."""
    if codec == "webp" and dtype == "u2":
        pytest.skip("WebP has 8 bits")
    if side > 128:
        pixels = np.full((2304, 2304, 3), 9, np.uint8)
        pixels[:384, :512] = RGB
    else:
        pixels = RGB
    path = tmp_path / "a.tif"
    layout = {"tile": (128, 128)} if side == 128 else {"rowsperstrip": side}
    kept = pixels.astype(dtype) * (257 if dtype == "u2" else 1)
    tifffile.imwrite(
        path, kept.astype(dtype), photometric="rgb", compression=codec, metadata=None, **layout
    )
    index = 5 if side == 128 else 0
    at, count = segment(path, index)
    if how == "zeros":
        patch(path, at + count // 2, bytes(count - count // 2))
    else:
        with tifffile.TiffFile(path, mode="r+") as tiff:
            page = tiff.pages[0]
            counts = list(page.databytecounts)
            counts[index] = count // 2
            page.tags[325 if side == 128 else 279].overwrite(
                counts if len(counts) > 1 else counts[0]
            )
    with open_slide(path) as slide:
        if side == 128:
            assert whole(slide).lost == (Region(128, 128, 128, 128),)
        else:
            with pytest.raises(SlideError, match="copy the file again"):
                whole(slide)


@pytest.mark.parametrize("codec", ["j2k", "jp2", "jpegxr"])
@pytest.mark.parametrize("share", [1.01, 1, 0.999, 0.9, 0.5, 0.1, 0.01])
def test_a_stream_is_whole_or_cut(tmp_path: Path, codec: str, share: float):
    """Writers fill up to whole words: zeros behind a stream are none of it."""
    tiles = []
    for y in range(0, HEIGHT, 128):
        for x in range(0, WIDTH, 128):
            tile = np.ascontiguousarray(RGB[y : y + 128, x : x + 128])
            if codec == "jpegxr":
                tiles.append(imagecodecs.jpegxr_encode(tile, level=1.0))
            else:
                tiles.append(imagecodecs.jpeg2k_encode(tile, level=0, codecformat=codec))
    data = tiles[5]
    tiles[5] = data[: int(len(data) * share)] if share <= 1 else data + bytes(3)
    path = tmp_path / "a.tif"
    kind = {"compression": "jpegxr" if codec == "jpegxr" else "jpeg2000", "photometric": "rgb"}
    options = {"shape": RGB.shape, "dtype": np.uint8, "tile": (128, 128), "metadata": None}
    tifffile.imwrite(path, iter(tiles), **options, **kind)
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.lost == (() if share >= 1 else (Region(128, 128, 128, 128),))
    np.testing.assert_array_equal(image.pixels[:128], RGB[:128])


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_half_a_jpeg_of_four_channels_is_damage(tmp_path: Path, extra: int):
    four = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    tiles = [
        imagecodecs.jpeg8_encode(np.ascontiguousarray(four[y : y + 128, x : x + 128]), level=95)
        for y in range(0, HEIGHT, 128)
        for x in range(0, WIDTH, 128)
    ]
    path = tmp_path / "a.tif"
    options = {"shape": four.shape, "dtype": np.uint8, "tile": (128, 128), "metadata": None}
    kind = {"photometric": "rgb", "compression": "jpeg", "extrasamples": (extra,)}
    tifffile.imwrite(path, iter(tiles), **options, **kind)
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.unreadable == 0
    assert np.abs(image.pixels.astype(int) - RGB).mean() < 3
    at, count = segment(path, 5)
    patch(path, at + count // 2, bytes(count - count // 2))
    with open_slide(path) as slide:
        assert whole(slide).lost == (Region(128, 128, 128, 128),)


def test_half_a_jpeg_of_twelve_bits_is_damage(tmp_path: Path):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "tile": (128, 128), "metadata": None, "bitspersample": 12}
    deep = RGB.astype("u2") * 16
    arguments = {"bitspersample": 12, "level": 95}
    try:
        tifffile.imwrite(path, deep, compression="jpeg", compressionargs=arguments, **options)
    except ValueError:
        pytest.skip("this imagecodecs writes no JPEG of twelve bits")
    at, count = segment(path, 5)
    patch(path, at + count // 2, bytes(count - count // 2))
    with open_slide(path) as slide:
        assert whole(slide).lost == (Region(128, 128, 128, 128),)


# tables


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tile_that_lies_in_the_header_lies_nowhere(tmp_path: Path, compression):
    """What is not packed would be read from there without a word."""
    path = write(tmp_path / "a.tif", compression=compression)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        offsets = list(tiff.pages[0].dataoffsets)
        tiff.pages[0].tags[324].overwrite([*offsets[:5], 0, *offsets[6:]])
    with open_slide(path) as slide:
        image = whole(slide)
    assert image.lost == (Region(128, 128, 128, 128),)
    assert (image.pixels[128:256, 128:256] == 255).all()


@pytest.mark.parametrize("layout", [{"tile": (128, 128)}, {"rowsperstrip": 32}])
@pytest.mark.parametrize(("tag", "value"), [(256, 256), (257, 192), (322, 96), (258, (8, 8, 8))])
def test_a_size_that_does_not_fit_the_tiles_is_said(tmp_path: Path, layout: dict, tag, value):
    """Tiles that are not packed would be read sheared, or a part of the slide as all of it."""
    if tag == 322 and "tile" not in layout:
        return
    path = tmp_path / "a.tif"
    pixels = RGB if tag != 258 else RGB.astype("u2") * 257
    tifffile.imwrite(path, pixels, photometric="rgb", compression=None, metadata=None, **layout)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[tag].overwrite(value)
    try:
        with open_slide(path) as slide:
            assert any("the size may be damaged" in note for note in slide.notes)
    except SlideError as error:
        assert "is damaged" in str(error)  # noqa: PT017


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_level_whose_chunks_all_lie_under_other_names_is_said(tmp_path: Path, zarr_format: int):
    path = write_zarr(tmp_path / "a.zarr", zarr_format=zarr_format)
    said = "holds no chunk at all"
    with open_slide(path) as slide:
        assert not any(said in note for note in slide.notes)
    if zarr_format == 2:
        file = path / "0" / ".zarray"
        about = json.loads(file.read_text()) | {"dimension_separator": "/"}
        file.write_text(json.dumps(about))
    else:
        (path / "0" / "c").rename(path / "0" / "d")
    with open_slide(path) as slide:
        assert any(said in note for note in slide.notes)

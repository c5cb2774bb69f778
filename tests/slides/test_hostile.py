"""Hostile or broken structure ends in one line, soon, and without memory."""

from __future__ import annotations

import json
import struct
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_pathreason.errors import SlideError
from napari_pathreason.slides import open_slide
from tests.support import write_synthetic_slide

RGB = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)


def refusal(path: Path, seconds: float = 2.0) -> str:
    """One line that names the file and no folder, soon, and with little memory.

    The limit is one second of a machine that nothing else uses.
    """
    import tiffslide
    import zarr

    assert tiffslide
    assert zarr  # what is loaded once is not timed
    tracemalloc.start()
    start = time.process_time()
    try:
        with pytest.raises(SlideError) as caught:
            open_slide(path)
        spent, most = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert spent < 2 * seconds  # tracing halves the speed
    assert most < 200e6
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    assert str(path.parent) not in message
    return message


def directory(following: int, width: int = 128, tags: dict | None = None) -> bytes:
    entries = {256: (4, 1, width), 257: (4, 1, width), 259: (3, 1, 1), 262: (3, 1, 1)}
    entries |= {322: (4, 1, 128), 323: (4, 1, 128), 324: (4, 1, 8), 325: (4, 1, 16384)}
    entries |= tags or {}
    data = len(entries).to_bytes(2, "little")
    for code, (kind, count, value) in sorted(entries.items()):
        data += code.to_bytes(2, "little") + kind.to_bytes(2, "little")
        data += count.to_bytes(4, "little") + value.to_bytes(4, "little")
    return data + following.to_bytes(4, "little")


def write_chain(path: Path, nexts: list[int], **options) -> Path:
    """Directories one behind the other; each number is the index of the one that follows."""
    size = len(directory(0, **options))
    start = 8 + 16384
    body = b"".join(
        directory(start + size * following if following >= 0 else 0, **options)
        for following in nexts
    )
    path.write_bytes(b"II*\0" + start.to_bytes(4, "little") + bytes(16384) + body)
    return path


@pytest.mark.parametrize("nexts", [[0], [1, 0], [1, 2, 1], [1, 2, 3, 0]])
@pytest.mark.parametrize("suffix", [".tif", ".svs"])
def test_directories_in_a_circle(tmp_path: Path, nexts: list[int], suffix: str):
    assert "circle" in refusal(write_chain(tmp_path / f"a{suffix}", nexts))


def test_more_pages_than_any_slide(tmp_path: Path):
    count = 20_000
    path = write_chain(tmp_path / "a.tif", [*range(1, count), -1])
    assert "2,000 pages" in refusal(path)


def test_pages_of_more_sizes_than_any_slide(tmp_path: Path):
    """Each is held against each, as one may be a level of the other: half a minute for 3,000."""
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "metadata": None, "contiguous": False}
    with tifffile.TiffWriter(path) as writer:
        for number in range(250):
            writer.write(np.zeros((1 + number // 20, 1 + number % 20, 3), np.uint8), **options)
    assert "pages of more than 200 sizes" in refusal(path)


@pytest.mark.parametrize("is_many", [True, False])
def test_the_pages_that_are_allowed_are_read_soon(tmp_path: Path, is_many: bool):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "metadata": None, "contiguous": False}
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, tile=(64, 64), **options)
        for number in range(1900):
            side = 1 + number % 150 if is_many else 16
            writer.write(np.zeros((4, side, 3), np.uint8), **options)
    start = time.process_time()
    with open_slide(path) as slide:
        assert (slide.width, slide.height) == (128, 128)
    assert time.process_time() - start < 4


def test_a_page_that_lists_itself_as_its_level(tmp_path: Path):
    path = tmp_path / "a.tif"
    tags = {330: (4, 1, 8 + 16384)}
    write_chain(path, [-1], tags=tags)
    with open_slide(path) as slide:
        assert slide.level_sizes == ((128, 128),)


@pytest.mark.parametrize("planes", ["SizeZ", "SizeT"])
def test_a_hundred_million_planes(tmp_path: Path, planes: str):
    path = write_synthetic_slide(tmp_path / "a.ome.tif", 128, 128, (1,), tile=64)
    content = path.read_bytes()
    one = f'{planes}="1"'.encode()
    assert one in content
    at = content.index(one)
    about_start = content.index(b"<?xml")
    changed = content[about_start:].split(b"\0")[0].replace(one, f'{planes}="100000000"'.encode())
    with tifffile.TiffFile(path) as tiff:
        pixels = tiff.asarray()
    tifffile.imwrite(path, pixels, description=changed, metadata=None, tile=(64, 64))
    assert at
    assert "100,000,000 planes" in refusal(path)


@pytest.mark.parametrize("width", [2_037_515_040, 2**32 - 1])
def test_a_size_that_no_slide_has(tmp_path: Path, width: int):
    path = write_chain(tmp_path / "a.tif", [-1], width=width)
    assert "tiles" in refusal(path) or "larger than any slide" in refusal(path)


def test_a_directory_of_many_tags(tmp_path: Path):
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + (60_000).to_bytes(2, "little") + bytes(60_000 * 12 + 4))
    refusal(path)


def test_an_xml_bomb(tmp_path: Path):
    path = tmp_path / "a.ome.tif"
    entities = "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' if n else '<!ENTITY e0 "ha">' for n in range(12)
    )
    about = (
        f'<?xml version="1.0"?><!DOCTYPE OME [{entities}]><OME xmlns="http://www.openmicroscopy.org/'
        'Schemas/OME/2016-06"><Image Name="&e11;"/></OME>'
    )
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), description=about, metadata=None)
    start = time.process_time()
    with suppress(SlideError), open_slide(path) as slide:
        assert slide.info.mpp is None
    assert time.process_time() - start < 4


def write_ngff(path: Path, **changes) -> Path:
    """A level of metadata alone, as anyone can write."""
    level = path / "0"
    level.mkdir(parents=True)
    about = {"zarr_format": 2, "shape": [64, 64, 3], "chunks": [64, 64, 3], "dtype": "|u1"}
    about |= {"fill_value": 0, "order": "C", "filters": None, "compressor": None}
    about |= {key: value for key, value in changes.items() if key in about}
    axes = changes.get("axes", ["y", "x", "c"])
    datasets = changes.get("datasets", [{"path": "0"}])
    (level / ".zarray").write_text(json.dumps(about))
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    image = {"version": "0.4", "axes": [{"name": n} for n in axes], "datasets": datasets}
    (path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": ["y", "x"]},
        {"axes": ["y", "x", "c", "z"]},
        {"axes": ["y", "y", "x"]},
        {"axes": ["a", "b", "c"]},
        {"datasets": []},
        {"datasets": [{"path": "9"}]},
        {"datasets": [{}]},
        {"datasets": [{"path": "0"}] * 100},
        {"shape": [0, 64, 3]},
        {"shape": [2**40, 2**40, 3]},
        {"shape": [64, 64, 3], "dtype": "|S9"},
        {"shape": [64, 64]},
    ],
    ids=str,
)
def test_metadata_of_ngff_that_do_not_fit(tmp_path: Path, changes: dict):
    refusal(write_ngff(tmp_path / "a.zarr", **changes))


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 1_000_000, '{"multiscales": 5}', '{"multiscales": [[]]}', "null", "NaN"]
)
def test_broken_metadata_of_ngff(tmp_path: Path, text: str):
    path = write_ngff(tmp_path / "a.zarr")
    (path / ".zattrs").write_text(text)
    refusal(path)


def test_metadata_of_ngff_that_are_endless(tmp_path: Path):
    path = write_ngff(tmp_path / "a.zarr")
    (path / ".zattrs").write_text('{"a": "' + "a" * (17 * 2**20) + '"}')
    assert "longer than" in refusal(path)


def test_metadata_of_a_level_that_are_endless(tmp_path: Path):
    """A library reads them before anyone asks how long they are: gigabytes of memory."""
    path = write_ngff(tmp_path / "a.zarr")
    file = path / "0" / ".zarray"
    file.write_text('{"a": [' + "[], " * 5_000_000 + "0], " + file.read_text().lstrip()[1:])
    assert "level 0 of a.zarr is longer than" in refusal(path)


@pytest.mark.parametrize("text", ["{", "[" * 1_000_000, '{"a": ' * 100_000])
def test_broken_metadata_of_a_level(tmp_path: Path, text: str):
    path = write_ngff(tmp_path / "a.zarr")
    (path / "0" / ".zarray").write_text(text)
    assert "level 0 of a.zarr is no JSON" in refusal(path)


@pytest.mark.parametrize("where", ["../b.zarr/0", "/absolute", "", "..", "0\x1b[2J"])
def test_a_level_that_lies_elsewhere_is_none_of_the_image(tmp_path: Path, where: str):
    write_ngff(tmp_path / "b.zarr")
    path = write_ngff(tmp_path / "a.zarr", datasets=[{"path": where}])
    message = refusal(path)
    assert "is missing or cannot be opened" in message
    assert message.isprintable()


@pytest.mark.parametrize("filters", [None, [{"id": "delta", "dtype": "|u1"}]])
def test_a_codec_that_is_not_there_is_named(tmp_path: Path, filters):
    codec = {"id": "nobodys_codec", "level": 5}
    path = write_ngff(tmp_path / "a.zarr", compressor=codec, filters=filters)
    assert "packed with nobodys_codec, which is not served" in refusal(path)


def test_a_codec_of_version_3_that_is_not_there_is_named(tmp_path: Path):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", shape=RGB.shape, dtype="u1", chunks=(64, 64, 3))
    multiscale = {"axes": [{"name": n} for n in "yxc"], "datasets": [{"path": "0"}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    file = path / "0" / "zarr.json"
    about = json.loads(file.read_text())
    about["codecs"].append({"name": "nobodys_codec", "configuration": {}})
    file.write_text(json.dumps(about))
    assert "packed with nobodys_codec, which is not served" in refusal(path)


def test_a_level_of_tiny_chunks_is_refused(tmp_path: Path):
    """A look at the whole of it would take an hour."""
    path = write_ngff(tmp_path / "a.zarr", shape=[60_000, 60_000, 3], chunks=[16, 16, 3])
    assert "14,062,500 tiles, more than can be looked at" in refusal(path)


def test_a_level_of_tiny_tiles_is_refused(tmp_path: Path):
    side = 24_000  # px, in tiles of 16: 2,250,000 of them
    path = tmp_path / "a.tif"
    count = (side // 16) ** 2
    tags = {256: (4, 1, side), 257: (4, 1, side), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    tags |= {277: (3, 1, 1), 322: (4, 1, 16), 323: (4, 1, 16)}
    tags |= {324: (4, count, 8), 325: (4, count, 8 + 4 * count)}
    data = len(tags).to_bytes(2, "little")
    for code, entry in sorted(tags.items()):
        data += struct.pack("<HHII", code, *entry)
    start = 8 + 8 * count
    path.write_bytes(b"II*\0" + start.to_bytes(4, "little") + bytes(8 * count) + data + bytes(4))
    assert "2,250,000 tiles, more than can be looked at" in refusal(path)


def test_a_vast_level_is_not_shown(tmp_path: Path):
    path = write_ngff(tmp_path / "a.zarr", shape=[2**20, 2**20, 3], chunks=[1024, 1024, 3])
    with open_slide(path) as slide, pytest.raises(SlideError, match="no coarser level"):
        slide.display_levels()


def test_a_vast_array_opens_and_reads_little(tmp_path: Path):
    path = write_ngff(tmp_path / "a.zarr", shape=[2**20, 2**20, 3], chunks=[1024, 1024, 3])
    with open_slide(path) as slide:
        from napari_pathreason.geometry import Region

        part = slide.read_region(Region(2**19, 2**19, 64, 64), (64, 64))
        assert (part.pixels == 255).all()

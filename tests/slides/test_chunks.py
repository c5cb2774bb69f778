"""Native chunks of a Zarr array: where they lie, and what they say of themselves."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import zarr
from numcodecs import BZ2, LZMA, Blosc, GZip, Zlib, Zstd
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import RegionImage, open_slide
from tests.support import coded_pixels

WIDTH, HEIGHT, SIDE = 512, 384, 128
RGB = coded_pixels(np.arange(WIDTH) * 4.0, np.arange(HEIGHT) * 4.0)
LAST = Region(128, 128, SIDE, SIDE)
"""The last chunk of the first shard of two by two."""
NOWHERE = 2**64 - 1


def read(path: Path) -> RegionImage:
    with open_slide(path) as slide:
        return slide.read_region(Region(0, 0, slide.width, slide.height), (WIDTH, HEIGHT))


def describe(path: Path, version: str = "0.5") -> Path:
    about = {"multiscales": [{"axes": ["y", "x", "c"], "datasets": [{"path": "0"}]}]}
    own = {"ome": {"version": version} | about} if version == "0.5" else about
    zarr.open_group(path, mode="r+").attrs.update(own)
    return path


def write(path: Path, **options) -> Path:
    """Shards of two by two chunks."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    options = {"shards": (2 * SIDE, 2 * SIDE, 3), "chunks": (SIDE, SIDE, 3), **options}
    group.create_array("0", shape=RGB.shape, dtype="u1", **options)[:] = RGB
    return describe(path)


def write_codecs(path: Path, codecs: list, is_empty: bool = False) -> Path:
    """As `write`, with codecs as they are given."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", shape=RGB.shape, dtype="u1", chunks=(2 * SIDE, 2 * SIDE, 3))
    file = path / "0/zarr.json"
    about = json.loads(file.read_text()) | {"codecs": [codec.to_dict() for codec in codecs]}
    file.write_text(json.dumps(about, default=str))
    if not is_empty:  # older libraries read what they do not write
        zarr.open_group(path, mode="r+")["0"][:] = RGB
    return describe(path)


def first_shard(path: Path) -> Path:
    return path / "0/c/0/0/0"


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum (RFC 3720, B.4)."""
    rest = 0xFFFFFFFF
    for byte in data:
        rest ^= byte
        for _ in range(8):
            rest = rest >> 1 ^ (0x82F63B78 if rest & 1 else 0)
    return rest ^ 0xFFFFFFFF


def change_index(file: Path, **values: int) -> None:
    """Another ``start`` or ``size`` of the last chunk of a shard, and the right checksum."""
    data = bytearray(file.read_bytes())
    table = np.frombuffer(bytes(data[-68:-4]), "<u8").reshape(4, 2).copy()
    for name, value in values.items():
        table[3, ("start", "size").index(name)] = value
    data[-68:-4] = table.tobytes()
    data[-4:] = crc32c(table.tobytes()).to_bytes(4, "little")
    file.write_bytes(data)


BLOSC = BloscCodec(typesize=1, cname="lz4", shuffle="shuffle")
CODECS = [None, ZstdCodec(), BLOSC, GzipCodec()]


@pytest.mark.parametrize("codec", CODECS, ids=["none", "zstd", "blosc", "gzip"])
@pytest.mark.parametrize(
    "values",
    [
        {"size": 2**60},
        {"size": 2**63},
        {"size": NOWHERE},
        {"size": 10**11},
        {"size": 10},
        {"size": 0},
        {"start": 2**60},
        {"start": NOWHERE},
        {"start": NOWHERE - 10},
        {"start": 10**9},
    ],
    ids=str,
)
def test_only_the_chunk_of_a_shard_that_lies_elsewhere(tmp_path: Path, codec, values: dict):
    """The library asks for the room that a wild size promises, or takes the chunk for left out."""
    path = write(tmp_path / "a.zarr", compressors=codec)
    change_index(first_shard(path), **values)
    image = read(path)
    assert image.lost == (LAST,)
    expected = RGB.copy()
    expected[128:256, 128:256] = 255
    np.testing.assert_array_equal(image.pixels, expected)


def test_a_damaged_chunk_of_a_shard(tmp_path: Path):
    """Blosc would read past the end of it."""
    path = write(tmp_path / "a.zarr", compressors=BLOSC)
    data = bytearray(first_shard(path).read_bytes())
    start = int(np.frombuffer(bytes(data[-68:-4]), "<u8").reshape(4, 2)[3, 0])
    data[start + 12 : start + 16] = (2**30).to_bytes(4, "little")
    first_shard(path).write_bytes(data)
    assert read(path).lost == (LAST,)


@pytest.mark.parametrize("what", ["chunk", "shard"])
def test_what_was_left_out_of_shards_is_white(tmp_path: Path, what: str):
    path = write(tmp_path / "a.zarr")
    side = SIDE if what == "chunk" else 0
    if what == "chunk":
        change_index(first_shard(path), start=NOWHERE, size=NOWHERE)
    else:
        first_shard(path).unlink()
    image = read(path)
    expected = RGB.copy()
    expected[side:256, side:256] = 255
    assert image.unreadable == 0
    np.testing.assert_array_equal(image.pixels, expected)


def test_a_shard_whose_index_is_damaged_is_lost_alone(tmp_path: Path):
    path = write(tmp_path / "a.zarr")
    for cut in (60, 0):
        first_shard(path).write_bytes(first_shard(path).read_bytes()[-cut or -1 :])
        image = read(path)
        assert image.unreadable == 1 / 3
        np.testing.assert_array_equal(image.pixels[256:], RGB[256:])
        np.testing.assert_array_equal(image.pixels[:256, 256:], RGB[:256, 256:])


def test_a_shard_with_more_than_its_chunks_is_not_read_at_once(tmp_path: Path):
    """A writer that appends leaves old chunks behind: they are no reason to read them all."""
    path = write(tmp_path / "a.zarr")
    data = first_shard(path).read_bytes()
    with first_shard(path).open("wb") as file:
        file.write(data[:-68])
        file.seek(3 * 2**30, os.SEEK_CUR)  # a hole
        file.write(data[-68:])
    image = read(path)
    assert image.unreadable == 0
    np.testing.assert_array_equal(image.pixels, RGB)


@pytest.mark.parametrize(
    "options",
    [
        {"index_location": "start"},
        {"index_codecs": [BytesCodec(endian="big"), Crc32cCodec()]},
        {"index_codecs": [BytesCodec()]},
        {"codecs": [BytesCodec(), BLOSC, Crc32cCodec()]},
        {"codecs": [TransposeCodec(order=(2, 0, 1)), BytesCodec(), ZstdCodec()]},
    ],
    ids=["at the start", "big endian", "no checksum", "checksum of chunks", "turned chunks"],
)
def test_every_kind_of_shard_is_read(tmp_path: Path, options: dict):
    codec = ShardingCodec(chunk_shape=(SIDE, SIDE, 3), **options)
    np.testing.assert_array_equal(read(write_codecs(tmp_path / "a.zarr", [codec])).pixels, RGB)


PLAIN = {"chunk_shape": (SIDE, SIDE, 3)}
TWICE = [ShardingCodec(chunk_shape=(64, 64, 3))]


@pytest.mark.parametrize(
    ("codecs", "says"),
    [
        ([ShardingCodec(**PLAIN), GzipCodec()], "packs or turns its shards"),
        ([TransposeCodec(order=(1, 0, 2)), ShardingCodec(**PLAIN)], "packs or turns its shards"),
        ([ShardingCodec(codecs=TWICE, **PLAIN)], "has shards in shards"),
        (
            [BytesCodec(), BLOSC, GzipCodec()],
            "packs its chunks twice",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Combining a")
def test_chunks_that_cannot_be_looked_at_are_refused(tmp_path: Path, codecs: list, says: str):
    with pytest.raises(SlideError, match=rf"the level 0 of a\.zarr .*{says}.*write it anew"):
        open_slide(write_codecs(tmp_path / "a.zarr", codecs, is_empty=True))


def write_old(path: Path, **options) -> Path:
    """Version 2."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=RGB.shape, dtype="u1", chunks=(SIDE, SIDE, 3), **options)[:] = RGB
    return describe(path, "0.4")


def test_blosc_as_a_filter_is_looked_at_too(tmp_path: Path):
    path = write_old(tmp_path / "a.zarr", filters=[Blosc("lz4")], compressors=None)
    np.testing.assert_array_equal(read(path).pixels, RGB)
    file = path / "0/1.1.0"
    file.write_bytes(file.read_bytes()[:200])
    assert read(path).lost == (LAST,)
    path = write_old(tmp_path / "b.zarr", filters=[Blosc("lz4")], compressors=GZip())
    with pytest.raises(SlideError, match="packs its chunks twice"):
        open_slide(path)


def grown(count: int) -> bytes:
    """A frame of Zstandard that does not say what it becomes: so many blocks of one byte each."""
    block = (131_072 << 3 | 2).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x58" + block * count + (1).to_bytes(3, "little")


@pytest.mark.parametrize("name", ["gzip", "zlib", "bz2", "lzma", "zstd"])
def test_a_chunk_that_does_not_say_how_large_it_becomes(tmp_path: Path, name: str, monkeypatch):
    """What may become more than memory should hold is counted before, and is damage."""
    bomb = bytes(2**23)
    codec, packed = {
        "gzip": (GZip(), gzip.compress(bomb)),
        "zlib": (Zlib(), zlib.compress(bomb)),
        "bz2": (BZ2(), bz2.compress(bomb)),
        "lzma": (LZMA(), lzma.compress(bomb)),
        "zstd": (Zstd(), grown(64)),
    }[name]
    path = write_old(tmp_path / "a.zarr", compressors=codec)
    monkeypatch.setattr("napari_pathreason.slides._limits.TILE_BYTES", 100)
    np.testing.assert_array_equal(read(path).pixels, RGB)  # counted, as so little is much
    (path / "0/1.1.0").write_bytes(packed)
    decoded = []
    real = type(codec).decode
    monkeypatch.setattr(
        type(codec), "decode", lambda *given: decoded.append(len(given[1])) or real(*given)
    )
    assert read(path).lost == (LAST,)
    assert decoded
    assert len(packed) not in decoded


@pytest.mark.parametrize("how", ["pipe", "link", "file for a folder"])
def test_what_is_no_file_in_place_of_a_chunk_is_damage(tmp_path: Path, how: str):
    """The library waits for a pipe, and takes the others for left out."""
    path = write(tmp_path / "a.zarr", shards=None)
    file = path / "0/c/1/1/0"
    file.unlink()
    if how == "pipe":
        os.mkfifo(file)
    elif how == "link":
        file.symlink_to("nothing")
    else:
        file.parent.rmdir()
        file.parent.write_bytes(b"")
    assert read(path).lost == (LAST,)

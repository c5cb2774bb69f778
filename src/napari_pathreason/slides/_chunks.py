"""Where the native chunks of a Zarr array lie, and whether one can be what it should be.

Libraries believe what a chunk says of its own size, and what a shard says of where its chunks lie:
they make room for as much as a few bytes may say, read past the end of what they were given, or
take what lies outside a file for left out. So that is looked at before a chunk is decoded.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError

from . import _limits as limits

CODEC_BYTES = 65_536
"""That a codec's own words may take beside what it packs."""
HEAD = 18
"""Bytes of a packed chunk in which its codec says how large it becomes."""
LEFT_OUT = 2**64 - 1
"""Start and size, in the index of a shard, of a chunk that was left out."""
ZSTD_BLOCK = 131_072
"""Bytes, at most, that one block of Zstandard becomes."""
STREAMS: dict[str, tuple[int, Callable[[BinaryIO], Any]]] = {
    "gzip": (1032, lambda file: gzip.GzipFile(fileobj=file)),
    "zlib": (1032, lambda file: _Inflated(file)),
    "bz2": (50_000, lambda file: bz2.BZ2File(file)),
    "lzma": (10_000, lambda file: lzma.LZMAFile(file)),
}
"""Codecs that do not say what a chunk becomes: how many times as large, at most, and a reader."""

Coordinates = tuple[int, ...]
"""Numbers of a native chunk along the axes of its array."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A packed native chunk: ``size`` bytes of a file, from ``start`` on."""

    file: Path
    start: int
    size: int


class NativeChunks:
    """Native chunks of an array: files of their own, or parts of shards.

    Parameters
    ----------
    array : zarr.Array
    folder : Path
        Of the array.
    name : str
        Of the level, for errors.

    Raises
    ------
    SlideError
        If its codecs lie in one another so that a chunk cannot be looked at.
    """

    def __init__(self, array: Any, folder: Path, name: str) -> None:
        self._folder, self._metadata = folder, array.metadata
        self._whole: int = math.prod(array.chunks) * np.dtype(array.dtype).itemsize
        codecs, sharding = _codecs_of(array.metadata, name)
        self._packed, self._tail = _packing(codecs, name)
        self._index = None
        if sharding is not None:
            shape = tuple(s // c for s, c in zip(array.shards, array.chunks, strict=True))
            self._index = _Index.of(sharding, shape, name)

    def find(self, coordinates: Iterable[Coordinates]) -> Iterator[Chunk | None]:
        """Where chunks lie, in their order; None for one that was left out.

        Raises
        ------
        ValueError
            If something else lies in its place, or its shard says that it lies outside of it.
        """
        tables: dict[Coordinates, tuple[Path, int, NDArray[np.uint64]] | None] = {}
        for at in coordinates:
            if self._index is None:
                file = self._folder / self._metadata.encode_chunk_key(at)
                size = _size_of(file)
                yield None if size is None else Chunk(file, 0, size)
                continue
            shard, inner = self._index.split(at)
            if shard not in tables:
                file = self._folder / self._metadata.encode_chunk_key(shard)
                size = _size_of(file)
                tables[shard] = None if size is None else (file, size, self._index.read(file, size))
            found = tables[shard]
            yield None if found is None else _in_shard(*found, inner)

    def are_all_missing(self) -> bool:
        """Whether no file lies where one of the chunks or shards would."""
        key = self._metadata.encode_chunk_key((0,) * len(self._metadata.shape))
        parts = [re.compile(re.escape(part).replace("0", r"\d+")) for part in key.split("/")]

        def is_below(folder: str | Path, left: list[re.Pattern[str]]) -> bool:
            with os.scandir(folder) as entries:
                return any(
                    len(left) == 1 or (entry.is_dir() and is_below(entry.path, left[1:]))
                    for entry in entries
                    if left[0].fullmatch(entry.name)
                )

        try:
            return not is_below(self._folder, parts)
        except OSError:
            return False  # said by whoever reads it

    def check(self, coordinates: Iterable[Coordinates]) -> None:
        """Refuse chunks that cannot be decoded, or would become more than one is.

        Raises
        ------
        ValueError
            If one is cut off, or not of the size of a chunk.
        """
        wanted = list(coordinates)
        for chunk in self.find(wanted):
            if chunk is not None:
                self._check(chunk)
        if self._index is not None:
            self._check_shards(wanted, self._index)

    def _most(self) -> int:
        """Bytes of a packed chunk: what cannot be packed grows by little."""
        return self._whole + self._whole // 16 + CODEC_BYTES

    def _check_shards(self, wanted: list[Coordinates], index: _Index) -> None:
        """Refuse to read a shard at once that holds more than its chunks; one by one they can be.

        The library reads the whole file where all chunks of a shard are asked for.
        """
        shards = [index.split(at)[0] for at in wanted]
        for shard in {*shards}:
            if shards.count(shard) == index.chunks:
                size = _size_of(self._folder / self._metadata.encode_chunk_key(shard)) or 0
                if size > index.chunks * self._most() + index.size:
                    raise ValueError("a shard is larger than its chunks")

    def _check(self, chunk: Chunk) -> None:
        name = chunk.file.name
        if chunk.size > self._most():
            raise ValueError(f"{name} is larger than a chunk")
        with chunk.file.open("rb") as file:
            file.seek(chunk.start)
            head = file.read(min(HEAD, chunk.size))
            size = chunk.size - self._tail
            stated = None
            if self._packed == "blosc":
                if len(head) < 16 or int.from_bytes(head[12:16], "little") != size:
                    raise ValueError(f"{name} is cut off")
                stated = int.from_bytes(head[4:8], "little")
            elif self._packed == "lz4":
                stated = int.from_bytes(head[:4], "little")
            elif self._packed == "zstd":
                stated = _zstd_size(head)
                if stated is None:
                    stated = self._zstd_blocks(file, chunk.start, size)
            elif self._packed in STREAMS:
                stated = self._streamed(file, chunk.start, size)
        if stated is not None and stated > self._whole:
            raise ValueError(f"{name} becomes larger than a chunk")

    def _zstd_blocks(self, file: BinaryIO, start: int, size: int) -> int | None:
        """More than a chunk where blocks of Zstandard may become too much; None where they cannot.

        Writers may leave out what a frame becomes, and end a block early.
        """
        file.seek(start)
        return self._whole + 1 if _zstd_most(file.read(size)) > _enough(self._whole) else None

    def _streamed(self, file: BinaryIO, start: int, size: int) -> int | None:
        """What a chunk becomes, or a little more than one is; None where it cannot be much."""
        most, opened = STREAMS[self._packed]
        if size * most <= _enough(self._whole):
            return None
        file.seek(start)
        became = 0
        with opened(io.BytesIO(file.read(size))) as stream:
            while became <= self._whole and (part := stream.read(2**20)):
                became += len(part)
        return became


def _enough(whole: int) -> int:
    """Bytes that memory holds without a look at what a chunk becomes."""
    return max(4 * whole, limits.TILE_BYTES)


@dataclass(frozen=True, slots=True)
class _Index:
    """How the index of a shard lies in its file.

    Parameters
    ----------
    shape : tuple of int
        Chunks of a shard, along each axis.
    dtype : str
        Of its numbers.
    at_start : bool
        Whether it lies before the chunks.
    tail : int
        Bytes of a checksum behind its numbers, which the library holds against them.
    """

    shape: tuple[int, ...]
    dtype: str
    at_start: bool
    tail: int

    @classmethod
    def of(cls, sharding: Any, shape: tuple[int, ...], name: str) -> _Index:
        """Of a codec of the library's.

        Raises
        ------
        SlideError
            If the index is packed, or has more entries than a level may have chunks.
        """
        first, *rest = sharding.index_codecs
        if not hasattr(first, "endian") or len(rest) > 1 or not all(map(_is_checksum, rest)):
            raise SlideError(f"{name} packs the index of its shards; write it anew without that")
        if math.prod(shape) > limits.TABLE:
            raise SlideError(
                f"{name} has {math.prod(shape):,} chunks in a shard, more than a slide needs "
                f"({limits.TABLE:,}); write it in smaller shards"
            )
        order = ">" if getattr(first.endian, "value", "") == "big" else "<"
        return cls(shape, f"{order}u8", sharding.index_location.value == "start", 4 * len(rest))

    @property
    def chunks(self) -> int:
        """Chunks of a shard."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of it."""
        return 16 * self.chunks + self.tail

    def split(self, at: Coordinates) -> tuple[Coordinates, Coordinates]:
        """Numbers of a chunk's shard, and of the chunk in it."""
        shard = tuple(a // n for a, n in zip(at, self.shape, strict=True))
        return shard, tuple(a % n for a, n in zip(at, self.shape, strict=True))

    def read(self, path: Path, size: int) -> NDArray[np.uint64]:
        """Start and size of each chunk: the chunks of a shard, then 2.

        Raises
        ------
        ValueError
            If the file is too short for it.
        """
        if size < self.size:
            raise ValueError(f"{path.name} is cut off")
        with path.open("rb") as file:
            file.seek(0 if self.at_start else size - self.size)
            data = file.read(16 * self.chunks)
        return np.frombuffer(data, self.dtype).reshape(*self.shape, 2)


def _in_shard(file: Path, size: int, table: NDArray[np.uint64], inner: Coordinates) -> Chunk | None:
    start, length = map(int, table[inner])
    if start == length == LEFT_OUT:
        return None
    if not length or start + length > size:
        raise ValueError(f"a chunk of {file.name} lies outside of it")
    return Chunk(file, start, length)


def _size_of(file: Path) -> int | None:
    """Bytes of a file; None where there is none.

    Raises
    ------
    ValueError
        If something else lies there, or where its folder should be.
    """
    try:
        found = file.stat()
    except FileNotFoundError:
        if file.is_symlink():
            raise ValueError(f"{file.name} points to nothing") from None
        return None
    except NotADirectoryError:
        raise ValueError(f"a file lies where the folder of {file.name} belongs") from None
    if not stat.S_ISREG(found.st_mode):  # the library takes a folder for left out
        raise ValueError(f"{file.name} is no file")
    return found.st_size


def _codecs_of(metadata: Any, name: str) -> tuple[list[Any], Any]:
    """Codecs that pack a native chunk, from the inner to the outer one, and that of shards.

    Raises
    ------
    SlideError
        If shards lie in shards, or are packed as a whole.
    """
    from zarr.abc.codec import BytesBytesCodec

    codecs = getattr(metadata, "codecs", None)
    if codecs is None:  # of version 2
        both = *(metadata.filters or ()), metadata.compressor
        return [codec for codec in both if codec is not None], None
    sharding = next((codec for codec in codecs if hasattr(codec, "index_codecs")), None)
    if sharding is not None:
        inner = sharding.codecs
        if len(codecs) > 1 or any(hasattr(codec, "index_codecs") for codec in inner):
            raise SlideError(
                f"{name} packs or turns its shards, or has shards in shards; write it anew with "
                "plain ones"
            )
        codecs = inner
    return [codec for codec in codecs if isinstance(codec, BytesBytesCodec)], sharding


def _packing(codecs: list[Any], name: str) -> tuple[str, int]:
    """Name of the codec that packs chunks, and the bytes of a checksum behind what it gives.

    Raises
    ------
    SlideError
        If what Blosc packed is packed again, so that its own header cannot be looked at.
    """
    tail = 0
    while codecs and _is_checksum(codecs[-1]):
        codecs, tail = codecs[:-1], tail + 4
    words = [repr(codec).lower() for codec in codecs]
    if any("blosc" in one for one in words[:-1]):
        raise SlideError(f"{name} packs its chunks twice; write it anew with one codec")
    known = ("blosc", "zstd", "lz4", *STREAMS)  # Blosc first, which names what it uses
    return next((one for one in known if words and one in words[-1]), ""), tail


def _is_checksum(codec: Any) -> bool:
    return type(codec).__name__ == "Crc32cCodec"


class _Inflated:
    """A stream of zlib's as a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._rest, self._stream = file.read(), zlib.decompressobj()

    def __enter__(self) -> _Inflated:
        return self

    def __exit__(self, *_: object) -> None:
        self._rest = b""

    def read(self, count: int) -> bytes:
        """Bytes, at most so many; none at the end."""
        part = self._stream.decompress(self._rest, count)
        self._rest = self._stream.unconsumed_tail
        return part


def _zstd_size(head: bytes) -> int | None:
    """Bytes that a frame of Zstandard states to become (RFC 8878, 3.1.1.1); None where it is not.

    ``head`` are its first 18 bytes.
    """
    if head[:4] != b"\x28\xb5\x2f\xfd" or len(head) < 6:
        return None
    at, length = _zstd_field(head[4])
    if not length:
        return None
    return int.from_bytes(head[at : at + length], "little") + (256 if length == 2 else 0)


def _zstd_field(kind: int) -> tuple[int, int]:
    """Where the size stands in the header of a frame, and in how many bytes; by the fifth byte."""
    single = kind >> 5 & 1
    return 5 + (not single) + (0, 1, 2, 4)[kind & 3], (single, 2, 4, 8)[kind >> 6]


def _zstd_most(data: bytes) -> int:
    """Bytes, at most, that a frame of Zstandard becomes, by its blocks (RFC 8878, 3.1.1.2)."""
    if data[:4] != b"\x28\xb5\x2f\xfd" or len(data) < 6:
        return 0  # which the codec refuses
    most, at = 0, sum(_zstd_field(data[4]))
    while at + 3 <= len(data):
        head = int.from_bytes(data[at : at + 3], "little")
        kind, size = head >> 1 & 3, head >> 3
        most += size if kind < 2 else ZSTD_BLOCK
        at += 3 + (1 if kind == 1 else size)
        if head & 1:
            break
    return most

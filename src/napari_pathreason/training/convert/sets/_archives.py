"""Sets that come packed: libraries that read them, parquet files, and pictures written out.

Pictures are told apart by their bytes: a picture is written once, however many rows ask about it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.errors import ExportError, QueryError, SlideError

from ._left_out import LeftOut

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
MODES = ("RGB", "L", "RGBA", "P")
WHAT = "parquet files"
BLANK = "rows have no question or no answer and were left out"


def optional(name: str, what: str) -> Any:
    """Import a library that reads archives.

    Raises
    ------
    QueryError
        If it is not installed; names the extra that brings it.
    """
    try:
        return import_module(name)
    except ImportError:
        raise QueryError(
            f'{what} need {name}; install it with pip install "napari-pathreason[data]"'
        ) from None


class Store:
    """Files below one folder, named by what they hold.

    A file that is there already is whole and is the right one, so a conversion that was cut off
    goes on where it was.

    Parameters
    ----------
    folder : Path
        Made at the first picture.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pixels(self, stem: str, pixels: NDArray[np.uint8]) -> str:
        """File of an array (height, width, 3), as lossless PNG."""
        name = f"{stem}-{_digest(pixels.tobytes())}.png"
        return self._write(name, lambda file: Image.fromarray(pixels).save(file, "PNG"))

    def encoded(self, stem: str, data: bytes) -> str:
        """File of an encoded picture: JPEG, PNG and WebP byte for byte, others as PNG.

        Raises
        ------
        SlideError
            If the bytes are no picture, or one that is cut off.
        """
        try:
            with Image.open(io.BytesIO(data)) as picture:
                suffix = SUFFIXES.get(picture.format or "") if picture.mode in MODES else None
                picture.load()
                plain = None if suffix else picture.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise SlideError(
                f"picture {stem} of the archive cannot be read; download the set again"
            ) from None
        name = f"{stem}-{_digest(data)}{suffix or '.png'}"
        if plain is None:
            return self._write(name, lambda file: file.write(data))
        return self._write(name, lambda file: plain.save(file, "PNG"))

    def _write(self, name: str, fill: Callable[[IO[bytes]], object]) -> str:
        path = self._folder / name
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                partial = path.with_name(f".{path.name}.partial")
                with partial.open("wb") as file:
                    fill(file)
                os.replace(partial, path)
        except OSError as error:
            raise ExportError(
                f"{path.name} cannot be written ({error.strerror}); choose another place with -o"
            ) from None
        return str(path)


@dataclass(slots=True)
class Asked:
    """A picture and the rows that ask about it; ``place`` is (file, row group, row)."""

    digest: str
    place: tuple[Path, int, int]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def named(self) -> str:
        """Where it lies, for messages."""
        path, group, row = self.place
        return f"{path.name}, row {row} of group {group}"


def without_blanks(asked: Asked, left: LeftOut) -> Asked:
    """The picture with those of its rows that have a question and an answer; others are counted."""
    rows = [row for row in asked.rows if row.get("question") and row.get("answer")]
    left.add(BLANK, asked.named, len(asked.rows) - len(rows))
    return Asked(asked.digest, asked.place, rows)


class Shards:
    """Parquet files read a row group at a time.

    Parameters
    ----------
    files : sequence of Path
    columns : sequence of str
        Beside the image; those that a file lacks are left out.
    """

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        self._files = files
        self._columns = columns
        self._read: tuple[Path, int] | None = None
        self._images: list[Any] = []

    def asked(self) -> list[Asked]:
        """All pictures in the order of their first row, with all their rows.

        Raises
        ------
        QueryError
            If a file cannot be read or lacks the columns image, question and answer.
        """
        found: dict[str, Asked] = {}
        for path in self._files:
            file = self._open(path)
            names = set(file.schema_arrow.names)
            if not {"image", "question", "answer"} <= names:
                raise QueryError(f"{path.name} needs the columns image, question and answer")
            columns = [name for name in self._columns if name in names]
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=columns).to_pylist()
                for row, (told, data) in enumerate(
                    zip(rows, self._group(path, group), strict=True)
                ):
                    digest = hashlib.sha256(data).hexdigest()
                    asked = found.setdefault(digest, Asked(digest, (path, group, row)))
                    asked.rows.append(told)
        return list(found.values())

    def image(self, place: tuple[Path, int, int]) -> bytes:
        """Encoded bytes of a picture; its row group is kept for the next one."""
        path, group, row = place
        data: bytes = self._group(path, group)[row]
        return data

    def _group(self, path: Path, group: int) -> list[Any]:
        if self._read != (path, group):
            told = self._open(path).read_row_group(group, columns=["image"]).to_pylist()
            self._images = [_bytes(path, row["image"]) for row in told]
            self._read = path, group
        return self._images

    def _open(self, path: Path) -> Any:
        pyarrow, parquet = optional("pyarrow", WHAT), optional("pyarrow.parquet", WHAT)
        try:
            return parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowInvalid):
            raise QueryError(f"{path.name} cannot be read; download it again") from None


def _bytes(path: Path, image: Any) -> bytes:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise QueryError(
            f"{path.name} names pictures without holding them; take the files that hold their bytes"
        )
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]

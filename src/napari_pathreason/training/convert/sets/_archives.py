"""Sets that come packed: the libraries that read them, and the rows of parquet files by picture.

Pictures are known by their bytes: one is written once, however many rows ask about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError

from ._layout import LeftOut

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


@dataclass(slots=True)
class PackedPicture:
    """A picture and the rows that ask about it; ``place`` is (file, row group, row)."""

    digest: str
    place: tuple[Path, int, int]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def named(self) -> str:
        """Where it lies, for messages."""
        path, group, row = self.place
        return f"{path.name}, row {row} of group {group}"


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

    def pictures(self, left: LeftOut) -> Iterator[PackedPicture]:
        """All pictures in the order of their first row, with all rows that ask and answer.

        Rows without a question or an answer, and pictures of such rows alone, are counted in
        ``left``.

        Raises
        ------
        QueryError
            If a file cannot be read or lacks the columns image, question and answer.
        """
        by_digest: dict[str, PackedPicture] = {}
        for path in self._files:
            file = self._open(path)
            names = set(file.schema_arrow.names)
            if not {"image", "question", "answer"} <= names:
                raise QueryError(f"{path.name} needs the columns image, question and answer")
            columns = [name for name in self._columns if name in names]
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=columns).to_pylist()
                images = self._group(path, group)
                for number, (row, data) in enumerate(zip(rows, images, strict=True)):
                    digest = hashlib.sha256(data).hexdigest()
                    picture = PackedPicture(digest, (path, group, number))
                    by_digest.setdefault(digest, picture).rows.append(row)
        for picture in by_digest.values():
            whole = [row for row in picture.rows if row.get("question") and row.get("answer")]
            left.add(BLANK, picture.named, len(picture.rows) - len(whole))
            if whole:
                picture.rows = whole
                yield picture

    def image(self, place: tuple[Path, int, int]) -> bytes:
        """Encoded bytes of a picture; its row group is kept for the next one."""
        path, group, row = place
        data: bytes = self._group(path, group)[row]
        return data

    def _group(self, path: Path, group: int) -> list[Any]:
        if self._read != (path, group):
            rows = self._open(path).read_row_group(group, columns=["image"]).to_pylist()
            self._images = [_bytes(path, row["image"]) for row in rows]
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

"""Files that are there whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from napari_pathreason._errors import ExportError


@contextmanager
def atomic_text(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file that takes its name only when the block has ended well.

    Parameters
    ----------
    path : str or Path
        UTF-8; packed where the name ends in ``.gz``. A file of that name is replaced at once.

    Raises
    ------
    ExportError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=".pathreason-", dir=path.parent)
    except OSError as error:
        raise ExportError(_not_written(path, error)) from error
    draft = Path(name)
    try:
        with open(handle, "wb") as raw:
            with _text(raw, path.suffix.lower() == ".gz") as file:
                yield file
            raw.flush()
            os.fsync(raw.fileno())
        draft.chmod(0o666 & ~_umask())  # mkstemp shuts others out, a plain file would not
        draft.replace(path)
    except OSError as error:
        raise ExportError(_not_written(path, error)) from error
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def _text(raw: IO[bytes], packed: bool) -> Iterator[IO[str]]:
    if not packed:
        plain = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        yield plain
        plain.detach()  # flushes, and leaves the file open
        return
    # neither the draft's name nor the time goes into the header
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as pack,
        io.TextIOWrapper(pack, encoding="utf-8", newline="") as file,
    ):
        yield file


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _not_written(path: Path, error: OSError) -> str:
    why = error.strerror or type(error).__name__
    return f"{path.name} cannot be written ({why}); choose another place"

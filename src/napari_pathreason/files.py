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

from napari_pathreason.errors import ExportError

DRAFT = ".pathreason-"
"""How the name of a file begins until it is whole."""


@contextmanager
def atomic_text(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file as `atomic_bytes` does; UTF-8, packed where the name ends in ``.gz``."""
    with atomic_bytes(path) as raw:
        if str(path).lower().endswith(".gz"):
            # neither the draft's name nor the time goes into the header
            with (
                gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as z,
                io.TextIOWrapper(z, encoding="utf-8", newline="") as packed,
            ):
                yield packed
        else:
            plain = io.TextIOWrapper(raw, encoding="utf-8", newline="")
            yield plain
            plain.detach()  # flushes, and leaves the file open


@contextmanager
def atomic_bytes(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when the block has ended well.

    Parameters
    ----------
    path : str or Path
        A file of that name is replaced at once. What is no plain file, such as a pipe, is written
        to as it is.

    Raises
    ------
    ExportError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    path = Path(path)
    target = path.resolve()  # a link stays one
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as raw:
                yield raw
            return
        handle, name = tempfile.mkstemp(prefix=DRAFT, dir=target.parent)
        try:
            with open(handle, "wb") as raw:
                yield raw
                raw.flush()
                os.fsync(raw.fileno())
            Path(name).chmod(0o666 & ~_umask())  # mkstemp shuts others out, a plain file would not
            Path(name).replace(target)
        finally:
            with suppress(OSError):
                Path(name).unlink()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ExportError(f"{path.name} cannot be written ({why}); choose another place") from error


def remove_drafts(folder: Path) -> None:
    """Remove what a process that was killed had not finished; no other may be at work there."""
    for path in folder.glob(f"{DRAFT}*"):
        with suppress(OSError):
            path.unlink()


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

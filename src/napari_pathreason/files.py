"""Files that survive any end of the process: whole or not at all, or whole up to the last line.

`write_text` and `write_json` write a file at once, `atomic_text`, `atomic_bytes` and
`atomic_folder` piece by piece under another name; `Journal` only ever grows.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

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
        raise _unwritable(path, error, "choose another place") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text at once; see `atomic_text`."""
    with atomic_text(path) as file:
        file.write(text)


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Write a value as JSON with a line end behind it, at once; see `atomic_text`.

    Letters stand as they are; NaN and infinity are no JSON.

    Raises
    ------
    ValueError, TypeError
        If JSON cannot hold the value.
    ExportError
        If the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Fill a new folder beside ``folder`` that takes its name only when the block has ended well.

    A folder of that name is replaced as `replace_folder` does it; after a failure all is as before.

    Yields
    ------
    Path
        Empty, on the same disk.

    Raises
    ------
    OSError
        As whatever fills it, or moves it, does.
    """
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder.parent))
    try:
        draft.chmod(0o777 & ~_umask())  # mkdtemp shuts others out
        yield draft
        replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Give ``new`` the place of ``folder``, both on one disk.

    No system swaps two folders at once: where the process dies between the two moves, the former
    one lies beside under `former_folder`.
    """
    former = former_folder(folder)
    if folder.exists():
        shutil.rmtree(former, ignore_errors=True)  # else it is all that a killed process has left
        folder.replace(former)
    new.replace(folder)
    shutil.rmtree(former, ignore_errors=True)


def former_folder(folder: Path) -> Path:
    """Where `replace_folder` moves the folder that stood there."""
    return folder.with_name(f"{folder.name}.old")


class Journal:
    """Lines that are only ever added: what a killed process had not finished is cut off.

    A line counts once its end is on the disk. One process at a time may write.

    Parameters
    ----------
    path : Path
        Its folder must exist once a line is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._whole = False

    def lines(self) -> Iterator[bytes]:
        """Whole lines without their ends, in the order in which they came; none without a file.

        Raises
        ------
        ExportError
            If it cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line[:-1]
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self._path, error, "choose another folder") from error

    def append(self, *lines: bytes) -> None:
        """Add lines, which hold no line ends themselves; they are on the disk when this returns.

        Raises
        ------
        ExportError
            If the disk is full or gone.
        """
        if any(b"\n" in line for line in lines):
            raise ValueError("a line of a journal holds no line end")
        try:
            if not self._whole:
                self._cut_torn_line()
            with self._path.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in lines))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._whole = False
            raise _unwritable(self._path, error, "choose another folder") from error

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Put these lines in place of all others, at once.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        with atomic_bytes(self._path) as file:
            for line in lines:
                file.write(line + b"\n")

    def _cut_torn_line(self) -> None:
        with suppress(FileNotFoundError), self._path.open("r+b") as file:
            whole = sum(len(line) for line in file if line.endswith(b"\n"))
            if whole < file.tell():
                file.truncate(whole)
        self._whole = True


def remove_drafts(folder: Path) -> None:
    """Remove what a process that was killed had not finished; no other may be at work there."""
    for path in folder.glob(f"{DRAFT}*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _unwritable(path: Path, error: OSError, remedy: str) -> ExportError:
    why = error.strerror or type(error).__name__
    return ExportError(f"{path.name} cannot be written ({why}); {remedy}")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask

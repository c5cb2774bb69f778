"""Files told apart by what is in them, not by where they lie."""

from __future__ import annotations

import hashlib
from pathlib import Path

from napari_pathreason.errors import ExportError

BLOCK = 1 << 16
SAMPLES = 64
"""A slide may hold 100 GB; its size and so many blocks of 64 KiB tell it from any other."""


def fingerprint(path: str | Path) -> str:
    """SHA-256 over the size and 64 evenly spaced blocks of a file; equal copies have equal ones.

    Of a folder (OME-Zarr) every file's name and size count, and the first block of 64 of them. The
    folder's or file's own name does not.

    Raises
    ------
    ExportError
        If it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            for file in files:
                digest.update(f"{file.relative_to(path).as_posix()} {_size(file)}\n".encode())
            for index in _spread(len(files)):
                digest.update(_block(files[index], 0))
        else:
            size = _size(path)
            digest.update(f"{size}\n".encode())
            for index in _spread(-(-size // BLOCK)):
                digest.update(_block(path, index * BLOCK))
    except OSError as error:
        raise ExportError(f"{path.name} cannot be read ({error.strerror}); check it") from error
    return digest.hexdigest()


def weights_sha256(folder: str | Path) -> str:
    """SHA-256 over names and whole contents of the weight files of a model's folder.

    Raises
    ------
    ExportError
        If one cannot be read.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            with file.open("rb") as raw:
                digest.update(
                    f"{file.name} {hashlib.file_digest(raw, 'sha256').hexdigest()}\n".encode()
                )
        except OSError as error:
            raise ExportError(f"{file.name} cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _size(file: Path) -> int:
    return file.stat().st_size


def _block(file: Path, start: int) -> bytes:
    with file.open("rb") as raw:
        raw.seek(start)
        return raw.read(BLOCK)


def _spread(count: int) -> list[int]:
    """At most `SAMPLES` whole numbers below ``count``, the first and the last among them."""
    if count <= SAMPLES:
        return list(range(count))
    return [index * (count - 1) // (SAMPLES - 1) for index in range(SAMPLES)]

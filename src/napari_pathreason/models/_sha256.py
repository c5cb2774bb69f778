"""What a model is by its content: one hash over every file that can change an answer. No torch."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from napari_pathreason.errors import ModelError

from ._adapter import BASE_KEY, CONFIG as ADAPTER, find_base
from ._allocators import FOLDER
from ._config import CALIBRATION
from ._metadata import METADATA

_READ = ("*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt", "vocab.txt")
"""Weights, configs, tokenizer, template, calibration, detector and allocators, whatever form."""
_NOT_READ = ("run.json",)
"""What a folder says of its making, which no answer hangs on."""
_BESIDE = (METADATA, CALIBRATION, "ood.safetensors")
_SETTLED = 2.0
"""Seconds since a file was changed, from which on its time tells one content from another."""


def checkpoint_sha256(
    folder: Path, name: str, *, performer_alone: bool = False, allocators: bool = True
) -> str:
    """SHA-256 over names and whole contents of all files of a model that can change an answer.

    Weights, configs, tokenizer, chat template, calibration, detector and metadata; allocators of
    each form; of an adapter the weights, configs and tokenizer of its base too. Where they lie does
    not count, not even in an adapter's config. A file is read once as long as it is not touched.

    Parameters
    ----------
    folder : Path
        As `find_checkpoint` gives it.
    name : str
        How it is called in errors.
    performer_alone : bool
        Leave out what is fitted or trained beside a performer, whose own answers stay as they are:
        allocators, calibration, detector, metadata.
    allocators : bool
        False leaves out these alone, as where they are what is to be trained.

    Raises
    ------
    ModelError
        If a file cannot be read, or the base of an adapter cannot be found.
    """
    digest = hashlib.sha256()
    base = find_base(folder, name)
    try:
        for file in _files(folder, performer_alone, allocators):
            place = file.relative_to(folder).as_posix()
            digest.update(f"own {place} {_sha256(file)}\n".encode())
        if base != folder:
            for file in _files(base, True):
                digest.update(f"base {file.name} {_sha256(file)}\n".encode())
    except OSError as error:
        raise ModelError(
            f"a file of the model {name} cannot be read ({error.strerror}); check its folder"
        ) from error
    return digest.hexdigest()


def folder_signature(model_id: str | Path) -> str:
    """What changes when a file of a model's folder is written to; empty for any other name.

    Told by sizes and times alone, and so at once.

    Parameters
    ----------
    model_id : str or Path
        As of `find_checkpoint`.
    """
    folder = Path(model_id)
    try:
        if not str(model_id) or not folder.is_dir():
            return ""
        files = [(file, file.stat()) for file in _files(folder, False)]
        return " ".join(f"{f.name} {about.st_size} {about.st_mtime_ns}" for f, about in files)
    except OSError:
        return ""


def copy_beside(folder: Path, target: Path) -> None:
    """Copy what is fitted or trained beside a performer, as far as ``target`` has none of it.

    Parameters
    ----------
    folder : Path
        Of a performer; need not exist.
    target : Path
        Where its weights were written anew.
    """
    performer = set(_files(folder, True))
    for file in _files(folder, False):
        place = target / file.relative_to(folder)
        if file not in performer and not place.exists():
            place.parent.mkdir(exist_ok=True)
            shutil.copy(file, place)


def _files(folder: Path, performer_alone: bool, allocators: bool = True) -> Iterator[Path]:
    """In the order of their names, those of an allocator in a folder of its own behind them."""
    places = (folder, folder / FOLDER) if allocators and not performer_alone else (folder,)
    for place in places:
        found = {file for pattern in _READ for file in place.glob(pattern) if file.is_file()}
        for file in sorted(found):
            allocates = "allocator" in file.name
            beside = file.name in _BESIDE or allocates
            left_out = (performer_alone and beside) or (allocates and not allocators)
            if file.name not in _NOT_READ and not left_out:
                yield file


def _sha256(file: Path) -> str:
    about = file.stat()  # of what a link leads to
    if time.time() - about.st_mtime < _SETTLED:
        return _read_sha256(file)
    return _known_sha256(file.resolve(), about.st_ino, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _known_sha256(file: Path, inode: int, size: int, changed: int) -> str:
    return _read_sha256(file)


def _read_sha256(file: Path) -> str:
    if file.name == ADAPTER:
        return hashlib.sha256(_without_base(file.read_bytes())).hexdigest()
    with file.open("rb") as raw:
        return hashlib.file_digest(raw, "sha256").hexdigest()


def _without_base(config: bytes) -> bytes:
    """An adapter's config but for where its base lies: both may move, and are the same."""
    try:
        values = json.loads(config)
        return json.dumps(
            {k: v for k, v in values.items() if k != BASE_KEY}, sort_keys=True
        ).encode()
    except (ValueError, AttributeError):  # damaged, which loading says
        return config

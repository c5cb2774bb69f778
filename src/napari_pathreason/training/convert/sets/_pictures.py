"""Files of a set: which are pictures, where they lie, whether they open, and which were not used.

Every picture is opened once, so that a broken one is met here and not in training.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from PIL import Image
from tqdm import tqdm

from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide
from napari_pathreason.training.samples import FLAT, is_plain

from ._layout import LeftOut

Size = tuple[int, int]
"""(width, height) in level-0 pixels."""

SLIDES = {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".zarr"}
SUFFIXES = FLAT | SLIDES
"""Files that training and answers read; a ``.zarr`` is a folder."""
OUTPUTS = {"train.jsonl", "val.jsonl", "test.jsonl"}
"""What lies together in the folder of another conversion."""
PAPERS = ("readme", "license", "licence", "notice", "citation", "changelog")
IGNORED = {"thumbs.db", "desktop.ini"}
DOUBTFUL = "names of pictures fit several files, so that none was taken"
BROKEN = "pictures cannot be read and were left out"
PIECE = 256
"""Side of what is read of a slide, level-0 pixels; flat pictures are decoded whole."""
COARSER = 8
"""How much coarser a JPEG is decoded: all of its data is gone through, few pixels are made."""


def is_picture(path: Path) -> bool:
    """Whether a file is called like a picture; hidden ones are none."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def pictures_in(folder: Path) -> list[Path]:
    """Pictures that lie in a folder itself, by name; none if it is not there."""
    return sorted(path for path in folder.iterdir() if is_picture(path)) if folder.is_dir() else []


def subfolders(folder: Path) -> list[Path]:
    """Folders in a folder, by name, without hidden ones and those that are slides."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and not is_picture(path)
    )


class PicturesByName:
    """Look pictures up below a folder.

    Parameters
    ----------
    folder : Path
        Walked once, and only if a picture does not lie where it is named.

    Attributes
    ----------
    doubtful : set of str
        Names that fit several files, so that none was taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.doubtful: set[str] = set()

    def find(self, name: str) -> Path:
        """Where a picture lies.

        As named, if it is absolute or relative to the folder; else the file whose path shares the
        longest end with the name, which may leave out the file's ending. What is nowhere, or in
        several places, stays as named.
        """
        plain = self._folder / name
        if plain.is_file() or (plain.is_dir() and is_picture(plain)):
            return plain
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for start in range(len(parts)):
            files = self._ends.get(parts[start:], [])
            if len(files) == 1:
                return files[0]
            if files:
                self.doubtful.add(name)
                break
        return plain

    @cached_property
    def _ends(self) -> dict[tuple[str, ...], list[Path]]:
        ends: dict[tuple[str, ...], list[Path]] = {}
        for path in sorted(self._folder.rglob("*")):
            if is_picture(path):
                parts = path.relative_to(self._folder).parts
                for start in range(len(parts)):
                    ends.setdefault(parts[start:], []).append(path)
                    ends.setdefault((*parts[start:-1], path.stem), []).append(path)
        return ends


@dataclass(frozen=True, slots=True)
class Opened:
    """What was found when a file was opened.

    Parameters
    ----------
    size : (width, height), optional
        None where it cannot be read.
    why : str
        Why not, and what helps, as it follows the file's name; empty where that is not known.
    digest : bytes
        Of a flat picture's bytes; empty of a slide.
    """

    size: Size | None
    why: str = ""
    digest: bytes = b""


def open_all(files: Collection[Path]) -> dict[Path, Opened]:
    """Open files and decode them: a flat picture whole, of a slide a piece of its middle."""
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    few = len(files) < 1000
    try:
        each = pool.map(_open, files)
        bar = tqdm(each, "opening", len(files), unit="picture", mininterval=1, disable=few)
        return dict(zip(files, bar, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # what is interrupted opens nothing more


def _open(path: Path) -> Opened:
    digest = b""
    try:
        if path.suffix.lower() in FLAT:
            data = path.read_bytes()
            digest = hashlib.blake2b(data, digest_size=16).digest()
            with Image.open(io.BytesIO(data)) as file:
                if is_plain(file):
                    size = file.size
                    file.draft("RGB", (max(1, size[0] // COARSER), max(1, size[1] // COARSER)))
                    file.load()
                    return Opened(size, digest=digest)
        with open_slide(path) as slide:
            size = slide.width, slide.height
            width, height = (min(PIECE, side) for side in size)
            piece = Region((size[0] - width) // 2, (size[1] - height) // 2, width, height)
            if slide.read_region(piece, (width, height)).unreadable == 1:
                return Opened(None, "has damaged tiles")
            return Opened(size, digest=digest)
    except PathreasonError as error:
        return Opened(None, str(error).removeprefix(path.name).strip())
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return Opened(None)  # what Pillow raises for what is damaged


def shown(path: Path, folder: Path) -> str:
    """A file as messages name it: relative to its folder, else its name alone."""
    inside = path != folder and path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else path.name


def count_unused(left: LeftOut, source: Path, used: Collection[Path], out: Path) -> None:
    """Count the files of a source that no sample and no converter used.

    Hidden files, licences, read-mes and the folders of other conversions are passed over. Of a
    source that is a file, the pictures that lie beside those that it names are counted.

    Parameters
    ----------
    left : LeftOut
    source : Path
        Folder or file.
    used : collection of Path
        Files, and folders of which everything is used.
    out : Path
        Where the samples go, which may lie inside the source.
    """
    pictures = "pictures belong to no label of it and were left out"
    if source.is_file():
        for folder in sorted({path.parent for path in used if path.is_relative_to(source.parent)}):
            for path in _entries(folder):
                if path.is_file() and path not in used and is_picture(path):
                    left.add(pictures, shown(path, source.parent))
        return
    others: Counter[str] = Counter()
    for path in _walk(source, used, out, set()):
        if is_picture(path):
            left.add(pictures, shown(path, source))
        else:
            others[path.suffix.lower() or "without ending"] += 1
    for ending, count in sorted(others.items()):
        left.add(f"files {ending} were not used", count=count)


def _walk(folder: Path, used: Collection[Path], out: Path, passed: set[str]) -> Iterator[Path]:
    names = {entry.name for entry in os.scandir(folder)}
    real = os.path.realpath(folder)  # links may lead back
    if folder == out or names >= OUTPUTS or real in passed:
        return
    passed.add(real)
    for path in _entries(folder):
        if path in used or path.name.lower() in IGNORED:
            continue
        if path.is_dir() and not is_picture(path):
            yield from _walk(path, used, out, passed)
        elif not path.name.lower().startswith(PAPERS) and path.suffix.lower() != ".md":
            yield path


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, hidden things apart, in order."""
    return sorted(Path(e.path) for e in os.scandir(folder) if not e.name.startswith("."))

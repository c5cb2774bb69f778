"""Which files are pictures, and pictures that a file names while they lie elsewhere."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath

FLAT = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
SLIDES = {".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif", ".zarr"}
SUFFIXES = FLAT | SLIDES
"""Files that training and answers read; a ``.zarr`` is a folder."""
DOUBTFUL = "names of pictures fit several files, so that none was taken"


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
        longest end with the name. What is nowhere, or in several places, stays as named.
        """
        plain = self._folder / name
        if plain.is_file() or (plain.is_dir() and is_picture(plain)):
            return plain
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for start in range(len(parts)):
            found = self._ends.get(parts[start:], [])
            if len(found) == 1:
                return found[0]
            if found:
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
        return ends

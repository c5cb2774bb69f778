"""Pictures that a file names while they lie elsewhere."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path, PurePosixPath

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


class PicturesByName:
    """Look pictures up below a folder.

    Parameters
    ----------
    folder : Path
        Walked once, and only if a picture does not lie where it is named.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str) -> Path:
        """Where a picture lies.

        As named, if it is absolute or relative to the folder; else the file whose path shares the
        longest end with the name. What is nowhere stays as named.
        """
        plain = self._folder / name
        if plain.is_file():
            return plain
        parts = PurePosixPath(name.replace("\\", "/")).parts
        for start in range(len(parts)):
            found = self._ends.get(parts[start:], [])
            if len(found) == 1:
                return found[0]
        return plain

    @cached_property
    def _ends(self) -> dict[tuple[str, ...], list[Path]]:
        ends: dict[tuple[str, ...], list[Path]] = {}
        for path in sorted(self._folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                parts = path.relative_to(self._folder).parts
                for start in range(len(parts)):
                    ends.setdefault(parts[start:], []).append(path)
        return ends

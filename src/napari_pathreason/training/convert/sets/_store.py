"""Pictures that lie inside archives, written out once as files of their own."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.errors import ExportError, SlideError

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
MODES = ("RGB", "L", "RGBA", "P")


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


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]

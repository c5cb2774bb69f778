"""Pictures of samples, decoded once; grids of tiles are composed when asked for."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.exports import fingerprint
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide, slide_from_arrays

from ._augment import draw_turn, turn_array
from ._sample import CROP, Files, Sample

Pixels = NDArray[np.uint8]
FLAT = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
"""Files that are decoded whole; of all others only what is asked for is read."""
PLAIN = {"RGB", "L", "P", "1"}
ORIENTATION = 274  # the tag of EXIF
BLOCKS = 64
"""Of 64 KiB, that tell one picture from another: up to 4 MiB all of it, above so many of them."""
_SETTLED = 2.0
"""Seconds since a file was changed, from which on its time tells one content from another."""
Stamp = tuple[int, int, int] | None
"""Inode, size and time of a file; None where there is none."""


def files_of(image: Files) -> Iterator[str]:
    """Files that a picture or a mask is composed of, each once."""
    names = [image] if isinstance(image, str) else [name for row in image for name in row]
    yield from dict.fromkeys(name.partition(CROP)[0] for name in names)


def picture_sha256(path: Path) -> str:
    """SHA-256 of a picture's content (`exports.fingerprint` of `BLOCKS`); empty without a file.

    It is read once for as long as it is not touched.
    """
    stamp = _stamp(path)
    if stamp is None:
        return ""
    if path.is_dir() or time.time() - stamp[2] / 1e9 < _SETTLED:
        return fingerprint(path, BLOCKS)
    return _known_sha256(path.resolve(), stamp, path.stat().st_ctime_ns)  # which nobody sets back


@lru_cache(maxsize=1 << 18)
def _known_sha256(path: Path, stamp: Stamp, changed: int) -> str:
    return fingerprint(path, BLOCKS)


def _stamp(path: Path) -> Stamp:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def is_plain(file: Image.Image) -> bool:
    """Whether Pillow alone shows a flat file as answers see it: 8 bits, opaque, not lying down.

    Anything else is read by `open_slide`, which scales 16 bits, puts what is transparent on a
    ground, turns what a camera held upright, and refuses printing inks.
    """
    if file.format == "GIF":  # which only training reads
        return True
    turned = file.format != "PNG" and file.getexif().get(ORIENTATION, 1) in range(2, 9)
    return file.mode in PLAIN and "transparency" not in file.info and not turned


class Pictures:
    """Decoded files of one JSONL folder, kept in memory up to a limit.

    Parameters
    ----------
    folder : Path
        Folder of the JSONL; file names in samples are relative to it.
    most : int
        Files to keep; beyond that the oldest go.
    most_slides : int
        Slides that stay open, the last ones: a system allows some hundred files.
    """

    def __init__(self, folder: Path, most: int = 8000, most_slides: int = 100) -> None:
        self._folder = folder
        self._most = most
        self._most_slides = most_slides
        self._decoded: dict[str, Pixels] = {}
        self._slides: dict[str, Slide] = {}
        self._held: dict[str, Stamp] = {}
        self._sha256: dict[str, str] = {}
        weakref.finalize(self, _close, self._slides)

    def hold(self, samples: Iterable[Sample]) -> None:
        """Read files of these samples from now on only as they are now.

        A run that names what it learnt from must not learn from what took its place meanwhile:
        `picture` and the others raise `QueryError` then.
        """
        for sample in samples:
            for image in (sample.image, sample.facts.nuclei):
                for name in files_of(image) if image is not None else ():
                    if name not in self._held:
                        self._held[name] = _stamp(self._folder / name)

    def sha256(self, sample: Sample) -> str:
        """SHA-256 of the content of a sample's picture, see `picture_sha256`."""
        for name in files_of(sample.image):
            if name not in self._sha256:
                self._sha256[name] = picture_sha256(self._folder / name)
        return " ".join(self._sha256[name] for name in files_of(sample.image))

    def _refuse_changed(self, name: str) -> None:
        if name in self._held and self._held[name] != _stamp(self._folder / name):
            self._decoded.pop(name, None)
            raise QueryError(
                f"the picture {Path(name).name} was changed while this run went on; put it back, "
                "or run it again with another output"
            )

    def picture(self, sample: Sample, rng: Random | None = None) -> Pixels:
        """Whole picture of a sample, uint8 (height, width, 3), level-0 pixels.

        With ``rng`` every tile of a composed picture is turned by itself: its label stays true.
        Tiles that are crops of a file (``Sample.image``) stay.
        """
        return self._whole(sample.image, "RGB", rng)

    def _whole(self, image: Files, mode: str | None, rng: Random | None = None) -> Pixels:
        if isinstance(image, str):
            return self._file(image, mode)
        return np.vstack(
            [np.hstack([self._tile(name, mode, rng) for name in row]) for row in image]
        )

    def _tile(self, name: str, mode: str | None, rng: Random | None) -> Pixels:
        file, _, crop = name.partition(CROP)
        tile = self._file(file, mode)
        if crop:  # what it holds has a place in it, which a turn would change
            x, y, width, height = map(int, crop.split(","))
            return tile[y : y + height, x : x + width]
        return tile if rng is None else turn_array(tile, draw_turn(rng))

    def tile(self, name: str) -> Pixels:
        """One tile of a composed picture, uint8 (height, width, 3), as it lies on disk."""
        return self._tile(name, "RGB", None)

    def region(self, sample: Sample) -> Region:
        """Region of a sample; the whole picture where it names none."""
        if sample.region is not None:
            return Region(*sample.region)
        slide = self.slide(sample)
        return Region(0, 0, slide.width, slide.height)

    def read(
        self, sample: Sample, region: Region, size: tuple[int, int], rng: Random | None = None
    ) -> Pixels:
        """Region at ``size`` (width, height), by the reader that serves answers as well."""
        return self.slide(sample, rng).read_region(region, size).pixels

    def slide(self, sample: Sample, rng: Random | None = None) -> Slide:
        """Picture of a sample as a slide, for its next reading; ``rng`` as of `picture`.

        It belongs to the pictures, which close it.

        Raises
        ------
        SlideError
            If its file cannot be read.
        """
        name = sample.image
        if not isinstance(name, str) or Path(name).suffix.lower() in FLAT:
            return slide_from_arrays([self.picture(sample, rng)], "sample")
        slide = self._slides.pop(name, None)
        if slide is None:
            if len(self._slides) >= self._most_slides:  # the one that was asked for least lately
                self._slides.pop(next(iter(self._slides))).close()
            slide = open_slide(self._folder / name, cache=0)  # many are open, few read twice
            try:
                self._refuse_changed(name)
            except QueryError:
                slide.close()
                raise
        self._slides[name] = slide
        return slide

    def nuclei(self, sample: Sample, region: Region) -> NDArray[np.float32] | None:
        """Mask of nuclei in a region, 0 or 1, float32 (height, width); None if not annotated."""
        if sample.facts.nuclei is None:
            return None
        mask = self._whole(sample.facts.nuclei, None)
        part = mask[region.y : region.y + region.height, region.x : region.x + region.width]
        return (part > 0).astype(np.float32)

    def _file(self, name: str, mode: str | None) -> Pixels:
        if name not in self._decoded:
            if len(self._decoded) >= self._most:
                self._decoded.pop(next(iter(self._decoded)))
            try:
                with Image.open(self._folder / name) as file:
                    if mode is None or is_plain(file):
                        self._decoded[name] = np.asarray(file.convert(mode) if mode else file)
                if name not in self._decoded:
                    self._decoded[name] = _as_answered(self._folder / name)
                self._refuse_changed(name)
            except (OSError, UnidentifiedImageError):
                raise SlideError(
                    f"{Path(name).name} cannot be read; run `pathreason data convert` again "
                    "where the pictures are"
                ) from None
        return self._decoded[name]


def _as_answered(path: Path) -> Pixels:
    with open_slide(path, cache=0) as slide:
        size = slide.width, slide.height
        return slide.read_region(Region(0, 0, *size), size).pixels


def _close(slides: dict[str, Slide]) -> None:
    for slide in slides.values():
        slide.close()

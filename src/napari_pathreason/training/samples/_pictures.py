"""Pictures of samples, decoded once; grids of tiles are composed when asked for."""

from __future__ import annotations

import weakref
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import Slide, open_slide, slide_from_arrays

from ._augment import draw_turn, turn_array
from ._sample import CROP, Files, Sample

Pixels = NDArray[np.uint8]
FLAT = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}
"""Files that are decoded whole; of all others only what is asked for is read."""
PLAIN = {"RGB", "L", "P", "1"}
ORIENTATION = 274  # the tag of EXIF


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
        weakref.finalize(self, _close, self._slides)

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

"""A layout: how its folder is told from others, and what a converter reads of it.

A `Kind` reads a folder, without decoding anything, into a `PictureSet`: an `LabelledEntry` for each
picture, which makes its questions once its split is known, and a count of what is left out.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.errors import ExportError, QueryError, SlideError
from napari_pathreason.training.samples import SPLITS, Sample, Split

SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
MODES = ("RGB", "L", "RGBA", "P")
NAMED = 3
"""Names that a line gives of what it counts."""
TOLERATED = 0.25
"""Share of pictures that may be missing or broken; above it the folder itself is damaged."""

MaskKind = Literal["binary", "instance", "class"]
"""What the values of a mask are: one thing or nothing, a number for each, or one for each class."""

Place = tuple[int, int, int, int]
"""(x, y, width, height) in level-0 pixels."""


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


class LeftOut:
    """Counts by reason, with the first names."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, why: str, name: str = "", count: int = 1) -> None:
        """Count something left out.

        Parameters
        ----------
        why : str
            What it is and why, as it follows the number: "records left out: no answer".
        name : str
            File (never its full path), row or record.
        count : int
        """
        if count:
            self._counts[why] += count
            names = self._names.setdefault(why, [])
            if name and name not in names and len(names) <= NAMED:
                names.append(name)

    def count(self, why: str) -> int:
        """How often a reason was given."""
        return self._counts[why]

    def names(self, why: str) -> str:
        """The first names of a reason, in one phrase."""
        names = self._names.get(why, [])
        return ", ".join([*names[:NAMED], *["..."] * (len(names) > NAMED)])

    def notes(self) -> tuple[str, ...]:
        """A line for each reason: number, reason, first names."""
        return tuple(
            f"{count:,} {why}" + (f" ({self.names(why)})" if self._names[why] else "")
            for why, count in self._counts.items()
        )

    def refuse_damaged(self, why: str, total: int, remedy: str) -> None:
        """Refuse a set of which too many pictures were left out for one reason.

        One of several may be lost, or `TOLERATED` of all.

        Raises
        ------
        QueryError
            Says how many of ``total``, names the first, and gives the remedy.
        """
        lost = self.count(why)
        if lost and (lost == total or lost > max(1.0, TOLERATED * total)):
            what = why.removesuffix(" and were left out")
            raise QueryError(f"{lost:,} of {total:,} {what} ({self.names(why)}); {remedy}")


@dataclass(frozen=True, slots=True)
class Draw:
    """What the questions about a picture are made with, once its split is known."""

    split: Split
    rng: Random
    store: Store


Ask = Callable[[Draw], Iterable[Sample]]
"""Questions about one picture."""


def ask_ready(samples: Sequence[Sample], draw: Draw) -> Iterable[Sample]:
    """Questions that a set brings in its own words; an `Ask` once ``samples`` are bound."""
    return samples


@dataclass(frozen=True, slots=True)
class LabelledEntry:
    """A picture of a set.

    Parameters
    ----------
    key : str
        Names the picture within the set, with forward slashes; the same at every reading.
    group : str
        What must not be divided among splits: a patient, a slide, a source tile.
    ask : callable
    split : {"train", "val", "test"}, optional
        As published; None where the set leaves it open.
    file : Path, optional
        Where its pixels lie; None where they lie inside an archive.
    place : tuple of int, optional
        (x, y, width, height) in level-0 pixels of a tile of ``file``; None for the whole picture.
    label : str
        Its label, where it has just one: so that a split by place, and the notes,
        can tell whether a class is missing.
    named : str
        What messages call it where it has no file of its own; else the key.
    """

    key: str
    group: str
    ask: Ask
    split: Split | None = None
    file: Path | None = None
    place: Place | None = None
    label: str = ""
    named: str = ""


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Pictures of a set in a fixed order.

    Parameters
    ----------
    entries : list of LabelledEntry
    group_is : str
        What a group is, in one word.
    notes : tuple of str
        What a user must know.
    left : LeftOut
        What is left out, counted while the folder is read and while questions are asked.
    beside : frozenset of Path
        Files, and folders as a whole, that belong to the pictures or are read for them: tables,
        masks. What is neither there nor a picture of an entry is counted as not used.
    """

    entries: list[LabelledEntry]
    group_is: str = "picture"
    notes: tuple[str, ...] = ()
    left: LeftOut = field(default_factory=LeftOut)
    beside: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Options:
    """How a folder is converted.

    Parameters
    ----------
    seed : int
        Of wordings, drawn pictures, crops and dealt splits.
    question : str
        What is asked where a set has labels and no questions; empty for the set's own.
    most : int, optional
        Pictures to take of each split, drawn by ``seed``.
    groups : Path, optional
        CSV with columns image and group (or patient, slide, source_tile) that says which pictures
        belong together.
    images : Path, optional
        Folder to look in for pictures that do not lie where a file names them.
    tile : int
        Side of tiles that are laid on slides, pixels at ``mpp``.
    mpp : float
        Micrometres per pixel of those tiles.
    slide_mpp : float, optional
        Micrometres per level-0 pixel of slides that do not say it.
    masks : {"binary", "instance", "class"}, optional
        What the values of masks are; None to see it.
    label : str
        What objects of binary and instance masks are called; empty for "object".
    splits : tuple of {"train", "val", "test"}, optional
        Splits that must hold samples, and among which pictures of no published split are dealt;
        None for all that the kind is made for.
    """

    seed: int = 0
    question: str = ""
    most: int | None = None
    groups: Path | None = None
    images: Path | None = None
    tile: int = 512
    mpp: float = 0.5
    slide_mpp: float | None = None
    masks: MaskKind | None = None
    label: str = ""
    splits: tuple[Split, ...] | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A layout that can be converted.

    Parameters
    ----------
    name : str
        For ``--kind``.
    layout : str
        What lies in the folder, in a few words.
    matches : callable
        Whether a folder or file has this layout; reads no pixels.
    read : callable
    gives : tuple of {"train", "val", "test"}
        Splits that it is made for: a set published to evaluate on has nothing to train on.
    """

    name: str
    layout: str
    matches: Callable[[Path], bool]
    read: Callable[[Path, Options], PictureSet]
    gives: tuple[Split, ...] = SPLITS


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]

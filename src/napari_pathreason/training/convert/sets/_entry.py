"""What a converter finds in a folder, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from napari_pathreason.training.samples import SPLITS, Sample, Split

from ._archives import Store
from ._left_out import LeftOut

Place = tuple[int, int, int, int]
"""(x, y, width, height) in level-0 pixels."""
Ask = Callable[[Split, Random, Store], Iterable[Sample]]
"""Questions about one picture, asked once its side of the split is known."""


def ask_ready(
    samples: Sequence[Sample], split: Split, rng: Random, store: Store
) -> Iterable[Sample]:
    """Questions that a set brings in its own words; an `Ask` once ``samples`` are given."""
    return samples


@dataclass(frozen=True, slots=True)
class Entry:
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
        What is known of it, where that is one label: so that a split by place, and the notes,
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
class Found:
    """Pictures of a set in a fixed order.

    Parameters
    ----------
    entries : list of Entry
    group_is : str
        What a group is, in one word.
    notes : tuple of str
        What a user must be told.
    left : LeftOut
        What is left out, counted while the folder is read and while questions are asked.
    beside : frozenset of Path
        Files, and folders as a whole, that belong to the pictures or are read for them: tables,
        masks. What is neither there nor a picture of an entry is counted as not used.
    """

    entries: list[Entry]
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
    looks : callable
        Whether a folder or file looks so; reads no pixels.
    read : callable
    gives : tuple of {"train", "val", "test"}
        Splits that it is made for: a set published to evaluate on has nothing to train on.
    """

    name: str
    layout: str
    looks: Callable[[Path], bool]
    read: Callable[[Path, Options], Found]
    gives: tuple[Split, ...] = SPLITS

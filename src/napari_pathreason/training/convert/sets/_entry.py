"""What a converter finds in a folder, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from napari_pathreason.training.samples._sample import Sample, Split

from ._store import Store

Ask = Callable[[Split, Random, Store], Iterable[Sample]]
"""Questions about one picture, asked once its side of the split is known."""


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
    """

    key: str
    group: str
    ask: Ask
    split: Split | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Pictures of a set in a fixed order, what a group is, and what a user must be told."""

    entries: list[Entry]
    group_is: str = "picture"
    notes: tuple[str, ...] = ()


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
    times : int
        How often the embedded model's own sets are drawn to train on, each time in other crops.
    """

    seed: int = 0
    question: str = ""
    most: int | None = None
    groups: Path | None = None
    images: Path | None = None
    tile: int = 512
    mpp: float = 0.5
    slide_mpp: float | None = None
    times: int = 1


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
    """

    name: str
    layout: str
    looks: Callable[[Path], bool]
    read: Callable[[Path, Options], Found]

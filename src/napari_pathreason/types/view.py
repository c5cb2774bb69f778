"""What is read of a region: one picture, or an overview and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_pathreason.geometry import Region

Role = Literal["picture", "overview", "window", "zoom", "region"]
"""``picture``: all of a region at once; ``overview``: the same, beside windows of it; ``window``: a
part of it; ``zoom``: a part about something that an earlier view showed; ``region``: one of several
that one question is about."""


@dataclass(frozen=True, slots=True)
class View:
    """One picture that a performer reads.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    size : tuple of int
        (width, height) of the picture in pixels, whole tokens.
    tokens : int
        Visual tokens.
    role : Role
    number : int
        By which answers cite a window, a zoom or a region, from 1; 0 for a picture and an overview.
    why : str
        In plain words, why it is read; empty where that goes without saying.
    slide : str
        Name of the slide that it shows, where that is another than the one asked about; its region
        is in pixels of that one.
    """

    region: Region
    size: tuple[int, int]
    tokens: int
    role: Role = "picture"
    number: int = 0
    why: str = ""
    slide: str = ""

    @property
    def name(self) -> str:
        """What it is called in an answer, such as ``window 3``."""
        return f"{self.role} {self.number}" if self.number else self.role


@dataclass(frozen=True, slots=True)
class Views:
    """What is read of a region, in the order of reading; one picture is the special case.

    Parameters
    ----------
    views : tuple of View
    native_picture : int
        Visual tokens of the region as one picture at native size.
    native_windows : int
        Visual tokens of the windows that cover it, each at native size; where it is read as one
        picture it is its only window.
    joint : bool
        Whether all views stand in one prompt; else each is asked about by itself.
    policy : str
        Name of what chose them.
    fill : tuple of int or None
        Red, green and blue (0 to 255) of what lies outside the outline of an annotation, which was
        not shown; None where all was.
    """

    views: tuple[View, ...]
    native_picture: int
    native_windows: int
    joint: bool = False
    policy: str = "one_view"
    fill: tuple[int, int, int] | None = None

    @property
    def tokens(self) -> int:
        """Visual tokens of all views."""
        return sum(view.tokens for view in self.views)

"""What answers belong to must still be what was opened: slide and model as they were hashed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from napari_pathreason import engine, exports, slides
from napari_pathreason.errors import ModelError, SlideError

_SHARE = 0.05
"""Of the time that a run may take to see whether a slide of many files is still the same."""


class SameSlide:
    """Sees that a slide's files are not replaced or written to while they are read.

    Parameters
    ----------
    slide : Slide
        Open; one that is no file never changes.
    """

    def __init__(self, slide: slides.Slide) -> None:
        self._slide = slide
        self._cost, self._last = 0.0, 0.0

    def check(self, *, surely: bool = True) -> None:
        """Refuse what was read since the last time.

        Parameters
        ----------
        surely : bool
            Otherwise, of a slide that is a folder, not where the last look was a moment ago and
            took long: it may have a hundred thousand files.

        Raises
        ------
        SlideError
            If the slide has changed since it was opened.
        """
        path, began = self._slide.path, time.monotonic()
        recent = began - self._last < self._cost / _SHARE
        if path is None or (recent and not surely and path.is_dir()):
            return
        changed = slides.signature_of(path) != self._slide.signature
        self._last = time.monotonic()
        self._cost = self._last - began
        if changed:
            raise SlideError(
                f"{self._slide.info.name} has changed since it was opened, so what is read of it "
                "now belongs to another slide; let it be as it was and run again, or choose "
                "another folder"
            )


@dataclass(frozen=True, slots=True)
class LoadSame:
    """Loads a model, and refuses it where it is not the one that was hashed.

    Parameters
    ----------
    used : UsedModel
        See `used_model`.
    now : callable
        Gives the same as it is now.
    load : callable
        Loads it.
    """

    used: exports.UsedModel
    now: Callable[[], exports.UsedModel]
    load: Callable[[], engine.Models]

    def __call__(self) -> engine.Models:
        """Load.

        Raises
        ------
        ModelError
            As loading does, or if a file of the model has changed.
        """
        loaded = self.load()
        if self.now().sha256 != self.used.sha256:
            raise ModelError(
                f"the model {self.used.name} has changed while it was loaded; run again, so that "
                "its answers are known by what it is now"
            )
        return loaded

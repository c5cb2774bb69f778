"""What the user says of how regions are read: the policy, windows to pin, raise or leave out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_pathreason.geometry import Region
from napari_pathreason.types import PolicyName, WindowChoice

if TYPE_CHECKING:
    from napari.layers import Image


class Steering:
    """Of one viewer, for its next questions; windows belong to the image that they lie on.

    Attributes
    ----------
    changed : psygnal signal
        Emitted with each change.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._policy: PolicyName = "auto"
        self._choices: WeakKeyDictionary[Image, tuple[WindowChoice, ...]] = WeakKeyDictionary()

    @property
    def policy(self) -> PolicyName:
        """Who chooses what is read of a region."""
        return self._policy

    @policy.setter
    def policy(self, name: PolicyName) -> None:
        if name != self._policy:
            self._policy = name
            self.changed.emit()

    def choices_of(self, image: Image) -> tuple[WindowChoice, ...]:
        """Windows of an image, in the order in which they were chosen."""
        return self._choices.get(image, ())

    def within(self, image: Image, region: Region) -> tuple[WindowChoice, ...]:
        """Those whose middle lies in a region, each as far as it lies in it."""
        left, top, right, bottom = region.box.corners

        def lies_in(part: Region) -> bool:
            x, y = part.x + part.width / 2, part.y + part.height / 2
            return left <= x <= right and top <= y <= bottom

        inside = (one for one in self.choices_of(image) if lies_in(one.region))
        return tuple(replace(one, region=_part(one.region, region)) for one in inside)

    def give(
        self,
        image: Image,
        choices: Iterable[WindowChoice],
        inside: Region | None = None,
    ) -> None:
        """Have windows read, or left out; what was said of the same windows before is taken back.

        Parameters
        ----------
        image : napari.layers.Image
        choices : iterable of WindowChoice
        inside : Region, optional
            What is asked about: windows are the same that are so as far as they lie in it.
        """
        new = {one.region: one for one in choices}
        self._keep(image, (*self._others(image, new, inside), *new.values()))

    def release(
        self, image: Image, regions: Iterable[Region], inside: Region | None = None
    ) -> None:
        """Leave windows to the policy again; ``inside`` as of `give`."""
        self._keep(image, self._others(image, regions, inside))

    def clear(self, image: Image) -> None:
        """Leave all windows of an image to the policy again."""
        self._keep(image, ())

    def _others(
        self, image: Image, regions: Iterable[Region], inside: Region | None
    ) -> tuple[WindowChoice, ...]:
        gone = set(regions)
        return tuple(
            one
            for one in self.choices_of(image)
            if one.region not in gone and _part(one.region, inside) not in gone
        )

    def _keep(self, image: Image, choices: tuple[WindowChoice, ...]) -> None:
        if choices != self.choices_of(image):
            self._choices[image] = choices
            self.changed.emit()


def _part(window: Region, region: Region | None) -> Region:
    """What of a window lies in a region; all of it where none is given, or where they are apart."""
    return window if region is None else window.within(region) or window


def choices_line(choices: Iterable[WindowChoice]) -> str:
    """How many windows are pinned and left out, such as ``2 pinned, 1 left out``."""
    windows = list(choices)
    left_out = sum(one.tokens == 0 for one in windows)
    counts = ((len(windows) - left_out, "pinned"), (left_out, "left out"))
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)

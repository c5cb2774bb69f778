"""What the user says of how regions are read: the policy, windows to pin, raise or leave out."""

from __future__ import annotations

from collections.abc import Iterable
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
        """Those whose middle lies in a region."""
        left, top, right, bottom = region.box.corners

        def lies_in(part: Region) -> bool:
            x, y = part.x + part.width / 2, part.y + part.height / 2
            return left <= x <= right and top <= y <= bottom

        return tuple(one for one in self.choices_of(image) if lies_in(one.region))

    def give(self, image: Image, regions: Iterable[Region], tokens: int | None) -> None:
        """Have windows read with so many visual tokens, None for as many as usual; 0: not at all.

        What was said of the same window before is taken back.
        """
        new = tuple(dict.fromkeys(regions))
        others = [one for one in self.choices_of(image) if one.region not in new]
        self._keep(image, (*others, *(WindowChoice(region, tokens) for region in new)))

    def release(self, image: Image, regions: Iterable[Region]) -> None:
        """Leave windows to the policy again."""
        gone = set(regions)
        self._keep(image, tuple(x for x in self.choices_of(image) if x.region not in gone))

    def clear(self, image: Image) -> None:
        """Leave all windows of an image to the policy again."""
        self._keep(image, ())

    def _keep(self, image: Image, choices: tuple[WindowChoice, ...]) -> None:
        if choices != self.choices_of(image):
            self._choices[image] = choices
            self.changed.emit()


def choices_line(choices: Iterable[WindowChoice]) -> str:
    """How many windows are pinned and left out, such as ``2 pinned, 1 left out``."""
    windows = list(choices)
    left_out = sum(one.tokens == 0 for one in windows)
    counts = ((len(windows) - left_out, "pinned"), (left_out, "left out"))
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)

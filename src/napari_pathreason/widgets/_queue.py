"""Questions about several regions, which are asked one after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from napari_pathreason.viewer import Question


class Queue:
    """What waits behind the question that runs.

    Attributes
    ----------
    paused : bool
        Whether the next one waits until the user goes on.
    total, number : int
        How many there are in all, and which of them was taken last, from 1.
    """

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()
        self.paused, self.total, self.number = False, 0, 0

    @property
    def left(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def goes_on(self) -> bool:
        """Whether the next one is to be asked as soon as the model is free."""
        return bool(self._waiting) and not self.paused

    def begin(self, questions: Iterable[Question]) -> None:
        """Have these asked in place of what waited."""
        self._waiting = deque(questions)
        self.paused, self.total, self.number = False, len(self._waiting), 0

    def take(self) -> Question:
        """The next one."""
        self.number += 1
        return self._waiting.popleft()

    def clear(self) -> None:
        """Ask none that waits."""
        self._waiting.clear()
        self.paused = False
        self.total = min(self.total, 1)

"""The cursor over the canvas, told to a dock that may be closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakMethod


def weak_move(method: Callable[[tuple[float, ...]], None]) -> Callable[[Any, Any], None]:
    """A callback for `viewer.mouse_move_callbacks` that does not keep its dock alive.

    Parameters
    ----------
    method : bound method
        Takes the position of the cursor in the world.
    """
    known = WeakMethod(method)

    def moved(viewer: Any, event: Any) -> None:
        if (call := known()) is not None:
            call(event.position)

    return moved

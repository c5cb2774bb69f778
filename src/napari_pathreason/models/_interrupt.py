"""A forward pass that is given up between two of its layers, not only between two tokens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(Exception):
    """The pass was given up; nothing came of it."""


class Interrupts:
    """Asks before each layer of both parts of a model whether the answer was cancelled.

    A first pass reads the whole picture: a large model on a processor is at it for many seconds,
    after which a cancelled process would have been ended and its model loaded anew.

    Parameters
    ----------
    model : transformers model of either family
    """

    def __init__(self, model: Any) -> None:
        self._own = threading.local()  # answers of several threads may be in the model at once
        for layer in (*model.model.visual.blocks, *model.model.language_model.layers):
            layer.register_forward_pre_hook(self._look)

    @contextmanager
    def by(self, cancel: threading.Event) -> Iterator[None]:
        """Let a flag interrupt the passes of this thread while the block runs.

        Raises
        ------
        Interrupted
            Out of the pass, once it is set.
        """
        self._own.cancel = cancel
        try:
            yield
        finally:
            self._own.cancel = None

    def _look(self, layer: Any, inputs: Any) -> None:
        cancel: threading.Event | None = getattr(self._own, "cancel", None)
        if cancel is not None and cancel.is_set():
            raise Interrupted

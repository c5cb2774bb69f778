"""An adapter that is switched on for one speaker and off for another, on one set of weights."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class AdapterSwitch:
    """Lets a model with an adapter on top speak with it or without it.

    Both speakers may be asked from several threads: each takes the switch for one forward pass
    at a time, so that none runs on the other's weights. Off, the layers give just what the plain
    model gives.

    Parameters
    ----------
    model : transformers model
        With one adapter.
    """

    def __init__(self, model: Any) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self._layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
        self._lock = threading.RLock()
        self._is_on: bool | None = None

    @contextmanager
    def on(self) -> Iterator[None]:
        """With the adapter."""
        with self._lock:
            self._turn(True)
            yield

    @contextmanager
    def off(self) -> Iterator[None]:
        """As if there were none."""
        with self._lock:
            self._turn(False)
            yield

    def _turn(self, on: bool) -> None:
        if self._is_on is not on:
            for layer in self._layers:
                layer.enable_adapters(on)
            self._is_on = on

"""Work off the main thread, under a name that napari can show.

Before it closes, napari lists what still runs by the text of each function: ours are named there
as a user would call them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isgeneratorfunction
from typing import Any

from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker


class _Named:
    """A function with a text."""

    def __init__(self, words: str, do: Callable[..., Any]) -> None:
        self._words, self._do = words, do

    def __call__(self, *args: Any) -> Any:
        return self._do(*args)

    def __str__(self) -> str:
        return self._words


def work(words: str, do: Callable[..., Any], *args: Any) -> Any:
    """A worker that is not started yet.

    Parameters
    ----------
    words : str
        What it does, such as ``saving a.csv``.
    do : callable
        A function, or a generator function whose values are signalled one after the other.
    *args
        Of that.
    """
    kind = GeneratorWorker if isgeneratorfunction(do) else FunctionWorker
    return create_worker(_Named(words, do), *args, _worker_class=kind)

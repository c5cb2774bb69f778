"""Work off the main thread, under a name that napari can show.

Before it closes, napari lists what still runs by the text of each function: ours are named there
as a user would call them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import isgeneratorfunction
from typing import Any

from napari.qt.threading import FunctionWorker, GeneratorWorker, create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject


class _Named:
    """A function with a text; `inspect` takes it for the function itself, as workers ask there."""

    def __init__(self, words: str, do: Any) -> None:
        self._words, self._do = words, do
        self.__name__, self.__code__ = do.__name__, do.__code__
        self.__defaults__, self.__kwdefaults__ = do.__defaults__, do.__kwdefaults__
        self.__annotations__ = do.__annotations__

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
        A plain function, or a generator function whose values are signalled one after the other.
    *args
        Of that.
    """
    kind = GeneratorWorker if isgeneratorfunction(do) else FunctionWorker
    return create_worker(_Named(words, do), *args, _worker_class=kind)


def when_done(worker: Any, owner: QObject, take: Callable[[Any], None]) -> None:
    """Call a function with what a worker returns, as long as Qt has who waits for it.

    A dock that is closed meanwhile may still be there for Python. Qt sees to that itself where a
    signal calls a method of a widget, but not where it calls a function around one.

    Parameters
    ----------
    worker : worker of napari
    owner : QObject
        Who waits.
    take : callable
        Of the value.
    """

    def heard(value: Any) -> None:
        if isalive(owner):
            take(value)

    worker.returned.connect(heard)

"""Libraries that only archives need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from napari_pathreason.errors import QueryError


def optional(name: str, what: str) -> Any:
    """Import a library that reads archives.

    Raises
    ------
    QueryError
        If it is not installed; names the extra that brings it.
    """
    try:
        return import_module(name)
    except ImportError:
        raise QueryError(
            f'{what} need {name}; install it with pip install "napari-pathreason[data]"'
        ) from None

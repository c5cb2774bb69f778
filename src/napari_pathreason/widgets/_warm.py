"""What napari loads with its first layers of features, labels and shapes, loaded before."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from threading import Thread

NEEDED = (
    ("pandas", "DataFrame"),  # the first table of features: 0.3 s
    ("skimage.color", "lab2rgb"),  # the first labels' colours: 0.2 s
    ("skimage.draw", "polygon2mask"),  # the first thumbnail of shapes
)
DASHES = "vispy.visuals.line.dash_atlas"
"""Dashes of lines, of which each Labels layer has some that are never seen: 0.2 s once."""


@cache
def warm_up() -> Thread:
    """Load these in a thread, once a process: better not while an answer or a run is shown."""
    thread = Thread(target=_load, daemon=True)
    thread.start()
    return thread


def _load() -> None:
    for module, name in NEEDED:
        getattr(import_module(module), name)  # skimage loads its parts where they are named
    import_module(DASHES).DashAtlas()  # vispy keeps what it has worked out

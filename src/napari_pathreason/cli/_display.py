"""Whether a window can be opened here."""

from __future__ import annotations

import os
from ctypes import util

LIBRARIES = {
    "EGL": "libegl1",
    "GL": "libgl1",
    "xcb-cursor": "libxcb-cursor0",
    "xcb-icccm": "libxcb-icccm4",
    "xcb-keysyms": "libxcb-keysyms1",
    "xkbcommon-x11": "libxkbcommon-x11-0",
}
"""Shared libraries that Qt loads on Linux -> Debian packages that hold them."""


def find_display(platform: str) -> tuple[str, str]:
    """What windows would be drawn on.

    Parameters
    ----------
    platform : str
        As `sys.platform`.

    Returns
    -------
    tuple of str
        What was found, and what to do about what is missing (empty if nothing is).
    """
    if not platform.startswith("linux"):
        return "the desktop", ""
    missing = [package for name, package in LIBRARIES.items() if util.find_library(name) is None]
    if missing:
        return f"{len(missing)} system libraries of Qt missing", f"apt install {' '.join(missing)}"
    for variable in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(variable):
            return f"{variable}={os.environ[variable]}", ""
    return (
        "none; napari cannot open a window, the shell works without one",
        "log in with a desktop or ssh -X, or run under xvfb-run",
    )

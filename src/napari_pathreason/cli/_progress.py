"""What is going on, on one line of a terminal that rewrites itself; silent anywhere else."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from types import TracebackType


def quiet_libraries() -> None:
    """Keep libraries from writing between our lines; what matters is raised as an error."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():  # on a terminal, a download shows its bar
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("tifffile", "distributed"):  # they log what they then raise
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


class Progress:
    """One line on stderr if that is a terminal."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._width = 0

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._on:
            print(f"\r{text}...".ljust(self._width), end="", file=sys.stderr, flush=True)
            self._width = len(text) + 4

    def clear(self) -> None:
        """Wipe the line before other text is written."""
        if self._on and self._width:
            print("\r" + " " * self._width, end="\r", file=sys.stderr, flush=True)
            self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.clear()

"""A window of napari with one of the samples."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (1280, 800)
MAPS = ("allocation_map", "class_map", "views")
"""Scenes with a legend."""


class Stage:
    """What the scenes share.

    Parameters
    ----------
    output : Path
        Folder for the pictures.
    theme : str
        Of napari.
    ending : str
        Behind the name of each picture.
    scratch : Path
        Folder for the files of runs, and a model where none is installed.
    docks_alone : bool
        Leave out what is not ours: at 200 % the whole window is a large file.
    """

    def __init__(
        self, output: Path, theme: str, ending: str, scratch: Path, docks_alone: bool
    ) -> None:
        from napari.settings import get_settings

        get_settings().appearance.theme = theme
        self.output, self.ending, self.docks_alone = output, ending, docks_alone
        self.scratch, self.model = scratch, _model(scratch)
        self.viewer: Any = None
        self.ask: Any = None
        self.budget: Any = None
        self.slide_run: Any = None
        self.front: Any = None
        self.open_window("lymph_node")

    def open_window(self, sample: str) -> None:
        """Begin anew with a window that shows a sample."""
        import napari

        if self.viewer is not None:
            self.viewer.close()
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*SIZE)
        (self.image,) = self.viewer.open_sample("napari-pathreason", sample)

    def open_dock(self, name: str, **options: Any) -> Any:
        """Open a dock of the plugin as its menu does."""
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-pathreason", name, **options)
        self.front = dock.parent()
        return dock

    def photograph(self, name: str, alone: bool = False) -> None:
        """Write a picture of the whole window, or of ``front`` where that is what counts."""
        self.output.mkdir(parents=True, exist_ok=True)
        file = self.output / f"{name}{self.ending}.png"
        if self.front is not None and (alone or self.front.isWindow() or self.docks_alone):
            self.front.grab().save(str(file))
        else:
            self.viewer.window.screenshot(str(file), canvas_only=False, flash=False)
        # 256 colours: a third of the size, and nobody sees it; none of a legend's may be lost
        few = Image.Quantize.MAXCOVERAGE if name in MAPS else Image.Quantize.MEDIANCUT
        picture = Image.open(file).convert("RGB")
        picture.quantize(256, few, kmeans=2 if name in MAPS else 0).save(file, optimize=True)

    def close(self) -> None:
        """End the session."""
        self.viewer.close()


def settle(seconds: float) -> None:
    """Let Qt paint for a while."""
    from qtpy.QtTest import QTest

    QTest.qWait(int(seconds * 1000))


def wait_for(dock: Any, what: str = "busy", minutes: int = 2) -> None:
    """Wait until the question of a dock has ended, at most so many minutes."""
    for _ in range(600 * minutes):
        if not getattr(dock, what):
            return
        settle(0.1)
    raise SystemExit(f"no answer within {minutes} minutes")


def _model(folder: Path) -> str:
    """The embedded model, or a tiny one of random weights where it is not installed."""
    from napari_pathreason.models import EMBEDDED

    if EMBEDDED.is_dir():
        return "embedded"
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.support import make_tiny_checkpoint

    return str(make_tiny_checkpoint(folder / "tiny"))

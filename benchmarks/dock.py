"""How long the Ask dock holds up napari: python benchmarks/dock.py [--json FILE] [--quick].

A timer of 1 ms runs in the event loop of a real window with the sample slide; the longest time
between two ticks while a question is answered is the longest stall a user could feel. "Work" is
what the main thread itself computed between two ticks: the part of a stall that is not the fault
of other programs on the machine. The model runs in its child process, as always.

Pressing Ask is a row of its own: the first time about an image, napari adds the layer of the
answers. Also measured: from pressing Cancel to the dock being ready, while the model writes and
while it loads. On a display without a graphics card the CPU paints the canvas, which counts as
well; the row "panning" shows how much that is by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

WRITTEN = "How many nuclei are there, and where are they crowded?"


class Stalls:
    """Gaps between two ticks of a 1 ms timer: (milliseconds, those that this thread computed)."""

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self._last = self._now()
        self.gaps: list[tuple[float, float]] = []
        self.timer = QTimer()
        self.timer.setTimerType(Qt.PreciseTimer)
        self.timer.setInterval(1)
        self.timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        now = self._now()
        self.gaps.append((1000 * (now[0] - self._last[0]), 1000 * (now[1] - self._last[1])))
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.thread_time()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measure while the block runs."""
        self.gaps.clear()
        self._last = self._now()
        self.timer.start()
        yield
        self.timer.stop()


def wait_until(ready: Callable[[], bool], seconds: float = 120, what: str = "the dock") -> float:
    """Run the event loop until something is so; returns the seconds it took.

    ``what`` is waited for, in the words of the message where it does not come.
    """
    from qtpy.QtCore import QEventLoop
    from qtpy.QtWidgets import QApplication

    began = time.perf_counter()
    while not ready():
        if time.perf_counter() - began > seconds:
            raise SystemExit(f"waited {seconds:.0f} s in vain for {what}")
        QApplication.processEvents(QEventLoop.AllEvents | QEventLoop.WaitForMoreEvents, 20)
    return time.perf_counter() - began


def pause(seconds: float) -> None:
    """Let the event loop run for a while."""
    until = time.perf_counter() + seconds
    wait_until(lambda: time.perf_counter() > until, what="the clock")


def measure(spec: str, answers: int) -> list[dict[str, Any]]:
    """One row for each thing measured."""
    import napari

    from napari_pathreason.engine import Stage, StageStarted

    rows: list[dict[str, Any]] = []
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.open_sample("napari-pathreason", "skin")
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Ask")
    dock.form.region_box.choose("layer")
    dock.form.question_edit.setPlainText(WRITTEN)
    dock.form.model_box.model_id = spec
    stages: list[Stage] = []

    def follow(event: object) -> None:
        if isinstance(event, StageStarted):
            stages.append(event.stage)

    dock.runner.happened.connect(follow)
    stalls = Stalls()
    stalls.timer.start()
    pause(2)
    stalls.timer.stop()

    def row(what: str, seconds: float) -> None:
        rows.append(
            {
                "what": what,
                "seconds": round(seconds, 2),
                "longest_stall_ms": round(max(wall for wall, _ in stalls.gaps), 1),
                "longest_work_ms": round(max(work for _, work in stalls.gaps), 1),
            }
        )

    with stalls.watched():
        pause(2)
    row("idle", 2)
    with stalls.watched():
        began = time.perf_counter()
        x = viewer.scene.camera.center[-1]
        for step in range(20):
            viewer.scene.camera.center = (*viewer.scene.camera.center[:-1], x + step)
            pause(0.05)
        seconds = time.perf_counter() - began
    row("panning, nothing asked", seconds)
    for i in range(answers):
        with stalls.watched():
            began = time.perf_counter()
            dock.ask()
            pause(0.02)  # the click is answered and painted
        row(f"pressing Ask, {i + 1}", time.perf_counter() - began)
        with stalls.watched():
            seconds = wait_until(lambda: not dock.busy, what=f"answer {i + 1}")
            pause(0.5)  # painting of the result
        row("answer 1, with loading" if i == 0 else f"answer {i + 1}", seconds)
        if len(dock.session.entries) != i + 1:
            raise SystemExit(f"no answer: {dock.answer.toPlainText()[-300:]}")

    with stalls.watched():
        stages.clear()
        dock.ask()
        # words on the dock differ: windows are counted while they are answered
        wait_until(lambda: Stage.GENERATE in stages, what="the model to write")
        pause(0.1)
        dock.cancel()
        seconds = wait_until(lambda: not dock.busy, what="the dock to be ready after Cancel")
    row("cancel while writing", seconds)
    dock.session.close_models()
    with stalls.watched():
        dock.ask()
        pause(0.5)
        dock.cancel()
        seconds = wait_until(lambda: not dock.busy, what="the dock to be ready after Cancel")
    row("cancel while loading", seconds)
    viewer.close()
    return rows


def tiny_model(folder: str) -> str:
    """A tiny checkpoint of random weights, which writes until it may write no more."""
    from _support import make_tiny_checkpoint

    return str(make_tiny_checkpoint(Path(folder) / "tiny"))


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="also write the figures to this file")
    options.add_argument("--quick", action="store_true", help="two answers instead of six")
    options.add_argument("--model", help="embedded, a folder or a hub id; default: a tiny one")
    chosen = options.parse_args()
    display: Any = nullcontext()
    if platform.system() == "Linux" and not os.environ.get("DISPLAY"):
        from pyvirtualdisplay import Display

        display = Display(visible=False, size=(1600, 1000))
    with display, tempfile.TemporaryDirectory() as folder:
        rows = measure(chosen.model or tiny_model(folder), 2 if chosen.quick else 6)
    print(f"{'':28}{'seconds':>9}{'longest stall':>16}{'longest work':>16}")
    for row in rows:
        print(
            f"{row['what']:28}{row['seconds']:9.2f}"
            f"{row['longest_stall_ms']:13.1f} ms{row['longest_work_ms']:13.1f} ms"
        )
    if chosen.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count()}
        chosen.json.write_text(json.dumps({**machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()

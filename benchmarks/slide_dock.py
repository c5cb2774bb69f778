"""How long the Slide run dock holds up napari: python benchmarks/slide_dock.py [--quick].

As in `benchmarks/dock.py`, a timer of 1 ms runs in the event loop of a real window; the longest
time between two ticks is the longest stall, "work" the part of it that the main thread computed. A
stand-in for the model answers every tile at once with a box, so that tiles come as fast as they
can be read: hundreds a second are harder on the dock than any model is. The mosaic is that of
`benchmarks/slide_run.py`. "Slot" is the longest that the dock itself was at work at a time, with
what napari does at its calls; the rest of a piece of work is painting. Cancel is measured from the
click to the dock being ready; with a model: `benchmarks/slide_cancel.py`.

The first rows are napari's own, in a fresh process without the dock: the same slide, and layers of
the kinds that a run shows, added by hand one by one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from _mosaic import write_mosaic
from dock import Stalls, pause, wait_until

from napari_pathreason.models import FixedAllocator
from slide_run import AtOnce


def bare(slide: Path) -> list[dict[str, Any]]:
    """What napari's first layer of a kind costs, one row each."""
    import napari
    import numpy as np

    from napari_pathreason.widgets import warm_up

    rows: list[dict[str, Any]] = []
    stalls = Stalls()
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.open(slide, plugin="napari-pathreason")
    warm_up().join()  # imports are not what is measured
    pause(2)
    boxes = np.array([[[0, 0], [0, 9], [9, 9], [9, 0]]] * 10, float)
    small = np.ones((20, 20), np.int32)
    for kind, add in (
        ("image", lambda: viewer.add_image(small.astype(np.float32))),
        ("labels", lambda: viewer.add_labels(small)),
        ("shapes", lambda: viewer.add_shapes(boxes)),
    ):
        began, used = time.perf_counter(), time.thread_time()
        with stalls.watched():
            add()
            slot = 1000 * (time.thread_time() - used)
            pause(0.5)
        rows.append(figures(f"napari's own: its first layer of {kind}", began, stalls, slot))
    viewer.close()
    return rows


def figures(what: str, began: float, stalls: Stalls, slot: float) -> dict[str, Any]:
    """Longest stall, piece of work and piece of the dock's own, ms; seconds since it began."""
    return {
        "what": what,
        "seconds": round(time.perf_counter() - began, 2),
        "longest_stall_ms": round(max((wall for wall, _ in stalls.gaps), default=0), 1),
        "longest_work_ms": round(max((work for _, work in stalls.gaps), default=0), 1),
        "longest_slot_ms": round(slot, 1),
    }


def measure(slide: Path, folder: Path, tile: int) -> list[dict[str, Any]]:
    """One row for each thing measured."""
    import napari

    from napari_pathreason.viewer import session_of

    rows: list[dict[str, Any]] = []
    stalls, slots = Stalls(), [0.0]
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    viewer.open(slide, plugin="napari-pathreason")
    models = SimpleNamespace(performer=AtOnce(), allocator=FixedAllocator(64), close=lambda: None)
    session_of(viewer).models_factory = lambda *_: models
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Slide run")
    dock.form.tile_box.setValue(tile)
    dock.form.mpp_box.setValue(0.25)
    dock.form.folder_edit.setText(str(folder))
    pause(2)

    show = dock._show

    def timed() -> None:
        began = time.thread_time()
        show()
        slots.append(1000 * (time.thread_time() - began))

    dock._timer.timeout.disconnect()
    dock._timer.timeout.connect(timed)

    def row(what: str, began: float) -> None:
        rows.append(figures(what, began, stalls, max(slots)))
        slots[:] = [0.0]

    began = time.perf_counter()
    with stalls.watched():
        dock.start()
        wait_until(lambda: len(viewer.layers) == 4)
    row("pressing Start, until all layers are there", began)
    began = time.perf_counter()
    with stalls.watched():
        pause(3)
    row("running, the first seconds", began)
    began = time.perf_counter()
    with stalls.watched():
        pause(5)
    row("running on", began)
    began = time.perf_counter()
    with stalls.watched():
        dock.cancel()
        wait_until(lambda: not dock.runner.running)
    row("Cancel", began)
    wait_until(lambda: not dock.runner.closing)
    dock.start()
    wait_until(lambda: len(viewer.layers) == 4)
    began = time.perf_counter()
    with stalls.watched():
        wait_until(lambda: not dock.runner.running, 3600)
    row("resumed, to the end", began)
    began = time.perf_counter()
    with stalls.watched():
        wait_until(lambda: not dock.busy, 600)
    row("the rest of the boxes", began)
    dock.tabs.setCurrentWidget(dock.map_view)
    pause(1)
    began = time.perf_counter()
    with stalls.watched():
        dock.map_view.pick(list(range(100)))
        dock.map_view.ban_button.setEnabled(True)
        dock.map_view.ban_button.click()
        wait_until(lambda: not dock.busy)
    row("100 tiles banned on the map", began)
    viewer.close()
    return rows


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="also write the figures to this file")
    options.add_argument("--side", type=int, default=20_000, help="of the mosaic, px")
    options.add_argument("--tile", type=int, default=256, help="side of a tile, px")
    options.add_argument("--quick", action="store_true", help="a mosaic of 8,000 px")
    options.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.bare is not None:
        print(json.dumps(bare(chosen.bare)))
        return
    display: Any = nullcontext()
    if platform.system() == "Linux" and not os.environ.get("DISPLAY"):
        from pyvirtualdisplay import Display

        display = Display(visible=False, size=(1600, 1000))
    with display, tempfile.TemporaryDirectory() as name:
        slide = Path(name) / "mosaic.svs"
        write_mosaic(slide, 8_000 if chosen.quick else chosen.side)
        command = [sys.executable, __file__, "--bare", str(slide)]
        alone = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = json.loads(alone.stdout.splitlines()[-1])
        rows += measure(slide, Path(name) / "run", chosen.tile)
    print("| | seconds | longest stall | longest work | longest slot |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['what']} | {row['seconds']:.2f} | {row['longest_stall_ms']:.0f} ms "
            f"| {row['longest_work_ms']:.0f} ms | {row['longest_slot_ms']:.0f} ms |"
        )
    if chosen.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count()}
        chosen.json.write_text(json.dumps({**machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()

"""How long the Slide run dock holds up napari: python benchmarks/slide_dock.py [--json FILE].

As in `benchmarks/dock.py`, a timer of 1 ms runs in the event loop of a real window; the longest
time between two ticks is the longest stall, "work" the part of it that the main thread computed. A
stand-in for the model answers every tile at once with a box, so that tiles come as fast as they
can be read: hundreds a second are harder on the dock than any model is. The mosaic is that of
`benchmarks/slide_run.py`. Cancel is measured from the click to the dock being ready.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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


def measure(slide: Path, folder: Path, tile: int) -> list[dict[str, Any]]:
    """One row for each thing measured."""
    import napari

    from napari_pathreason.viewer import session_of

    rows: list[dict[str, Any]] = []
    stalls = Stalls()
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

    def row(what: str, seconds: float) -> None:
        so_far = dock.runner.so_far
        rows.append(
            {
                "what": what,
                "tiles": len(so_far.records),
                "boxes": len(so_far.lesions),
                "seconds": round(seconds, 2),
                "longest_stall_ms": round(max((wall for wall, _ in stalls.gaps), default=0), 1),
                "longest_work_ms": round(max((work for _, work in stalls.gaps), default=0), 1),
            }
        )

    with stalls.watched():
        began = time.perf_counter()
        dock.start()
        wait_until(lambda: len(viewer.layers) == 4)
    row("pressing Start, until all layers are there", time.perf_counter() - began)
    with stalls.watched():
        pause(3)
    row("running", 3)
    with stalls.watched():
        dock.cancel()
        seconds = wait_until(lambda: not dock.runner.running)
    row("Cancel", seconds)
    wait_until(lambda: dock.runner._worker is None)
    dock.start()
    wait_until(lambda: len(viewer.layers) == 4)
    with stalls.watched():
        seconds = wait_until(lambda: not dock.runner.running, 3600)
    row("resumed, to the end", seconds)
    with stalls.watched():
        seconds = wait_until(lambda: not dock.busy, 600)
    row("the rest of the boxes", seconds)
    dock.tabs.setCurrentWidget(dock.map_view)
    pause(1)
    with stalls.watched():
        dock.map_view.pick(list(range(100)))
        dock.map_view.ban_button.setEnabled(True)
        dock.map_view.ban_button.click()
        seconds = wait_until(lambda: not dock.busy)
    row("100 tiles banned on the map", seconds)
    viewer.close()
    return rows


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="also write the figures to this file")
    options.add_argument("--side", type=int, default=20_000, help="of the mosaic, px")
    options.add_argument("--tile", type=int, default=256, help="side of a tile, px")
    chosen = options.parse_args()
    display: Any = nullcontext()
    if platform.system() == "Linux" and not os.environ.get("DISPLAY"):
        from pyvirtualdisplay import Display

        display = Display(visible=False, size=(1600, 1000))
    with display, tempfile.TemporaryDirectory() as name:
        slide = Path(name) / "mosaic.svs"
        write_mosaic(slide, chosen.side)
        rows = measure(slide, Path(name) / "run", chosen.tile)
    print("| | tiles | boxes | seconds | longest stall | longest work |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['what']} | {row['tiles']:,} | {row['boxes']:,} | {row['seconds']:.2f} "
            f"| {row['longest_stall_ms']:.0f} ms | {row['longest_work_ms']:.0f} ms |"
        )
    if chosen.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count()}
        chosen.json.write_text(json.dumps({**machine, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()

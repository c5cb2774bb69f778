"""What 100,000 lesions cost on the screen: python benchmarks/overlay.py [--json FILE] [--quick].

The end of a slide run with so many lesions is handed to what the Slide run dock shows it with, on a
mosaic of the bundled slide (20,000 px a side) in a window of 1280 x 800: seconds of the worker, who
gets the boxes ready, seconds until each of them is seen as an outline, and until the most confident
are shapes. Then the camera is moved and zoomed by steps, with and without the lesions, and the
cursor asks what lies under it. As in `benchmarks/dock.py`, "work" is what the main thread computed
between two ticks of a timer. For comparison some of the boxes are made a plain Shapes layer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
from _mosaic import write_mosaic
from dock import Stalls, pause, wait_until

from exports import result_with
from napari_pathreason.geometry import Box
from napari_pathreason.models import FixedAllocator
from napari_pathreason.slide_run import (
    AnswersHere,
    Lesion,
    Outcome,
    RunFinished,
    RunPlan,
    RunSettings,
    RunStarted,
    run_slide,
)
from napari_pathreason.slides import Slide
from napari_pathreason.types import Detection
from slide_run import USED, AtOnce

SIDE = 20_000
STEPS = 20


def plan_of(slide: Slide) -> RunPlan:
    """The tiles of a run that is cancelled before its first answer."""
    cancel = Event()
    cancel.set()
    models = SimpleNamespace(performer=AtOnce(), allocator=FixedAllocator(64))
    with tempfile.TemporaryDirectory() as folder:
        answers = AnswersHere(slide, lambda: models)
        started, *_ = run_slide(slide, Path(folder), RunSettings(), USED, answers, cancel)
    if not isinstance(started, RunStarted):
        raise SystemExit(f"the run failed: {started}")
    return started.plan


def lesions(count: int) -> list[Lesion]:
    """Boxes in rows over the slide, of half the room that each of them has."""
    row = int(count**0.5) + 1
    step = SIDE / row
    draw = np.random.default_rng(0).uniform(0.3, 0.7, (count, 3))
    return [
        Lesion(
            Detection(
                "tumour",
                Box(i % row * step, i // row * step, step * float(w), step * float(h)),
                float(confident),
            ),
            (0,),
        )
        for i, (w, h, confident) in enumerate(draw)
    ]


class Rows:
    """Figures of one window; each row a thing that is done in it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._stalls = Stalls()

    @contextmanager
    def told(self, what: str, steps: int = 1) -> Iterator[None]:
        """Measure the block, which does a thing so many times."""
        began = time.perf_counter()
        with self._stalls.watched():
            yield
        gaps = self._stalls.gaps
        self.rows.append(
            {
                "what": what,
                "seconds": round((time.perf_counter() - began) / steps, 3),
                "longest_stall_ms": round(max((wall for wall, _ in gaps), default=0), 1),
                "longest_work_ms": round(max((work for _, work in gaps), default=0), 1),
            }
        )


def move(viewer: Any, rows: Rows, what: str) -> None:
    """Pan and zoom the whole slide, and a part of it, by steps."""
    camera = viewer.scene.camera
    viewer.reset_view()
    whole, centre = camera.zoom, camera.center
    for name, zoom in (("whole slide", whole), ("a sixteenth of it", 4 * whole)):
        camera.zoom, camera.center = zoom, centre
        pause(1)
        with rows.told(f"{what}: a step aside, {name}", STEPS):
            for step in range(STEPS):
                camera.center = (*centre[:-1], centre[-1] + 30 * step / zoom)
                pause(0.05)
        camera.center = centre
        pause(0.5)
        with rows.told(f"{what}: a step closer, {name}", STEPS):
            for step in range(STEPS):
                camera.zoom = zoom * 1.15**step
                pause(0.05)


def measure(slide: Path, count: int, shapes: int) -> dict[str, Any]:
    """Rows, and megabytes that the lesions take."""
    import napari

    from napari_pathreason.viewer import (
        MOST_BOXES,
        SLIDE_KEY,
        RunLayers,
        RunSoFar,
        box_to_data,
        placement,
    )

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    (image,) = viewer.open(slide, plugin="napari-pathreason")
    plan = plan_of(image.metadata[SLIDE_KEY])
    found = lesions(count)
    outcome = Outcome(plan, result_with(1), tuple(found), ())
    so_far, layers, rows = RunSoFar(), RunLayers(image), Rows()
    pause(2)
    move(viewer, rows, "without")
    viewer.reset_view()
    before = resident()
    so_far.take(RunStarted(plan, 0, 0))
    while len(viewer.layers) < 4:
        layers.step(viewer, so_far, {})
        pause(0.1)
    with rows.told("the worker makes them ready"):
        worker = Thread(target=so_far.take, args=(RunFinished(outcome),))
        worker.start()
        wait_until(lambda: not worker.is_alive())
    with rows.told("all are outlines: a layer more"):
        while len(viewer.layers) < 5:
            layers.step(viewer, so_far, {})
            pause(0.1)
    (every,) = [layer for layer in viewer.layers if layer.name.startswith("all lesions")]
    with rows.told(f"the {MOST_BOXES:,} most confident are shapes"):
        while len(viewer.layers[-1].data) < min(MOST_BOXES, count):
            layers.step(viewer, so_far, {})
            pause(0.1)
    with rows.told("the table of all for the status bar"):
        while layers.step(viewer, so_far, {}):
            pause(0.1)
    after = resident()
    move(viewer, rows, "with")
    viewer.reset_view()
    pause(0.5)
    places = np.random.default_rng(1).uniform(0, SIDE, (200, 2)) * np.asarray(image.scale)
    with rows.told("what lies under the cursor", len(places)):
        told = [every.get_status(place, world=True)["value"] for place in places]
    if not any("confidence" in text for text in told):
        raise SystemExit("no lesion was found under the cursor")
    if shapes:
        with rows.told(f"a Shapes layer of {shapes:,} of them"):
            viewer.add_shapes(
                [box_to_data(one.detection.box) for one in found[:shapes]],
                edge_width=10,
                face_color="transparent",
                **placement(image),
            )
            pause(0.1)
    viewer.close()
    return {"rows": rows.rows, "megabytes": round(after - before, 1)}


def resident() -> float:
    """Memory of this process, MB; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0.0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description="What many lesions cost on the screen.")
    options.add_argument("--json", type=Path, metavar="FILE")
    options.add_argument("--boxes", type=int, default=100_000)
    options.add_argument("--shapes", type=int, default=5_000, help="of the plain Shapes layer")
    options.add_argument("--quick", action="store_true", help="a tenth of the boxes, no Shapes")
    chosen = options.parse_args()
    count, shapes = chosen.boxes, chosen.shapes
    if chosen.quick:
        count, shapes = count // 10, 0
    display: Any = nullcontext()
    if platform.system() == "Linux" and not os.environ.get("DISPLAY"):
        from pyvirtualdisplay import Display

        display = Display(visible=False, size=(1600, 1000))
    with display, tempfile.TemporaryDirectory() as name:
        slide = Path(name) / "mosaic.svs"
        write_mosaic(slide, SIDE)
        figures = measure(slide, count, shapes)
    print(f"{count:,} lesions, {figures['megabytes']} MB\n")
    print("| | seconds | longest stall | longest work |\n|---|---:|---:|---:|")
    for row in figures["rows"]:
        print(
            f"| {row['what']} | {row['seconds']:.3f} "
            f"| {row['longest_stall_ms']:.0f} ms | {row['longest_work_ms']:.0f} ms |"
        )
    if chosen.json:
        machine = {"machine": platform.platform(), "cores": os.cpu_count(), "boxes": count}
        chosen.json.write_text(json.dumps({**machine, **figures}, indent=2))


if __name__ == "__main__":
    main()

"""What one slide costs a fresh process: seconds to the first paint in napari, memory.

Run as a script, a child of slides.py: python benchmarks/_fresh.py paint|memory [SLIDE].
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _mosaic import SAMPLE, TILE

from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide


def _child(words: list[str], display: bool) -> dict[str, Any] | None:
    """What a fresh process measured; None where it found no display or failed."""
    command = [sys.executable, __file__, *words]
    if display and not os.environ.get("DISPLAY") and sys.platform == "linux":
        if shutil.which("xvfb-run") is None:
            return None
        command = ["xvfb-run", "-a", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-500:], file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def paint(path: Path | None) -> dict[str, float] | None:
    """Median of three fresh processes."""
    words = ["paint", str(path)] if path else ["paint"]
    found = [one for one in (_child(words, display=True) for _ in range(3)) if one]
    if not found:
        return None
    return {key: statistics.median(one[key] for one in found) for key in ("first", "second")}


def memory(path: Path) -> dict[str, Any] | None:
    """Peak in MB, and what this slide added to it."""
    return _child(["memory", str(path)], display=False)


def measure_paint(path: Path | None) -> None:
    """In a fresh process: seconds from opening to the first frame that shows the slide.

    Without a path a small array takes the slide's place: what napari itself needs for the first
    layer of its life. The second slide is the same file once more, in the same window.
    """
    import napari

    viewer = napari.Viewer()
    viewer.screenshot(flash=False)  # the empty window is up
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        if path is None:
            levels = [np.full((side, side, 3), 200, np.uint8) for side in (2000, 500)]
            viewer.add_image(levels, rgb=True, multiscale=True, scale=(0.5, 0.5), units="um")
        else:
            viewer.open(path, plugin="napari-pathreason")
        frame = viewer.screenshot(flash=False)
        seconds.append(time.perf_counter() - began)
    if (frame[..., :3].min(axis=2) > 100).mean() < 0.1:
        raise SystemExit("the slide was not painted")
    viewer.close()
    print(json.dumps({"first": seconds[0], "second": seconds[1]}))


def measure_memory(path: Path) -> None:
    """In a fresh process: MB that opening, 1000 tiles and an overview add to the peak."""
    import napari_pathreason

    with open_slide(Path(napari_pathreason.__file__).parent / SAMPLE) as slide:
        slide.read_region(Region(0, 0, 1000, 1000), (100, 100))  # imports and codecs
    before = _peak_mb()
    draw = random.Random(0)
    with open_slide(path) as slide:
        shown = slide.display_levels()
        np.asarray(shown[-1])
        for _ in range(1000):
            x, y = draw.randrange(slide.width - TILE), draw.randrange(slide.height - TILE)
            shown[0][y : y + TILE, x : x + TILE]
        slide.read_region(Region(0, 0, slide.width, slide.height), (448, 448))
    after = _peak_mb()
    print(json.dumps({"peak_mb": after, "grown_mb": after - before}))


def _peak_mb() -> float:
    """Most memory that this process ever held; on Linux not what a parent held before it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    what, *slides = sys.argv[1:]
    path = Path(slides[0]) if slides else None
    if what == "paint":
        measure_paint(path)
    elif path is not None:
        measure_memory(path)

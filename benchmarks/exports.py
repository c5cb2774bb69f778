"""How fast many boxes leave and come back: python benchmarks/exports.py [--json FILE] [--quick].

Writes 100,000 findings of one run as QuPath GeoJSON, plain and packed, and as a table, with all
that an answer brings along (question, rationale, model, confidence, area), and reads the GeoJSON
back as objects and as the data of a Shapes layer. Wanted: at most 5 s to write and 5 s to read the
plain file. The medians of three rounds count: seconds on the clock, and of this process on the CPU,
which other work on the machine does not lengthen as much. What comes back is held against what was
written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_pathreason.exports import (
    detections_in,
    features_of_marks,
    marks_of,
    new_run,
    read_geojson,
    write_geojson,
    write_table,
)
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import (
    Allocation,
    Answer,
    Detection,
    ModelDims,
    ModelInfo,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TokenReport,
)
from napari_pathreason.viewer import objects_layer_data

WANTED = 5.0
"""Seconds to write, and to read, the plain GeoJSON of 100,000 boxes."""
SIDE = 100_000
DIMS = ModelDims(16, 2, 12, 768, 3072, 12, 768, 3072, 12, 4, 64, 32_000)


def result_with(count: int) -> Result:
    """An answer that found so many boxes, in rows over a slide."""
    row = int(count**0.5) + 1
    step = SIDE / row
    found = tuple(
        Detection(
            ("tumour", "necrosis")[i % 2],
            Box(i % row * step + 0.25, i // row * step + 0.5, step / 2, step / 3),
            0.5 + i % 50 / 100,
        )
        for i in range(count)
    )
    return Result(
        query=Query("detection", "Where are lesions?", ("tumour", "necrosis")),
        region=Region(0, 0, SIDE, SIDE),
        slide=SlideInfo("slide.svs", SIDE, SIDE, (0.25, 0.25), "file"),
        model=ModelInfo("benchmark", "qwen3_vl", "relative", DIMS),
        allocation=Allocation(1024, "user"),
        answer=Answer("upper left: tumour; centre: necrosis", f"{count} found"),
        detections=found,
        tokens=TokenReport(0, 1024, 1024, 9_765_625, 9_765_625, 4096, 1100, 64, 1.0, 2.0, 2.0),
        picture_size=(1024, 1024),
        level=3,
        pixels_decoded=1 << 20,
        seconds={"read": 0.1, "generate": 1.0},
        reliability=Reliability("uncertain", ("low confidence; look for yourself",)),
    )


def seconds(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Medians of the rounds: on the clock, and of this process on the CPU."""
    clock, cpu = [], []
    for _ in range(rounds):
        start, used = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    return statistics.median(clock), statistics.median(cpu)


def measure(folder: Path, count: int, rounds: int) -> dict[str, Any]:
    """Seconds of each way, and sizes of files in MB."""
    result, run = result_with(count), new_run()
    plain, packed, table = (folder / name for name in ("a.geojson", "a.geojson.gz", "a.csv"))

    def write(path: Path) -> int:
        return write_geojson(path, features_of_marks(marks_of([result], run)))

    ways: dict[str, Callable[[], object]] = {
        "write GeoJSON": lambda: write(plain),
        "read GeoJSON": lambda: sum(1 for _ in read_geojson(plain)),
        "write packed": lambda: write(packed),
        "read packed": lambda: sum(1 for _ in read_geojson(packed)),
        "read as a layer's data": lambda: objects_layer_data(read_geojson(plain), "a"),
        "write CSV": lambda: write_table(table, marks_of([result], run)),
    }
    times = {name: seconds(work, rounds) for name, work in ways.items()}
    back = list(detections_in(read_geojson(plain)))
    same = len(back) == count and all(
        b.label == d.label and math.dist(b.box.corners, d.box.corners) < 0.01
        for b, d in zip(back, result.detections, strict=True)
    )
    if not same:
        sys.exit("what came back is not what was written")
    sizes = {file.name: file.stat().st_size / 1e6 for file in (plain, packed, table)}
    return {"seconds": times, "megabytes": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast many boxes leave and come back.")
    parser.add_argument("--boxes", type=int, default=100_000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a tenth of the boxes, one round")
    args = parser.parse_args()
    count = args.boxes // 10 if args.quick else args.boxes
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), count, 1 if args.quick else 3)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"
    print(f"{machine}; {count:,} boxes; wanted: {WANTED:g} s to write and to read GeoJSON\n")
    print("| | s on the clock | s on the CPU |\n|---|---:|---:|")
    for name, (clock, cpu) in figures["seconds"].items():
        print(f"| {name} | {clock:,.2f} | {cpu:,.2f} |")
    sizes = ", ".join(f"{name} {size:.1f} MB" for name, size in figures["megabytes"].items())
    print(f"\n{sizes}")
    if args.json:
        told = {"machine": machine, "boxes": count, "wanted_s": WANTED, **figures}
        args.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

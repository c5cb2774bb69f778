"""How fast slides are read, beside peers: python benchmarks/slides.py [--json FILE] [--quick].

Writes JPEG pyramids of 20k x 20k and 100k x 100k px as Aperio does (tiles of 256 px at 1, 4, 16
and 64; real tissue from the bundled sample, encoded once and used again) and reads tiles of level
0 at random aligned places, with one and with two threads. The limit is one positioned read and one
decode a tile. Readers take turns for a second each, several rounds; the median round counts. Then,
each in a fresh process: seconds from opening to the first paint in an open napari window (needs a
display, or Xvfb), and by how much the process grows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason._geometry import Region
from napari_pathreason.slides import open_slide

SAMPLE = "_samples/CMU-1-Small-Region.svs"
TILE = 256
ZOOMS = (1, 4, 16, 64)
Reader = Callable[[int, int], Any]
"""Reads the tile in a column and a row of level 0, as pixels."""


def encoded_tiles() -> list[bytes]:
    """JPEG tiles of the bundled sample slide."""
    import imagecodecs

    import napari_pathreason

    sample = Path(napari_pathreason.__file__).parent / SAMPLE
    with open_slide(sample) as slide:
        corners = [(x, y) for y in range(0, 2560, TILE) for x in range(0, 2048, TILE)]
        tiles = [slide.read_region(Region(x, y, TILE, TILE), (TILE, TILE)) for x, y in corners]
    return [bytes(imagecodecs.jpeg8_encode(tile.pixels, level=80)) for tile in tiles]


def write_slide(path: Path, side: int, tiles: list[bytes]) -> None:
    """An Aperio-like pyramid whose tiles are drawn from ``tiles``."""
    import tifffile

    about = f"Aperio Image Library v11.2.1\r\n{side}x{side} (256x256) JPEG/RGB Q=80|MPP = 0.25"
    draw = random.Random(side)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for zoom in ZOOMS:
            length = side // zoom
            count = (-(-length // TILE)) ** 2
            writer.write(
                (draw.choice(tiles) for _ in range(count)),
                shape=(length, length, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=about,
                metadata=None,
            )


def readers(path: Path, stack: ExitStack) -> Iterator[tuple[str, Reader]]:
    """Each way to read a tile, by name; the first is the limit."""
    import dask.array
    import tifffile
    import zarr
    from tiffslide import TiffSlide

    tiff = stack.enter_context(tifffile.TiffFile(path))
    page = tiff.pages[0]
    decode, columns = page.decode, -(-page.imagewidth // TILE)
    offsets, counts = page.dataoffsets, page.databytecounts
    file = stack.enter_context(path.open("rb", buffering=0)).fileno()

    def limit(column: int, row: int) -> Any:
        index = row * columns + column
        data = os.pread(file, counts[index], offsets[index])
        return decode(data, index, jpegtables=page.jpegtables)[0]

    yield "pread + decode (limit)", limit

    slide = stack.enter_context(open_slide(path))
    size = (TILE, TILE)
    yield (
        "Slide.read_region",
        lambda x, y: slide.read_region(Region(x * TILE, y * TILE, TILE, TILE), size).pixels,
    )
    shown = slide.display_levels()[0]
    yield (
        "display level",
        lambda x, y: shown[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE],
    )
    peer = stack.enter_context(closing(TiffSlide(path)))
    yield (
        "tiffslide",
        lambda x, y: peer.read_region((x * TILE, y * TILE), 0, size, as_array=True),
    )
    try:
        from openslide import OpenSlide
    except ImportError:
        pass
    else:
        other = stack.enter_context(OpenSlide(path))
        yield "OpenSlide", lambda x, y: np.asarray(other.read_region((x * TILE, y * TILE), 0, size))
    store = stack.enter_context(closing(tiff.series[0].aszarr(level=0)))
    lazy = dask.array.from_zarr(zarr.open_array(store, mode="r"))
    yield (
        "dask.from_zarr",
        lambda x, y: np.asarray(
            lazy[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE].compute(
                scheduler="synchronous"
            )
        ),
    )


def tiles_per_second(read: Reader, side: int, threads: int, seconds: float) -> float:
    """Rate at random places, all threads together."""

    def work(seed: int) -> int:
        draw, done = random.Random(seed), 0
        while time.perf_counter() < end:
            read(draw.randrange(side // TILE), draw.randrange(side // TILE))
            done += 1
        return done

    seeds = [random.randrange(1 << 30) for _ in range(threads)]
    began = time.perf_counter()
    end = began + seconds
    if threads == 1:
        count = work(seeds[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            count = sum(pool.map(work, seeds))
    return count / (time.perf_counter() - began)


def compare(path: Path, side: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Rows of the table for one slide."""
    rows = []
    with ExitStack() as stack:
        named = list(readers(path, stack))
        for _, read in named:
            read(0, 0)  # imports and caches
        for threads in (1, 2):
            rates: dict[str, list[float]] = {name: [] for name, _ in named}
            for _ in range(rounds):
                for name, read in named:
                    rates[name].append(tiles_per_second(read, side, threads, seconds))
            best = statistics.median(rates[named[0][0]])
            for name, found in rates.items():
                rate = statistics.median(found)
                rows.append(
                    {
                        "side": side,
                        "threads": threads,
                        "reader": name,
                        "tiles_per_second": rate,
                        "of_limit": rate / best,
                    }
                )
    return rows


def child(words: list[str], display: bool) -> dict[str, Any] | None:
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
    words = ["--paint", str(path)] if path else ["--paint"]
    found = [one for one in (child(words, display=True) for _ in range(3)) if one]
    if not found:
        return None
    return {key: statistics.median(one[key] for one in found) for key in ("first", "second")}


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
    before = peak_mb()
    draw = random.Random(0)
    with open_slide(path) as slide:
        shown = slide.display_levels()
        np.asarray(shown[-1])
        for _ in range(1000):
            x, y = draw.randrange(slide.width - TILE), draw.randrange(slide.height - TILE)
            shown[0][y : y + TILE, x : x + TILE]
        slide.read_region(Region(0, 0, slide.width, slide.height), (448, 448))
    after = peak_mb()
    print(json.dumps({"peak_mb": after, "grown_mb": after - before}))


def peak_mb() -> float:
    """Most memory that this process ever held; on Linux not what a parent held before it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def show(report: dict[str, Any]) -> None:
    print(f"{report['machine']}; load {report['load']:.1f} at the start\n")
    print("| slide | reader | 1 thread | of limit | 2 threads | of limit |")
    print("|---|---|---:|---:|---:|---:|")
    cells = {(row["side"], row["reader"], row["threads"]): row for row in report["tiles"]}
    for side, name in dict.fromkeys((row["side"], row["reader"]) for row in report["tiles"]):
        one, two = cells[side, name, 1], cells[side, name, 2]
        print(
            f"| {side // 1000}k | {name} "
            f"| {one['tiles_per_second']:,.0f} | {one['of_limit']:.2f} "
            f"| {two['tiles_per_second']:,.0f} | {two['of_limit']:.2f} |"
        )
    print("\n| slide | file | first paint in napari | a second slide | memory added |")
    print("|---|---:|---:|---:|---:|")
    for row in report["viewer"]:
        paint = row["paint"] or {"first": float("nan"), "second": float("nan")}
        slide = f"{row['side'] // 1000}k | {row['file_mb']:,.0f} MB" if row["side"] else "array | -"
        memory = f"{row['memory']['grown_mb']:.0f} MB" if row["memory"] else "-"
        print(f"| {slide} | {paint['first']:.2f} s | {paint['second']:.2f} s | {memory} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="short rounds")
    parser.add_argument("--folder", type=Path, help="where the slides are written (3 GB)")
    parser.add_argument("--paint", nargs="?", const="", help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.paint is not None:
        return measure_paint(Path(given.paint) if given.paint else None)
    if given.memory:
        return measure_memory(given.memory)
    rounds, seconds = (3, 0.3) if given.quick else (5, 1.0)
    report: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "load": os.getloadavg()[0],
        "tiles": [],
        "viewer": [],
    }
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        tiles = encoded_tiles()
        for side in (20_000, 100_000):
            path = Path(folder) / f"{side}.svs"
            write_slide(path, side, tiles)
            report["tiles"] += compare(path, side, rounds, seconds)
            report["viewer"].append(
                {
                    "side": side,
                    "file_mb": path.stat().st_size / 1e6,
                    "paint": paint(path),
                    "memory": child(["--memory", str(path)], display=False),
                }
            )
            path.unlink()
    report["viewer"].append({"side": 0, "file_mb": 0, "paint": paint(None), "memory": None})
    show(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

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
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from _fresh import memory, paint
from _pyramid import TILE, encoded_tiles, write_slide

from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide

Reader = Callable[[int, int], Any]
"""Reads the tile in a column and a row of level 0, as pixels."""


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
        painted = row["paint"] or {"first": float("nan"), "second": float("nan")}
        slide = f"{row['side'] // 1000}k | {row['file_mb']:,.0f} MB" if row["side"] else "array | -"
        grown = f"{row['memory']['grown_mb']:.0f} MB" if row["memory"] else "-"
        print(f"| {slide} | {painted['first']:.2f} s | {painted['second']:.2f} s | {grown} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="short rounds, 20k alone")
    parser.add_argument("--folder", type=Path, help="where the slides are written (3 GB)")
    given = parser.parse_args()
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
        for side in (20_000,) if given.quick else (20_000, 100_000):
            path = Path(folder) / f"{side}.svs"
            write_slide(path, side, tiles)
            report["tiles"] += compare(path, side, rounds, seconds)
            report["viewer"].append(
                {
                    "side": side,
                    "file_mb": path.stat().st_size / 1e6,
                    "paint": paint(path),
                    "memory": memory(path),
                }
            )
            path.unlink()
    report["viewer"].append({"side": 0, "file_mb": 0, "paint": paint(None), "memory": None})
    show(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""How fast slides are read, beside peers: python benchmarks/slides.py [--json FILE] [--quick].

Writes JPEG pyramids of 20k x 20k and 100k x 100k px as Aperio does (tiles of 256 px at 1, 4, 16
and 64; real tissue from the bundled sample) and reads at random places, with one and with two
calling threads:

- tiles of 256 px of level 0, aligned. The limit is one positioned read and one decode a tile;
- windows of 256 and 512 px of level 0, unaligned;
- squares shown at 512 px, so that each of their pixels is 1.1 to 100 of level 0. A peer reads the
  coarsest level that has the detail and shrinks it as `OpenSlide.get_thumbnail` does (Pillow,
  Lanczos, ``reducing_gap=2``); "same kernel" stands for a peer that shrinks with the kernel of
  `Slide.read_region`, so that only the reading differs;
- the same of a slide in strips of 16 rows, each as wide as the slide, that has no coarse level.

Readers take turns for a second each, several rounds; the median round counts. Nothing is kept from
one read to the next, where a reader lets that be chosen. A peer that is not installed, or cannot
open a file, is left out, and the reason is printed.

Then, each in a fresh process: seconds from opening to the first paint in an open napari window
(needs a display, or Xvfb), and by how much the process grows.

cuCIM needs no GPU for this: ``pip install --no-deps cucim-cu12``.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _fresh import memory, paint
from _mosaic import TILE, write_mosaic, write_strips
from PIL import Image

from napari_pathreason.geometry import Region
from napari_pathreason.slides import choose_level, open_slide

Read = Callable[[int, int, int, int], Any]
"""Reads the square at (x, y) of so many level-0 pixels a side, at a size, as pixels."""
FACTORS = (1.1, 1.5, 2.0, 3.0, 4.0, 6.0, 12.0, 24.0, 39.0)
SHOWN = 512
"""Side of a read that shrinks."""
GRID = 64
"""It starts at multiples of this, px: whole pixels of every level, as peers start at those."""
LANCZOS, HAMMING = Image.Resampling.LANCZOS, Image.Resampling.HAMMING


@dataclass(frozen=True)
class Reader:
    """A way to read; ``shrinks`` says whether it reads at another size than that of level 0."""

    name: str
    read: Read
    shrinks: bool = True
    tiles_alone: bool = False


@dataclass(frozen=True)
class Work:
    """What is read: squares of ``side`` px of level 0 at ``size``, at multiples of ``step``."""

    name: str
    side: int
    size: int
    step: int = 1


WORKS = (
    Work("tile of 256 px", TILE, TILE, TILE),
    Work("256 px, unaligned", TILE, TILE),
    Work("512 px, unaligned", SHOWN, SHOWN),
    *(
        Work(f"{SHOWN} px, 1 : {factor:g}", round(SHOWN * factor), SHOWN, GRID)
        for factor in FACTORS
    ),
)

STRIPS = (WORKS[1], WORKS[2], *(work for work in WORKS if work.name.endswith((": 3", ": 12"))))


def readers(path: Path, stack: ExitStack) -> Iterator[Reader]:
    """Each way to read this file; the first is the limit."""
    import dask.array
    import tifffile
    import zarr

    tiff = stack.enter_context(tifffile.TiffFile(path))
    page = tiff.pages[0]
    if page.is_tiled:
        decode, columns = page.decode, -(-page.imagewidth // TILE)
        offsets, counts = page.dataoffsets, page.databytecounts
        file = stack.enter_context(path.open("rb", buffering=0)).fileno()

        def limit(x: int, y: int, _side: int, _size: int) -> Any:
            index = y // TILE * columns + x // TILE
            data = os.pread(file, counts[index], offsets[index])
            return decode(data, index, jpegtables=page.jpegtables)[0]

        yield Reader("pread + decode (limit)", limit, shrinks=False, tiles_alone=True)

    slide = stack.enter_context(open_slide(path, cache=0))
    yield Reader(
        "**Slide.read_region**",
        lambda x, y, side, size: slide.read_region(Region(x, y, side, side), (size, size)).pixels,
    )
    shown = slide.display_levels()[0]
    yield Reader(
        "**display level**",
        lambda x, y, side, _size: shown[y : y + side, x : x + side],
        shrinks=False,
    )
    for name, open_peer in (("tiffslide", tiffslide), ("OpenSlide", openslide), ("cuCIM", cucim)):
        try:
            sizes, at_level = open_peer(path, stack)
            at_level(0, 0, 0, TILE)
        except Exception as error:  # not installed, or not a file that it reads
            reason = str(error).strip().splitlines()
            print(f"{name} is left out: {reason[0] if reason else type(error).__name__}")
            continue
        yield Reader(name, shrunk(sizes, at_level, LANCZOS))
        if name == "cuCIM":
            yield Reader(f"{name}, same kernel", shrunk(sizes, at_level, HAMMING))
    if page.is_tiled:
        store = stack.enter_context(closing(tiff.series[0].aszarr(level=0)))
        lazy = dask.array.from_zarr(zarr.open_array(store, mode="r"))
        yield Reader(
            "dask.from_zarr",
            lambda x, y, side, _size: np.asarray(
                lazy[y : y + side, x : x + side].compute(scheduler="synchronous")
            ),
            shrinks=False,
            tiles_alone=True,
        )


Sizes = tuple[tuple[int, int], ...]
AtLevel = Callable[[int, int, int, int], Any]
"""Reads at a level, from level-0 (x, y), a square of so many pixels of that level, as RGB."""


def tiffslide(path: Path, stack: ExitStack) -> tuple[Sizes, AtLevel]:
    from tiffslide import TiffSlide

    slide = stack.enter_context(closing(TiffSlide(path)))
    return slide.level_dimensions, lambda level, x, y, side: slide.read_region(
        (x, y), level, (side, side), as_array=True
    )


def openslide(path: Path, stack: ExitStack) -> tuple[Sizes, AtLevel]:
    from openslide import OpenSlide

    slide = stack.enter_context(OpenSlide(path))
    return slide.level_dimensions, lambda level, x, y, side: np.asarray(
        slide.read_region((x, y), level, (side, side)).convert("RGB")
    )


def cucim(path: Path, stack: ExitStack) -> tuple[Sizes, AtLevel]:
    import tifffile
    from cucim import CuImage

    with tifffile.TiffFile(path) as tiff:
        if not tiff.pages[0].is_tiled:
            raise ValueError("reading strips, it ended the process (26.10)")
    slide = stack.enter_context(closing(CuImage(str(path))))
    sizes = slide.resolutions["level_dimensions"]
    return sizes, lambda level, x, y, side: np.asarray(
        slide.read_region((x, y), (side, side), level)
    )


def shrunk(sizes: Sizes, at_level: AtLevel, kernel: Image.Resampling) -> Read:
    """Read by the coarsest level that has the detail, and Pillow."""

    def read(x: int, y: int, side: int, size: int) -> Any:
        level = choose_level(sizes, Region(x, y, side, side), (size, size))
        across = round(side * sizes[level][0] / sizes[0][0])
        pixels = at_level(level, x, y, across)
        if across == size:
            return pixels
        return np.asarray(Image.fromarray(pixels).resize((size, size), kernel, reducing_gap=2.0))

    return read


def reads_per_second(read: Read, side: int, work: Work, threads: int, seconds: float) -> float:
    """Rate at random places, all threads together."""

    def repeat(seed: int) -> int:
        draw, done = random.Random(seed), 0
        last = (side - work.side) // work.step
        while time.perf_counter() < end:
            x, y = (draw.randrange(last + 1) * work.step for _ in range(2))
            read(x, y, work.side, work.size)
            done += 1
        return done

    seeds = [random.randrange(1 << 30) for _ in range(threads)]
    began = time.perf_counter()
    end = began + seconds
    if threads == 1:
        count = repeat(seeds[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            count = sum(pool.map(repeat, seeds))
    return count / (time.perf_counter() - began)


def compare(
    path: Path, side: int, works: tuple[Work, ...], rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Rows of the table for one slide."""
    rows = []
    with ExitStack() as stack:
        named = list(readers(path, stack))
        for work in works:
            able = [
                reader
                for reader in named
                if (reader.shrinks or work.size == work.side)
                and (work.step == TILE or not reader.tiles_alone)
                and ("same" not in reader.name or work.size != work.side)
            ]
            for reader in able:
                reader.read(0, 0, work.side, work.size)  # imports, and what a reader does once
            for threads in (1, 2):
                rates: dict[str, list[float]] = {reader.name: [] for reader in able}
                for _ in range(rounds):
                    for reader in able:
                        rate = reads_per_second(reader.read, side, work, threads, seconds)
                        rates[reader.name].append(rate)
                rows += [
                    {
                        "slide": path.name,
                        "side": side,
                        "work": work.name,
                        "threads": threads,
                        "reader": name,
                        "reads_per_second": statistics.median(found),
                    }
                    for name, found in rates.items()
                ]
    return rows


def show(report: dict[str, Any]) -> None:
    print(f"\n{report['machine']}; load {report['load']:.1f} at the start")
    print("\nReads a second, of one / of two calling threads.")
    for slide in dict.fromkeys(row["slide"] for row in report["reads"]):
        rows = [row for row in report["reads"] if row["slide"] == slide]
        names = list(dict.fromkeys(row["reader"] for row in rows))
        cells = {(row["work"], row["reader"], row["threads"]): row for row in rows}
        print(f"\n| {slide} | {' | '.join(names)} |")
        print(f"|---|{'---:|' * len(names)}")
        for work in dict.fromkeys(row["work"] for row in rows):
            found = [
                " / ".join(
                    f"{cells[work, name, threads]['reads_per_second']:,.4g}" for threads in (1, 2)
                )
                if (work, name, 1) in cells
                else "-"
                for name in names
            ]
            print(f"| {work} | {' | '.join(found)} |")
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
    parser.add_argument("--reads", action="store_true", help="no viewer, 20k alone")
    given = parser.parse_args()
    rounds, seconds = (3, 0.3) if given.quick else (5, 1.0)
    report: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}",
        "load": os.getloadavg()[0],
        "reads": [],
        "viewer": [],
    }
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for side in (20_000,) if given.quick or given.reads else (20_000, 100_000):
            path = Path(folder) / f"{side // 1000}k.svs"
            write_mosaic(path, side)
            works = WORKS if side == 20_000 else WORKS[:2]
            report["reads"] += compare(path, side, works, rounds, seconds)
            if not given.reads:
                report["viewer"].append(
                    {
                        "side": side,
                        "file_mb": path.stat().st_size / 1e6,
                        "paint": paint(path),
                        "memory": memory(path),
                    }
                )
            path.unlink()
        path = Path(folder) / "strips.tif"
        write_strips(path, 20_000)
        report["reads"] += compare(path, 20_000, STRIPS, rounds, seconds)
    if not given.reads:
        row = {"side": 0, "file_mb": 0, "paint": paint(None), "memory": None}
        report["viewer"].append(row)
    show(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

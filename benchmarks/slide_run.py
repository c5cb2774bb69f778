"""What a whole-slide run costs: python benchmarks/slide_run.py [--json FILE] [--quick].

Four tables, the first three on mosaics of the bundled slide's real tissue (JPEG pyramids, levels 1,
4, 16, 64).

1. The run itself: tiles a second, share of the slide's pixels that was decoded, visual tokens
   against native, and the share of the time spent outside the model: tissue, tiles, reading,
   journal, joining, files (wanted: at most 10 %). Loading the model counts for neither side. With
   --tiles the run is cancelled after so many, and the figures are theirs: pixels decoded
   are then told of the same share of the slide.
2. The same run cancelled in the middle and taken up again: seconds from the flag to the end
   (wanted: at most 1), and what it took until the first new tile went to the model, as a share of
   the whole run (wanted: at most 2 %).
3. Memory: peak of a fresh process that runs slides of two sizes, every tile answered at once with a
   box by a stand-in for the model, so that what is measured is the run's own. It holds a record of
   some kilobytes for each tile until the files are written, and nothing else that grows.
4. Joining 24,500 boxes of two labels at random places, few and many in a tile.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Timer
from types import SimpleNamespace
from typing import Any

from _mosaic import write_mosaic

from napari_pathreason.cli import quiet_libraries
from napari_pathreason.engine import BatchPerformer
from napari_pathreason.exports import UsedModel
from napari_pathreason.geometry import Box
from napari_pathreason.models import FixedAllocator, load_models
from napari_pathreason.slide_run import (
    AnswersHere,
    RunCancelled,
    RunFinished,
    RunSettings,
    TileDone,
    lay_tiles,
    merge,
    run_slide,
)
from napari_pathreason.slides import open_slide
from napari_pathreason.types import (
    Completion,
    Detection,
    GenerationSettings,
    ModelDims,
    ModelInfo,
    Prompt,
)

USED = UsedModel("benchmark", "", "cpu", "")
TEXT = (
    '<think>centre: tumour</think><answer>[{"bbox_2d": [300, 300, 700, 700], "label": "tumour"}]'
    "</answer>"
)


class Timed:
    """A performer that keeps the seconds spent in it; ``first`` is when it was first called."""

    def __init__(self, performer: Any) -> None:
        self.performer, self.info = performer, performer.info
        self.seconds, self.first = 0.0, 0.0

    def generate(self, *arguments: Any) -> Iterator[str | Completion]:
        """See `engine.Performer`."""
        began = time.perf_counter()
        self.first = self.first or began
        yield from self.performer.generate(*arguments)
        self.seconds += time.perf_counter() - began

    def generate_batch(self, *arguments: Any) -> list[Completion]:
        """See `engine.BatchPerformer`."""
        began = time.perf_counter()
        self.first = self.first or began
        answers: list[Completion] = self.performer.generate_batch(*arguments)
        self.seconds += time.perf_counter() - began
        return answers


class AtOnce:
    """Answers every tile with the same box, at no cost."""

    info = ModelInfo(
        "stand-in", "qwen3_vl", "relative", ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 8)
    )

    def generate(
        self, prompt: Prompt, settings: GenerationSettings, cancel: Event
    ) -> Iterator[str | Completion]:
        """See `engine.Performer`."""
        yield self.generate_batch([prompt], settings, cancel)[0]

    def generate_batch(
        self, prompts: Sequence[Prompt], settings: Any, cancel: Event
    ) -> list[Completion]:
        """See `engine.BatchPerformer`."""
        height, width = prompts[0].shapes[0]
        visual = height * width // 32**2
        return [Completion(TEXT, visual + 20, visual, 30, "stop", 0.0) for _ in prompts]


def run(
    path: Path, folder: Path, performer: Any, allocator: Any, settings: RunSettings, most: int
) -> dict[str, Any]:
    """Seconds and end of a run that is cancelled after ``most`` tiles (0: never)."""
    cancel, timed = Event(), Timed(performer)
    models = SimpleNamespace(performer=timed, allocator=allocator)
    records, flags = [], []
    timers: list[Timer] = []

    def flag() -> None:  # in the middle of an answer
        flags.append(time.perf_counter())
        cancel.set()

    began = time.perf_counter()
    with open_slide(path) as slide:
        size = slide.width * slide.height
        for event in run_slide(
            slide, folder, settings, USED, AnswersHere(slide, lambda: models), cancel
        ):
            if isinstance(event, TileDone) and not event.resumed:
                records.append(event.record)
                if most and len(records) >= most and not timers:
                    timers.append(Timer(0.1, flag))
                    timers[0].start()
    ended = time.perf_counter()
    if not isinstance(event, RunFinished | RunCancelled):
        raise SystemExit(f"the run failed: {event}")
    return {
        "tiles": len(records),
        "seconds": ended - began,
        "in_model": timed.seconds,
        "until_first": timed.first - began,
        "cancel_seconds": ended - flags[0] if flags else None,
        "pixels": size,
        "decoded": sum(record.pixels_decoded for record in records),
        "read_seconds": sum(record.seconds.get("read", 0) for record in records),
        "tokens": sum(record.tokens.realised for record in records if record.tokens),
        "native": sum(record.tokens.native_picture for record in records if record.tokens),
        "total": event.total if isinstance(event, RunCancelled) else len(event.outcome.records),
    }


def the_run(path: Path, models: Any, budgets: Sequence[Any], most: int) -> list[dict[str, Any]]:
    """First table."""
    print("| budget | tiles | tiles/s | pixels decoded | of native tokens | outside | reading |")
    print("|-------:|------:|--------:|---------------:|-----------------:|--------:|--------:|")
    rows = []
    for budget in budgets:
        with tempfile.TemporaryDirectory() as folder:
            settings = RunSettings(budget=budget)
            row = run(path, Path(folder), models.performer, models.allocator, settings, most)
        row["budget"] = budget
        row["reading"] = row["read_seconds"] / row["seconds"]
        row["outside"] = 1 - row["in_model"] / row["seconds"]
        row["share_decoded"] = row["decoded"] / (row["pixels"] * row["tiles"] / row["total"])
        rows.append(row)
        print(
            f"| {budget} | {row['tiles']:,} of {row['total']:,} "
            f"| {row['tiles'] / row['seconds']:.1f} | {row['share_decoded']:.1%} "
            f"| {row['tokens'] / row['native']:.1%} | {row['outside']:.1%} "
            f"| {row['reading']:.1%} |",
            flush=True,
        )
    return rows


def cancelled(path: Path, models: Any, most: int) -> dict[str, Any]:
    """Second table: half of ``most`` tiles, then the rest of them."""
    with tempfile.TemporaryDirectory() as name:
        arguments = (
            path,
            Path(name),
            models.performer,
            models.allocator,
            RunSettings(budget=64),
        )
        first, second = run(*arguments, most // 2), run(*arguments, most - most // 2)
    each = (first["seconds"] + second["seconds"]) / (first["tiles"] + second["tiles"])
    told = {
        "cancel_seconds": first["cancel_seconds"],
        "resume_seconds": second["until_first"],
        "share_of_run": second["until_first"] / (each * first["total"]),
    }
    print("\n| flag to end, s | resumed until the first tile, s | share of the whole run |")
    print("|---:|---:|---:|")
    print(
        f"| {told['cancel_seconds']:.2f} | {told['resume_seconds']:.2f} "
        f"| {told['share_of_run']:.2%} |",
        flush=True,
    )
    return told


def memory(paths: Sequence[tuple[int, Path]]) -> list[dict[str, Any]]:
    """Third table, each row from a process of its own."""
    print("\n| slide, px | tiles | lesions | tiles/s | peak memory, MB |")
    print("|---:|---:|---:|---:|---:|")
    rows = []
    for side, path in paths:
        command = [sys.executable, __file__, "--child", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = {"side": side, **json.loads(done.stdout)}
        rows.append(row)
        print(
            f"| {side:,} | {row['tiles']:,} | {row['lesions']:,} "
            f"| {row['tiles'] / row['seconds']:,.0f} | {row['peak'] / 1e6:,.0f} |",
            flush=True,
        )
    return rows


def joining(boxes: int = 24_500) -> list[dict[str, Any]]:
    """Fourth table: seconds of the CPU."""
    print("\n| boxes | in a tile | lesions | joined in, s |")
    print("|---:|---:|---:|---:|")
    rows = []
    for each in (1, 5, 50):
        draw = random.Random(0)
        across = math.isqrt(boxes // each - 1) + 1
        side = 576 * (across - 1) + 768
        tiles = []
        for tile in lay_tiles(side, side, (768, 768), 0.25)[: boxes // each]:
            found = []
            for _ in range(each):
                w, h = draw.uniform(10, 90), draw.uniform(10, 90)
                x, y = draw.uniform(0, 768 - w), draw.uniform(0, 768 - h)
                box = Box(tile.region.x + x, tile.region.y + y, w, h)
                found.append(Detection(draw.choice("ab"), box, draw.random()))
            tiles.append((tile, found))
        began = time.process_time()
        lesions = merge(tiles)
        seconds = time.process_time() - began
        rows.append({"boxes": boxes, "each": each, "lesions": len(lesions), "seconds": seconds})
        print(f"| {boxes:,} | {each} | {len(lesions):,} | {seconds:.2f} |", flush=True)
    return rows


def child(path: Path) -> dict[str, Any]:
    """A whole run without a model, and this process's peak."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row = run(path, folder, AtOnce(), FixedAllocator(64), RunSettings(), 0)
        row["lesions"] = json.loads((folder / "manifest.json").read_text())["lesions"]
    unit = 1 if sys.platform == "darwin" else 1024
    row["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description="What a whole-slide run costs.")
    parser.add_argument("--model", default="embedded", help="embedded, a folder or a hub id")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiles", type=int, default=0, help="cancel after so many; 0: never")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="small slides, few tiles")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    quiet_libraries()
    if args.child is not None:
        print(json.dumps(child(args.child)))
        return
    sides = (5_000, 15_000) if args.quick else (20_000, 60_000)
    most = args.tiles or (32 if args.quick else 0)
    with tempfile.TemporaryDirectory() as folder:
        paths = [(side, Path(folder) / f"{side}.svs") for side in sides]
        for side, path in paths:
            write_mosaic(path, side)
        models = load_models(args.model, args.device)
        if not isinstance(models.performer, BatchPerformer):
            raise SystemExit("this model answers one tile at a time; nothing to compare with")
        import torch

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        where = (
            f"{platform.machine()}, {cores} cores, {torch.get_num_threads()} threads, "
            f"torch {torch.__version__}, {models.performer.info.device}"
        )
        small = paths[0][1]
        print(f"{where}; model {models.performer.info.name}; {sides[0]:,} x {sides[0]:,} px\n")
        report = {
            "machine": where,
            "run": the_run(small, models, (16, 64) if args.quick else (16, 64, "native"), most),
            "resume": cancelled(small, models, most or 64),
            "memory": memory(paths),
            "joining": joining(),
        }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a large region costs by each policy: python benchmarks/large_request.py [--quick].

Regions of 2,016 and 4,032 px of a pyramid of bundled tissue, as one picture at several budgets
and by windows at several policies: visual tokens, windows, pixels decoded, CPU seconds of this
process, and how many of these lie outside the model's passes (wanted: at most 5 %). Then a slide of
100,000 x 100,000 px from end to end, with the most memory that the process held beyond what it had
before. The embedded model answers; with --model another one. Each row is the median of its repeats.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _mosaic import write_mosaic

from napari_pathreason.cli import quiet_libraries
from napari_pathreason.engine import Job, Models, ask
from napari_pathreason.geometry import Region
from napari_pathreason.models import load_models
from napari_pathreason.slides import Slide, open_slide
from napari_pathreason.types import Budget, GenerationSettings, PolicyName, Query, Request

PRESENT = Query("vqa", "Is there tumour in this field?", ("yes", "no"))
BOXES = Query("detection", "", ("tumour",))
COUNT = Query("vqa", "Count the nuclei in this picture.")
ROWS: tuple[tuple[PolicyName, Budget, Query], ...] = (
    ("one_view", 64, PRESENT),
    ("one_view", 256, PRESENT),
    ("uniform", 1024, PRESENT),
    ("surprise", "auto", PRESENT),
    ("again", "auto", BOXES),
    ("uniform", "auto", COUNT),
    ("uniform", "native", PRESENT),
)


class Timed:
    """A performer or a slide, with the CPU seconds of this process that it took."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(self, *arguments: Any) -> Any:
        """As the performer's."""
        pieces = self._inner.generate(*arguments)
        while True:
            began = time.process_time()
            try:
                piece = next(pieces)
            except StopIteration:
                return
            finally:
                self.seconds += time.process_time() - began
            yield piece

    def generate_batch(self, *arguments: Any) -> Any:
        """As the performer's."""
        began = time.process_time()
        try:
            return self._inner.generate_batch(*arguments)
        finally:
            self.seconds += time.process_time() - began

    def read_region(self, *arguments: Any) -> Any:
        """As the slide's."""
        began = time.process_time()
        try:
            return self._inner.read_region(*arguments)
        finally:
            self.seconds += time.process_time() - began


def measure(
    slide: Slide,
    region: Region,
    models: Models,
    row: tuple[PolicyName, Budget, Query],
    repeats: int,
) -> dict[str, Any]:
    """Costs of one question, the medians of its repeats."""
    policy, budget, query = row
    settings = GenerationSettings(zoom=False)
    request = Request(region, query, budget, settings, policy=policy)
    seconds, model, reading, clock = [], [], [], []
    result = None
    for _ in range(repeats):
        performer, source = Timed(models.performer), Timed(slide)
        began, used = time.perf_counter(), time.process_time()
        job = Job(source, request, bounded=False)  # type: ignore[arg-type]
        result = ask(job, performer, models.allocator)
        seconds.append(time.process_time() - used)
        clock.append(time.perf_counter() - began)
        model.append(performer.seconds)
        reading.append(source.seconds)
    assert result is not None
    total, own = statistics.median(seconds), statistics.median(model)
    read = statistics.median(reading)
    windows = sum(view.role == "window" for view in result.views.views) if result.views else 0
    values = {
        "side": region.width,
        "policy": policy,
        "budget": budget,
        "answer": query.task,
        "windows": windows,
        "tokens": result.tokens.realised,
        "native_windows": result.tokens.native_windows,
        "gflops": result.tokens.flops / 1e9,
        "pixels_decoded": result.pixels_decoded,
        "seconds": statistics.median(clock),
        "cpu_seconds": total,
        "model_seconds": own,
        "reading_seconds": read,
        "outside": (total - own - read) / total,
    }
    print(
        f"| {region.width:,} | {policy} | {budget} | {query.task} | {windows} "
        f"| {values['tokens']:,} of {values['native_windows']:,} | {values['gflops']:,.1f} "
        f"| {result.pixels_decoded / 1e6:.1f} | {total:.2f} | {own:.2f} | {read:.2f} "
        f"| {values['outside']:.1%} |",
        flush=True,
    )
    return values


def whole_slide(folder: Path, side: int, models: Models) -> dict[str, Any]:
    """A question about a whole slide, and the memory that it took."""
    path = folder / "whole.svs"
    write_mosaic(path, side)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, used = time.perf_counter(), time.process_time()
    with open_slide(path) as slide:
        region = Region(0, 0, slide.width, slide.height)
        result = ask(Job(slide, Request(region, PRESENT)), models.performer, models.allocator)
    values = {
        "side": side,
        "windows": len(result.readings),
        "unread": len(result.unread),
        "tokens": result.tokens.realised,
        "native_windows": result.tokens.native_windows,
        "pixels_decoded": result.pixels_decoded,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - used,
        "stages": {stage: round(spent, 2) for stage, spent in result.seconds.items()},
        "memory_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    }
    print(
        f"\n{side:,} x {side:,} px: {values['windows']:,} windows of "
        f"{values['windows'] + values['unread']:,}, {values['tokens']:,} of "
        f"{values['native_windows']:,} visual tokens, {values['pixels_decoded'] / 1e6:.0f} Mpx "
        f"decoded, {values['cpu_seconds']:.1f} CPU s {values['stages']}, "
        f"{values['memory_mb']:.0f} MB more than before"
    )
    return values


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", type=int, default=100_000, help="side of the whole slide in px")
    parser.add_argument("--quick", action="store_true", help="small and once, to see that it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    quiet_libraries()
    models = load_models(options.model, options.device)
    sides = (2016,) if options.quick else (2016, 4032)
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "region.svs"
        write_mosaic(path, 8192)
        columns = "px policy budget task windows tokens GFLOP Mpx CPU-s model read rest"
        print("| " + " | ".join(columns.split()) + " |")
        print("|---:|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        with open_slide(path) as slide:
            rows = [
                measure(slide, Region(512, 512, side, side), models, row, repeats)
                for side in sides
                for row in (ROWS[:4] if options.quick else ROWS)
            ]
        whole = whole_slide(Path(name), 20_000 if options.quick else options.whole, models)
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": rows, "whole": whole}, indent=1) + "\n")


if __name__ == "__main__":
    main()

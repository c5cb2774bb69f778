"""What one answer costs at each budget: python benchmarks/ask.py [--json FILE] [--quick].

Two tables. The first runs the same question at every budget of the budget grid and at native size:
visual tokens, pixels decoded, seconds, and how that compares with native. The second takes the
engine's own share: the main job against reading the same region and a bare ``model.generate`` of
transformers on the same pixels and prompt with the same number of written tokens (wanted: at most 5
% more). Each number is the median of its repeats, on the clock and of this process on the CPU,
which other load lengthens less; shares and the second table are of the CPU, and its two sides take
turns. Without --slide a pyramid of 8192 x 8192 px with levels at 1, 4 and 16 is written; without
--model a checkpoint of random weights at the size of the embedded one: seconds depend on sizes, not
on what was learnt, and the answers mean nothing. No budget is refused for being larger than a
model's replies hold at: what is measured is cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _support import write_synthetic_slide

from napari_pathreason.budgets import BUDGET_GRID, plan
from napari_pathreason.cli import quiet_libraries
from napari_pathreason.engine import Job, Models, ask
from napari_pathreason.geometry import Region
from napari_pathreason.models import build_inputs, find_checkpoint, load_models
from napari_pathreason.slides import Slide, open_slide
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import Budget, GenerationSettings, Prompt, Query, Request

QUERY = Query("vqa", "How many nuclei are there?")


def median_result(job: Job, models: Models, repeats: int) -> tuple[Any, float, float]:
    """Last result and median seconds of a job, on the clock and on the CPU."""
    clock, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        result = ask(job, models.performer, models.allocator)
        clock.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    return result, statistics.median(clock), statistics.median(cpu)


def budgets(
    slide: Slide, region: Region, models: Models, settings: GenerationSettings, repeats: int
) -> list[dict[str, Any]]:
    """The same question at every budget and at native size."""
    budgets: list[Budget] = [
        "native",
        *BUDGET_GRID,
    ]  # native first: the others are compared with it
    print("| budget | tokens | Mpx decoded | level | read s | total s | CPU s | of | GFLOP | of |")
    print("|-------:|-------:|------------:|------:|-------:|--------:|------:|---:|------:|---:|")
    rows: list[dict[str, Any]] = []
    for budget in budgets:
        job = Job(slide, Request(region, QUERY, budget, settings, policy="one_view"), bounded=False)
        result, seconds, cpu = median_result(job, models, repeats)
        row = {
            "budget": budget,
            "realised": result.tokens.realised,
            "native": result.tokens.native_picture,
            "pixels_decoded": result.pixels_decoded,
            "level": result.level,
            "read_seconds": result.seconds["read"],
            "seconds": seconds,
            "cpu_seconds": cpu,
            "gflops": result.tokens.flops / 1e9,
            "new_tokens": result.tokens.new_tokens,
        }
        rows.append(row)
        row["times_native_cpu"] = cpu / rows[0]["cpu_seconds"]
        row["times_native_flops"] = row["gflops"] / rows[0]["gflops"]
        print(
            f"| {budget} | {row['realised']:,} | {row['pixels_decoded'] / 1e6:.2f} "
            f"| {row['level']} | {row['read_seconds']:.3f} | {seconds:.2f} "
            f"| {cpu:.2f} | {row['times_native_cpu']:.1%} | {row['gflops']:,.1f} "
            f"| {row['times_native_flops']:.1%} |",
            flush=True,
        )
    return rows


def overhead(
    slide: Slide, region: Region, models: Models, budget: int, new_tokens: int, repeats: int
) -> dict[str, Any]:
    """The main job, against reading the region and transformers alone on the same pixels."""
    import torch

    performer: Any = models.performer
    info = performer.info
    made = plan(region, budget, info.dims.token_px)
    pixels = slide.read_region(region, made.size).pixels
    prompt = Prompt((pixels,), TASKS[QUERY.task].messages(QUERY))
    settings = GenerationSettings(max_new_tokens=new_tokens)
    job = Job(slide, Request(region, QUERY, budget, settings, policy="one_view"), bounded=False)

    def bare() -> int:
        inputs = build_inputs(performer.tokenizer, info.dims, prompt, performer.normalisation)
        inputs = {name: value.to(performer.model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            out = performer.model.generate(**inputs, max_new_tokens=written, do_sample=False)
        performer.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :])
        return int(out.shape[1] - inputs["input_ids"].shape[1])

    first = ask(job, models.performer, models.allocator)
    written = first.tokens.new_tokens
    if bare() != written:  # also the warm-up
        raise SystemExit("the two sides wrote answers of different lengths; nothing to compare")
    ours, theirs = [], []
    for _ in range(repeats):
        used = time.process_time()
        ask(job, models.performer, models.allocator)
        ours.append(time.process_time() - used)
        used = time.process_time()
        slide.read_region(region, made.size)  # the job reads the region too
        bare()
        theirs.append(time.process_time() - used)
    job_seconds, bare_seconds = statistics.median(ours), statistics.median(theirs)
    more = job_seconds / bare_seconds - 1
    print(
        f"| {budget} | {written} | {job_seconds:.3f} | {bare_seconds:.3f} | {more:+.1%} |",
        flush=True,
    )
    return {
        "budget": budget,
        "new_tokens": written,
        "job_seconds": job_seconds,
        "bare_seconds": bare_seconds,
        "overhead": more,
    }


@contextmanager
def things(slide: Path | None, model: str | None) -> Iterator[tuple[Path, str]]:
    """Slide and model to measure with; made where none is named."""
    with tempfile.TemporaryDirectory() as folder:
        yield (
            slide or write_synthetic_slide(Path(folder) / "pyramid.tif", 8192, 8192, (1, 4, 16)),
            model or str(random_checkpoint(Path(folder) / "random-weights")),
        )


def random_checkpoint(folder: Path) -> Path:
    """Write random weights in the sizes of the embedded model, with its tokenizer."""
    from transformers import AutoConfig, Qwen3VLForConditionalGeneration

    embedded, _ = find_checkpoint("embedded")
    folder.mkdir()
    for name in ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder)
    shutil.copy(embedded / "preprocessor_config.json", folder)
    model = Qwen3VLForConditionalGeneration(AutoConfig.from_pretrained(embedded))
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.save_pretrained(folder)
    return folder


def machine(models: Models) -> str:
    """Where these figures were taken."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.machine()}, {cores} cores, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{models.performer.info.device}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What one answer costs at each budget.")
    parser.add_argument("--slide", type=Path, help="default: a pyramid made here")
    parser.add_argument("--region", nargs=4, type=int, metavar=("X", "Y", "W", "H"))
    parser.add_argument("--model", help="embedded, a folder or a hub id")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--new-tokens", type=int, default=64, help="most tokens of an answer")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="one repeat and a small region")
    args = parser.parse_args()
    quiet_libraries()
    side = 512 if args.quick else 2048
    region = Region(*(args.region or (side, side, side, side)))
    repeats = 1 if args.quick else 3
    settings = GenerationSettings(max_new_tokens=args.new_tokens)
    with things(args.slide, args.model) as (file, model), open_slide(file) as slide:
        models = load_models(model, args.device)
        ask(
            Job(slide, Request(region, QUERY, 64, settings, policy="one_view")),
            models.performer,
            models.allocator,
        )  # warm-up
        region = region.clipped(slide.width, slide.height)
        name, where = models.performer.info.name, machine(models)
        load = os.getloadavg()[0]
        print(f"{where}; load {load:.1f} before; model {name}; {slide.info.name}, region", end=" ")
        print(f"{region.x} {region.y} {region.width} {region.height}\n")
        of_rungs = budgets(slide, region, models, settings, repeats)
        print("\n| budget | written tokens | main job, CPU s | bare, CPU s | overhead |")
        print("|-------:|---------------:|----------------:|------------:|---------:|")
        of_engine = [
            overhead(slide, region, models, budget, args.new_tokens, 3 * repeats)
            for budget in (16, 64, 256)
        ]
        report = {
            "machine": where,
            "load": load,
            "model": name,
            "slide": slide.info.name,
            "region": [region.x, region.y, region.width, region.height],
            "budgets": of_rungs,
            "overhead": of_engine,
        }
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

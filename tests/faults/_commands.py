"""The commands that are tried, each with what it reads and what it leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from napari_pathreason import engine, models, slides
from napari_pathreason.cli import main
from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box, Region
from napari_pathreason.models import FixedAllocator, LoadedModels
from napari_pathreason.training import read_samples, write_samples
from napari_pathreason.types import Query, Request
from tests.support import byte_tokenizer, tiny_config
from tests.support.kept_questions import Reader

SPOTS = ((60, 60, 40, 60), (400, 300, 120, 30), (300, 130, 60, 60))
MADE = 1_700_000_000
"""Time of every slide: one that is put back is as it was."""
DRAWN_IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}")


@dataclass(frozen=True)
class Command:
    """A command to try.

    ``words`` for ``run``, given the folder of a trial; ``make`` fills that folder, ``swap`` puts
    something else in the place of what the command reads, where it reads anything, and ``result``
    is what it leaves. ``prepare`` is done once, in the folder of all trials.
    """

    words: Callable[[Path], list[str]]
    make: Callable[[Path], None]
    swap: Callable[[Path], None] | None
    result: Callable[[Path], dict[str, Any]]
    prepare: Callable[[Path], None]
    run: Callable[[list[str]], int | None] = main


def timeless(value: Any) -> Any:
    """A value of JSON without what tells the time, and without what was decoded."""
    if isinstance(value, dict):
        left_out = ("made", "seconds", "pixels_decoded", "seconds_sampling")
        return {k: timeless(v) for k, v in value.items() if k not in left_out}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def content(path: Path) -> Any:
    """What a file holds; JSON without times, line by line where it may be torn; tensors."""
    if path.suffix == ".pt":
        return tensors_in(import_module("torch").load(path, weights_only=True))
    held = path.read_bytes()
    if path.suffix not in (".json", ".jsonl"):
        return held
    found = []
    for line in [held] if path.suffix == ".json" else held.splitlines(keepends=True):
        try:
            found.append(timeless(json.loads(line)))
        except ValueError:
            found.append(line)
    return found


def tensors_in(value: Any) -> Any:
    """A state that torch keeps, by value: its bytes tell which of its words were one object."""
    if isinstance(value, dict):
        return {key: tensors_in(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [tensors_in(each) for each in value]
    if hasattr(value, "numpy"):
        return [str(value.dtype), [*value.shape], value.numpy().tobytes()]
    return value


def files_in(folder: Path) -> dict[str, Any]:
    """Contents of all files but locks."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): content(path) for path in paths}


def left_in_out(folder: Path) -> dict[str, Any]:
    return files_in(folder / "out")


# what reads slides


def load_reader(*_: Any, **__: Any) -> LoadedModels:
    """A model that boxes dark spots, in place of weights."""
    return LoadedModels(Reader(), FixedAllocator())


def answer_by_reader(_: Path) -> None:
    """Let that model answer."""
    models.load_models = load_reader


def write_slide(path: Path, spots: Any = SPOTS) -> None:
    """Write 640 x 480 px of pink with dark spots."""
    pixels = np.full((480, 640, 3), (230, 160, 200), np.uint8)
    for x, y, w, h in spots:
        pixels[y : y + h, x : x + w] = 0
    Image.fromarray(pixels).save(path)
    os.utime(path, (MADE, MADE + len(spots)))


def make_slide(folder: Path) -> None:
    write_slide(folder / "slide.png")


def swap_slide(folder: Path, name: str = "slide.png") -> None:
    """Put another slide in the place of the first one."""
    write_slide(folder / "other.png", SPOTS[:1])
    (folder / "other.png").replace(folder / name)


TILES = ("--slide-mpp", "0.5", "--mpp", "0.5", "--tile", "200", "--batch", "3")
BOXES = ("--task", "detection", "--choices", "spot", "--budget", "native", "--policy", "uniform")
CLASSES = ("--task", "subtyping", "--choices", "spotted,plain")


def detect_words(folder: Path) -> list[str]:
    files = ("-o", str(folder / "out"), "--json", str(folder / "a.json"))
    return ["detect", str(folder / "slide.png"), "--lesions", "spot", *TILES, *files]


def classify_words(folder: Path) -> list[str]:
    return ["classify", str(folder / "slide.png"), "-o", str(folder / "out"), *CLASSES, *TILES]


def ask_words(folder: Path) -> list[str]:
    files = ("--keep", str(folder / "out"), "--json", str(folder / "a.json"))
    return ["ask", str(folder / "slide.png"), *BOXES, *files, "--report", str(folder / "a.html")]


def ask_result(folder: Path) -> dict[str, Any]:
    return {"a.json": content(folder / "a.json"), **left_in_out(folder)}


# a project


def make_project(folder: Path) -> None:
    """Two slides with three annotations."""
    study = folder / "study"
    study.mkdir()
    whole, part = (Feature(Box(0, 0, w, 480), name=n) for n, w in (("all", 640), ("part", 300)))
    for name, spots, features in (("a", SPOTS, [whole, part]), ("b", SPOTS[1:], [whole])):
        write_slide(study / f"{name}.png", spots)
        write_geojson(study / f"{name}.geojson", features)


def swap_in_project(folder: Path) -> None:
    swap_slide(folder, "study/a.png")


def project_words(folder: Path) -> list[str]:
    where = ("--project", str(folder / "study"), "--answers", str(folder / "out"))
    return ["ask", *where, *BOXES, "--mpp", "0.5"]


def project_result(folder: Path) -> dict[str, Any]:
    """Tables without times and drawn names; of the journal, whether each answer is there once.

    It also keeps answers to a slide that was here before.
    """
    found = left_in_out(folder)
    keys = [one["key"] if isinstance(one, dict) else "torn" for one in found["answers.jsonl"]]
    found["answers.jsonl"] = "torn" not in keys and len(keys) == len(set(keys))
    for name, held in found.items():
        if name == "answers.csv":
            rows = csv.DictReader(held.decode("utf-8-sig").splitlines())
            found[name] = [{k: v for k, v in row.items() if k != "time"} for row in rows]
        elif name.startswith("geojson/"):
            found[name] = DRAWN_IDS.sub("", held.decode())
    return found


# answers that the docks keep


def keep_in_docks(words: list[str]) -> int:
    """Keep three answers and what a reader says of each, as the docks do; those that are missing.

    2 where they cannot be kept.
    """
    viewer = import_module("napari_pathreason.viewer")
    folder, warned = Path(words[0]), []
    archive = viewer.AnswerArchive(lambda: folder / "out", warned.append)
    with slides.open_slide(folder / "slide.png") as slide:
        for number in range(3):
            uid = str(number)
            region, query = (
                Region(0, 0, 200 + number, 200),
                Query("vqa", "How many spots are there?"),
            )
            job = engine.Job(slide, Request(region, query))
            entry = viewer.Entry(
                number, engine.ask(job, Reader(), FixedAllocator()), lambda: None, uid=uid
            )
            kept = {one.uid: one for one in archive.answers_of(slide.info)}
            if uid not in kept:
                archive.keep(entry)
                archive.flush()
            if uid not in kept or not kept[uid].reviews:
                archive.keep_review(entry, "right", "A")
                archive.flush()
    print("".join(warned))  # noqa: T201
    return 2 if warned else 0


def docks_result(folder: Path) -> dict[str, Any]:
    archive = import_module("napari_pathreason.viewer").AnswerArchive(lambda: folder / "out")
    with slides.open_slide(folder / "slide.png") as slide:
        kept = archive.answers_of(slide.info)
    return {one.uid: timeless({**asdict(one), "made": ""}) for one in kept}


# what trains


def train_words(folder: Path, stage: str = "sft") -> list[str]:
    return ["train", stage, "--recipe", str(folder / "recipe.yaml")]


SFT = {"steps": 3, "batch": 2, "budgets": {4: 1}, "checkpoint_every": 1, "validate_every": 3}
BEST = {"steps": 2, "checkpoint_every": 2, "validate_every": 1, "score_samples": 1, "best": "score"}
GRPO = {
    "steps": 2, "batch_size": 1, "num_generations": 2, "max_completion_length": 2, "warmup": 1,
    "budgets": {4: 1}, "checkpoint_every": 1, "validate_every": 2, "validate_samples": 1,
    "lr": 1e-3,
}  # fmt: skip
HEAD = {
    "questions": 2, "validate_questions": 1, "steps": 2, "warm_steps": 1,
    "checkpoint_every": 1, "validate_every": 2,
}  # fmt: skip


def write_picture(path: Path, colour: tuple[int, int, int]) -> None:
    """Write 64 x 64 px of one colour; how often it is read must not hang on how new it is."""
    Image.new("RGB", (64, 64), colour).save(path)
    os.utime(path, (MADE, MADE))


def make_training(folder: Path, **sft: Any) -> None:
    """A model of some thousand parameters, four samples, and a recipe of a few steps."""
    shutil.copytree(folder.parent / "start", folder / "start")
    for file in (folder / "start").iterdir():  # how often it is read must not hang on that either
        os.utime(file, (MADE, MADE))
    (folder / "data").mkdir()
    samples = []
    for number in range(4):
        write_picture(folder / "data" / f"{number}.png", (40 * number, 90, 120))
        samples.append(
            {
                "image": f"{number}.png",
                "task": "vqa",
                "question": "Is it?",
                "answer": "yes" if number % 2 else "no",
                "choices": ["yes", "no"],
                "source": "made",
            }
        )
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    for split in ("train", "val"):
        (folder / "data" / f"{split}.jsonl").write_text(lines)
    recipe = {
        "output": str(folder / "out"),
        "data": {"folder": str(folder / "data")},
        "model": {"start": str(folder / "start")},
        "sft": {**SFT, "validate_samples": 2, **sft},
        "grpo": {**GRPO, "start": str(folder / "start")},
        "allocator": {**HEAD, "start": str(folder / "start")},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))


def make_training_of_best(folder: Path) -> None:
    make_training(folder, **BEST)


def swap_samples(folder: Path) -> None:
    """Put other samples in the place of the first ones."""
    train = folder / "data" / "train.jsonl"
    write_samples(folder / "other.jsonl", read_samples(train)[1:])
    (folder / "other.jsonl").replace(train)


def swap_picture(folder: Path) -> None:
    """Put another picture in the place of the first one of those that are labelled yes."""
    write_picture(folder / "other.png", (250, 20, 30))
    (folder / "other.png").replace(folder / "data/1.png")


def allocator_result(folder: Path) -> dict[str, Any]:
    """What lies beside the performer, and the run; of its tables those that the log tells of."""
    beside = {
        name: held for name, held in files_in(folder / "start").items() if "allocator" in name
    }
    left = {name: held for name, held in left_in_out(folder).items() if "scores-" not in name}
    return {**beside, **left}


def draw_in_words() -> None:
    """Have curves written as the values they show: to draw them is most of a trial's time."""
    from matplotlib.figure import Figure

    def save(figure: Figure, file: IO[bytes], **_: Any) -> None:
        lines = [line.get_xydata() for panel in figure.axes for line in panel.get_lines()]
        file.write(json.dumps([np.asarray(line).tolist() for line in lines]).encode())

    Figure.savefig = save  # type: ignore[method-assign, assignment]


def make_start(root: Path) -> None:
    """Write a model to begin from."""
    import torch
    from transformers import AutoModelForImageTextToText

    from napari_pathreason.training.model import save_checkpoint

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(tiny_config("qwen3_vl", tokenizer))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    save_checkpoint(root / "start", model, tokenizer, "start")


def prepare_training(root: Path) -> None:
    draw_in_words()
    make_start(root)


def on_slide(words: Callable[[Path], list[str]], result: Any = left_in_out) -> Command:
    return Command(words, make_slide, swap_slide, result, answer_by_reader)


def of_training(
    make: Callable[[Path], None] = make_training,
    stage: str = "sft",
    swap: Callable[[Path], None] = swap_samples,
    result: Callable[[Path], dict[str, Any]] = left_in_out,
) -> Command:
    return Command(lambda folder: train_words(folder, stage), make, swap, result, prepare_training)


COMMANDS = {
    "detect": on_slide(detect_words),
    "classify": on_slide(classify_words),
    "ask": on_slide(ask_words, ask_result),
    "project": Command(
        project_words, make_project, swap_in_project, project_result, answer_by_reader
    ),
    "docks": Command(
        lambda folder: [str(folder)],
        make_slide,
        None,
        docks_result,
        lambda _: None,
        keep_in_docks,
    ),
    "train": of_training(),
    "best": of_training(make_training_of_best),
    "grpo": of_training(stage="performer", swap=swap_picture),
    "allocator": of_training(stage="allocator", swap=swap_picture, result=allocator_result),
}

"""Commands that meet a fault at each thing that they do to files, and what becomes of them.

``python -m tests.faults._faults COMMAND FOLDER EVENTS SEED``: COMMAND is detect, ask or train,
EVENTS says at how many of a command's file events each fault is tried (``all``: at every one).
Which those are is found by an audit hook, to which Python tells of each file before it touches it,
in an undisturbed run. Prints a line for each trial that went wrong, then the counts as JSON.

Each trial is a process of its own, forked where all is imported, so that it costs no start.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_pathreason import models
from napari_pathreason.cli import main
from napari_pathreason.models import FixedAllocator, LoadedModels
from napari_pathreason.training import read_samples, write_samples
from tests.support import byte_tokenizer, tiny_config
from tests.support.kept_questions import Reader

FAULTS = ("kill", "fill", "freeze", "swap")
SPOTS = ((60, 60, 40, 60), (400, 300, 120, 30), (300, 130, 60, 60))
GONE = 137
"""Code of what was killed."""


@dataclass(frozen=True)
class Command:
    """A command to try.

    ``words`` for `main`, given the folder of a trial; ``make`` fills that folder, ``swap`` puts
    something else in the place of what the command reads, and ``result`` is what it leaves.
    """

    words: Callable[[Path], list[str]]
    make: Callable[[Path], None]
    swap: Callable[[Path], None]
    result: Callable[[Path], Any]


def write_slide(path: Path, spots: Any = SPOTS) -> None:
    """Write 640 x 480 px of pink with dark spots."""
    pixels = np.full((480, 640, 3), (230, 160, 200), np.uint8)
    for x, y, w, h in spots:
        pixels[y : y + h, x : x + w] = 0
    Image.fromarray(pixels).save(path)


def swap_slide(folder: Path) -> None:
    """Put another slide in the place of the first one."""
    write_slide(folder / "other.png", SPOTS[:1])
    (folder / "other.png").replace(folder / "slide.png")


def timeless(value: Any) -> Any:
    """A value of JSON without what tells the time, and without what was decoded."""
    if isinstance(value, dict):
        left_out = ("made", "seconds", "pixels_decoded", "seconds_sampling")
        return {k: timeless(v) for k, v in value.items() if k not in left_out}
    return [timeless(one) for one in value] if isinstance(value, list) else value


def files_in(folder: Path) -> dict[str, Any]:
    """Contents of all files but locks and pictures of curves; JSON without times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name in (".lock", "curve.png"):
            continue
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json":
            found[name] = timeless(json.loads(path.read_bytes()))
        elif path.suffix == ".jsonl":
            found[name] = [timeless(json.loads(line)) for line in path.read_bytes().splitlines()]
        elif "checkpoint" not in path.parts:  # states hold times of files; the model tells
            found[name] = path.read_bytes()
    return found


def load_reader(*_: Any, **__: Any) -> LoadedModels:
    """A model that boxes dark spots, in place of weights."""
    return LoadedModels(Reader(), FixedAllocator())


DETECT = (
    "--lesions",
    "spot",
    "--slide-mpp",
    "0.5",
    "--mpp",
    "0.5",
    "--tile",
    "200",
    "--batch",
    "3",
)
ASK = ("--task", "detection", "--choices", "spot", "--budget", "native", "--policy", "uniform")


def detect_words(folder: Path) -> list[str]:
    return ["detect", str(folder / "slide.png"), "-o", str(folder / "out"), *DETECT]


def ask_words(folder: Path) -> list[str]:
    out = folder / "out"
    files = ("--keep", str(out), "--json", str(folder / "a.json"))
    return ["ask", str(folder / "slide.png"), *ASK, *files, "--report", str(folder / "a.html")]


def ask_result(folder: Path) -> Any:
    answer = timeless(json.loads((folder / "a.json").read_bytes()))
    return answer, files_in(folder / "out")


def make_slide(folder: Path) -> None:
    write_slide(folder / "slide.png")


def train_words(folder: Path) -> list[str]:
    return ["train", "sft", "--recipe", str(folder / "recipe.yaml")]


def make_training(folder: Path) -> None:
    """A model of some thousand parameters, four samples, and a recipe of three steps."""
    shutil.copytree(folder.parent / "start", folder / "start")
    (folder / "data").mkdir()
    samples = []
    for number in range(4):
        Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(folder / "data" / f"{number}.png")
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
    sft = {"steps": 3, "batch": 2, "budgets": {4: 1}, "checkpoint_every": 1, "validate_every": 3}
    recipe = {
        "output": str(folder / "out"),
        "data": {"folder": str(folder / "data")},
        "model": {"start": str(folder / "start")},
        "sft": {**sft, "validate_samples": 2},
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))


def swap_samples(folder: Path) -> None:
    """Put other samples in the place of the first ones."""
    train = folder / "data" / "train.jsonl"
    write_samples(folder / "other.jsonl", read_samples(train)[1:])
    (folder / "other.jsonl").replace(train)


def make_start(folder: Path) -> None:
    import torch
    from transformers import AutoModelForImageTextToText

    from napari_pathreason.training.model import save_checkpoint

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(tiny_config("qwen3_vl", tokenizer))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    save_checkpoint(folder, model, tokenizer, "start")


COMMANDS = {
    "detect": Command(
        detect_words, make_slide, swap_slide, lambda folder: files_in(folder / "out")
    ),
    "ask": Command(ask_words, make_slide, swap_slide, ask_result),
    "train": Command(
        train_words, make_training, swap_samples, lambda folder: files_in(folder / "out")
    ),
}


def touches(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an audit event is about a file in a folder; whatever it does there."""
    for one in arguments:
        if isinstance(one, str | bytes | os.PathLike):
            with contextlib.suppress(ValueError, TypeError):
                if os.fsdecode(one).startswith(folder):
                    return True
    return False


def start(words: list[str], folder: Path, fault: str = "", at: int = 0, swap: Any = None) -> Any:
    """Begin a command in a process of its own; its id, and where it says what."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    count, place, inside = 0, str(folder), False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count, inside
        if inside or not touches(event, arguments, place):
            return
        count += 1
        if fault == "count":
            return
        if count == at:
            inside = True  # what the fault itself does is no event
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault == "fill":
                resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            elif fault == "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif fault == "swap":
                swap(folder)
            inside = False

    sys.addaudithook(hook)
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.stderr.write(f"Traceback: {type(error).__name__}: {error}")
        code = 1
    if fault == "count":
        sys.stdout.write(f"\nEVENTS {count}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end(process: tuple[int, int]) -> tuple[int, str]:
    """Code of a process and what it said."""
    pid, read = process
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return (GONE if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), said


def stopped(process: tuple[int, int]) -> bool:
    """Whether it froze; False where it ended before."""
    _, status = os.waitpid(process[0], os.WUNTRACED)
    return os.WIFSTOPPED(status)


class Trials:
    """Trials of a command, each in a folder of its own.

    Parameters
    ----------
    command : Command
    root : Path
    """

    def __init__(self, command: Command, root: Path) -> None:
        self.command, self.root = command, root
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.events = self.whole = 0
        whole = self.fresh()
        code, said = end(start(command.words(whole), whole, "count"))
        assert code == 0, said
        self.events = int(said.rpartition("EVENTS ")[2])
        self.whole = self.placeless(whole)
        swapped = self.fresh()
        command.swap(swapped)
        code, said = end(start(command.words(swapped), swapped))
        assert code == 0, said
        self.other = self.placeless(swapped)
        assert self.other != self.whole

    def fresh(self) -> Path:
        """A new folder, always under the same name."""
        folder = self.root / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.command.make(folder)
        return folder

    def placeless(self, folder: Path) -> Any:
        """What a command has left."""
        return self.command.result(folder)

    def check(self, told: str, folder: Path) -> None:
        """Run a command again, as its user would, and compare what it leaves."""
        code, said = end(start(self.command.words(folder), folder))
        if code != 0:
            self.wrong.append(f"{told}: run again ended with {code}: {said[-300:]!r}")
        elif self.placeless(folder) != self.whole:
            self.wrong.append(f"{told}: run again left other files")
        elif left := [str(path) for path in folder.rglob(".pathreason-*")]:
            self.wrong.append(f"{told}: drafts are left: {left}")
        elif "Traceback" in said:
            self.wrong.append(f"{told}: run again said {said[-300:]!r}")

    def try_fault(self, fault: str, at: int, again: int) -> None:
        """One trial; a kill is followed by another one at event ``again`` of the second run."""
        folder = self.fresh()
        words = self.command.words(folder)
        told = f"{fault} at event {at} of {self.events}"
        self.counts[fault] += 1
        process = start(words, folder, fault, at, self.command.swap)
        if fault == "freeze":
            if stopped(process):
                code, said = end(start(words, folder))
                if code not in (0, 2) or "Traceback" in said:
                    self.wrong.append(f"{told}: another one ended with {code}: {said[-300:]!r}")
                os.kill(process[0], signal.SIGCONT)
                code, said = end(process)
                if code not in (0, 2) or "Traceback" in said:
                    self.wrong.append(f"{told}: thawed, it ended with {code}: {said[-300:]!r}")
            else:
                os.close(process[1])
            self.check(told, folder)
            return
        code, said = end(process)
        if fault == "kill":
            if code == 0:
                self.wrong.append(f"{told}: it lived")
            end(start(words, folder, "kill", again))  # it may end before
        elif "Traceback" in said or code not in (0, 2):
            self.wrong.append(f"{told}: it ended with {code}: {said[-300:]!r}")
        if fault == "swap":
            if code == 0 and self.placeless(folder) not in (self.whole, self.other):
                self.wrong.append(f"{told}: what it left belongs to neither of both")
            was_other = code == 0 and self.placeless(folder) == self.other
            out = folder / "out"
            shutil.move(out, self.root / "kept") if out.exists() else None
            self.fresh()
            if (self.root / "kept").exists():
                shutil.move(self.root / "kept", out)
            code, said = end(start(words, folder))
            if code == 2 and ("holds a run" in said or "keeps the readings" in said):
                self.counts["refused as another's"] += 1
                shutil.rmtree(out)
            elif was_other:
                self.wrong.append(f"{told}: what it was read from is not told apart: {said!r}")
        self.check(told, folder)


def run(name: str, root: Path, events: str, seed: int) -> Trials:
    """All trials of a command."""
    trials = Trials(COMMANDS[name], root)
    draw = random.Random(seed)
    places = list(range(1, trials.events + 1))
    if events != "all":
        share = len(places) / int(events)
        places = [places[int(share * (n + draw.random()))] for n in range(int(events))]
    for at in places:
        for fault in FAULTS:
            trials.try_fault(fault, at, draw.randint(1, trials.events))
    return trials


def begin() -> None:
    """Import what commands need, and put what is slow out of the way."""
    name, root, events, seed = sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3], sys.argv[4]
    root.mkdir(parents=True, exist_ok=True)
    if name == "train":
        make_start(root / "start")
        import_module("napari_pathreason.training.sft")
    else:
        models.load_models = load_reader
    trials = run(name, root, events, int(seed))
    for line in trials.wrong:
        print(line)  # noqa: T201
    counts = {"events": trials.events, "wrong": len(trials.wrong), **trials.counts}
    print(json.dumps(counts))  # noqa: T201


if __name__ == "__main__":
    begin()

"""A slide with dark spots, and a model that finds them; run as a program, a run to be killed."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.exports import UsedModel
from napari_pathreason.slide_run import AnswersHere, RunFinished, RunSettings, run_slide
from napari_pathreason.slides import open_slide
from napari_pathreason.types import (
    Allocation,
    Completion,
    GenerationSettings,
    ModelDims,
    ModelInfo,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
SPOTS = ((100, 100, 40, 60), (500, 300, 200, 30), (870, 610, 80, 80), (300, 560, 20, 20))
"""(x, y, w, h); with tiles of 256 px some lie on seams."""
SETTINGS = RunSettings(
    options=("spot",),
    mpp=0.5,
    tile=256,
    budget="native",
    batch=3,
    generation=GenerationSettings(zoom=False),
)
SAMPLE = files("napari_pathreason") / "sample_data" / "CMU-1-Small-Region.svs"
DETECT = ("--mpp", "1", "--tile", "384", "--budget", "16", "--device", "cpu", "--batch", "2")
USED = UsedModel("finder", "finder", "cpu", "abc")


class SpotFinder:
    """Draws a box around each dark spot of the picture; `seen` are the sizes it was given."""

    info = ModelInfo("finder", "qwen3_vl", "relative", DIMS)

    def __init__(self, delay=0.0):
        self.delay = delay
        self.seen = []

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        time.sleep(self.delay)
        self.seen.append(pixels.shape)
        text = f"<think>looked</think><answer>{json.dumps(boxes_in(pixels))}</answer>"
        yield text
        visual = pixels.shape[0] * pixels.shape[1] // 32**2
        finish = "cancelled" if cancel.is_set() else "stop"
        yield Completion(text, visual + 20, visual, 30, finish, 0.1)


class BatchFinder(SpotFinder):
    info = replace(SpotFinder.info, device="cuda")

    def __init__(self, delay=0.0):
        super().__init__(delay)
        self.batches = []

    def generate_batch(self, prompts, settings, cancel):
        self.batches.append(len(prompts))
        return [list(self.generate(prompt, settings, cancel))[-1] for prompt in prompts]


class Half:
    """Allots 16 tokens to what is mostly white, else all."""

    overview_budget = 4

    def allocate(self, overview, query, native, effort):
        dark = float((overview < 128).mean())
        return Allocation(None if dark > 0.01 else 16, "policy", 4, (0.25, 0.75), effort=effort)


@dataclass(frozen=True)
class LoadFinder:
    """Loads the finder; leaves a file that tells how often, and in which process."""

    folder: str
    delay: float = 0.0
    sha256: str = USED.sha256

    def identity(self):
        return self.sha256

    def __call__(self):
        Path(self.folder, f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return SimpleNamespace(performer=BatchFinder(self.delay), allocator=Half())


def boxes_in(pixels):
    from scipy.ndimage import find_objects, label

    height, width = pixels.shape[:2]
    spots, _ = label(pixels[..., 0] < 128)
    return [
        {
            "bbox_2d": [
                1000 * across.start / width,
                1000 * down.start / height,
                1000 * across.stop / width,
                1000 * down.stop / height,
            ],
            "label": "spot",
        }
        for down, across in find_objects(spots)
    ]


def write_slide(path, spots=SPOTS, shift=(0, 0)):
    """Write 1000 x 800 px of pink with dark spots; the rightmost quarter is glass."""
    pixels = np.full((800, 1000, 3), (230, 160, 200), np.uint8)
    pixels[:, 960:] = 250
    for x, y, w, h in spots:
        x, y = x + shift[0], y + shift[1]
        pixels[y : y + h, x : x + w] = 40  # black would be padding
    Image.fromarray(pixels).save(path)
    return path


def files_of(folder):
    """Contents of the result files; of the manifest all but the time."""
    told = {
        path.name: path.read_bytes()
        for path in Path(folder).iterdir()
        if path.name not in (".lock", "tiles.jsonl", "plan.json")
    }
    manifest = json.loads(told.pop("manifest.json"))
    del manifest["made"]
    return {**told, "manifest": manifest}


def kept_of(folder):
    """What a run goes on from, its plan and its tiles, without times and decoding."""
    plan = json.loads(Path(folder, "plan.json").read_text())
    del plan["made"]
    lines = Path(folder, "tiles.jsonl").read_text().splitlines()
    groups = [
        (
            group["key"],
            [{**tile, "seconds": None, "pixels_decoded": None} for tile in group["tiles"]],
        )
        for group in map(json.loads, lines)
    ]
    return plan, groups


def detect(
    slide_path, folder, performer, settings=SETTINGS, cancel=None, used=USED, mpp=0.5, **more
):
    """All events of a run."""
    with open_slide(slide_path, mpp) as slide:
        models = SimpleNamespace(performer=performer, allocator=Half())
        answers = AnswersHere(slide, lambda: models)
        return list(run_slide(slide, Path(folder), settings, used, answers, cancel, **more))


@pytest.fixture
def slide_path(tmp_path):
    return write_slide(tmp_path / "spots.png")


@pytest.fixture
def run(slide_path, tmp_path):
    """Run on the slide with spots; all of its settings can be given."""

    def go(folder=tmp_path / "run", performer=None, path=slide_path, **more):
        return detect(path, folder, performer or SpotFinder(), **more)

    return go


@pytest.fixture
def spots():
    """What this file makes, for tests that need more than a run."""
    return SimpleNamespace(
        boxes=SPOTS,
        settings=SETTINGS,
        used=USED,
        finder=SpotFinder,
        batch_finder=BatchFinder,
        load_finder=LoadFinder,
        write_slide=write_slide,
        files_of=files_of,
        kept_of=kept_of,
        program=__file__,
    )


@pytest.fixture
def detect_sample():
    """Start `pathreason detect` on the bundled slide: the process, and the folder of its run."""
    started = []

    def go(folder, *more):
        words = [sys.executable, "-m", "napari_pathreason.cli", "detect", str(SAMPLE)]
        process = subprocess.Popen(
            [*words, "-o", str(folder), *DETECT, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process, Path(folder) / SAMPLE.name

    yield go
    for process in started:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    settings = replace(SETTINGS, tile=128)
    *_, last = detect(sys.argv[1], sys.argv[2], BatchFinder(float(sys.argv[3])), settings)
    sys.exit(0 if isinstance(last, RunFinished) else last.reason)

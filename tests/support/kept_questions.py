"""Questions about a slide with dark spots, whose readings are kept.

``python -m tests.support.kept_questions SLIDE FOLDER DELAY POLICY FORM`` asks one, to be killed; it
prints the answer, without its times.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

from scipy.ndimage import find_objects, label

from napari_pathreason.engine import Job, result_of, result_to_dict
from napari_pathreason.exports import UsedModel
from napari_pathreason.geometry import Region
from napari_pathreason.slide_run import run_kept
from napari_pathreason.slides import open_slide
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    Request,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
TRAINED = Metadata(labels=("spot",), zoom_labels=("spot",), window=200)
USED = UsedModel("reader", "reader", "cpu", "abc")
QUERIES = {
    "count": Query("vqa", "How many spots are there?"),
    "yes/no": Query("vqa", "Is there a spot?", ("yes", "no")),
    "choice": Query("subtyping", "", ("spotted", "plain")),
    "boxes": Query("detection", "", ("spot",)),
}


class Reader:
    """Boxes dark spots, counts them, and says whether there are any; in windows of 200 px."""

    info = ModelInfo("reader", "qwen3_vl", "relative", DIMS, metadata=TRAINED)

    def __init__(self, delay=0.0):
        self.delay = delay
        self.seen = []

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        time.sleep(self.delay)
        self.seen.append(pixels.shape)
        spots, number = label(pixels[..., 0] < 128)
        instruction = prompt.messages[-1]["content"][-1]["text"]
        if "bbox" in instruction:
            answer = json.dumps([_box(place, pixels.shape) for place in find_objects(spots)])
        elif "yes" in instruction:
            answer = "yes" if number else "no"
        elif "spotted" in instruction:
            answer = "spotted" if number else "plain"
        else:
            answer = str(number)
        text = f"<think>{number} of them</think><answer>{answer}</answer>"
        yield text
        visual = pixels.shape[0] * pixels.shape[1] // 32**2
        finish = "cancelled" if cancel.is_set() else "stop"
        yield Completion(text, visual + 20, visual, 30, finish, 0.1)


def _box(place, shape):
    down, across = place
    x1, x2 = (1000 * x / shape[1] for x in (across.start, across.stop))
    y1, y2 = (1000 * y / shape[0] for y in (down.start, down.stop))
    return {"bbox_2d": [x1, y1, x2, y2], "label": "spot"}


class BatchReader(Reader):
    """Answers several at once."""

    info = replace(Reader.info, device="cuda")

    def generate_batch(self, prompts, settings, cancel):
        return [list(self.generate(prompt, settings, cancel))[-1] for prompt in prompts]


def request_of(slide, form="count", policy="uniform", budget="auto", **more):
    """What is asked of a whole slide."""
    region = Region(0, 0, slide.info.width, slide.info.height)
    settings = GenerationSettings(zoom=form == "boxes")
    return Request(region, QUERIES[form], budget, settings, policy=policy, **more)


def ask_kept(slide, folder, performer, request, used=USED, cancel=None, **more):
    """Events of the question."""
    job = Job(slide, request, **more)
    return run_kept(job, Path(folder), used, performer, None, cancel)


def told(result):
    """All that a result says, but for times and for what an open slide kept of its own tiles."""
    values = result_to_dict(result)
    for one in (values, *values["views"]):
        for name in ("seconds", "pixels_decoded"):
            one.pop(name, None)
    return values


if __name__ == "__main__":
    path, folder, delay, policy, form = sys.argv[1:]
    with open_slide(path, 0.5) as slide:
        request = request_of(slide, form, policy)
        result = result_of(ask_kept(slide, folder, Reader(float(delay)), request))
    sys.stdout.write(json.dumps(told(result)))

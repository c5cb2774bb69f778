"""``pathreason ask --together``: one question about several regions."""

import json
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image

from napari_pathreason import exports, slide_run
from napari_pathreason.engine import Finished, Job, regions_together, run_job
from napari_pathreason.geometry import Region
from napari_pathreason.models import LoadedModels
from napari_pathreason.slides import open_slide
from napari_pathreason.types import Completion, ModelInfo, Query, Request
from tests.cli.conftest import DIMS, Fixed64

BOTH = ["--region", "0", "0", "300", "300", "--region", "400", "100", "200", "200", "--together"]


class Comparer:
    info = ModelInfo("large", "qwen3_vl", "relative", DIMS)

    def __init__(self):
        self.prompts = []

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        visual = sum(h * w for h, w in prompt.shapes) // 32**2
        text = "<think>region 2: throughout</think><answer>the second</answer>"
        yield Completion(text, visual + 20, visual, 9, "stop", 0.1)


@pytest.fixture
def comparer(monkeypatch):
    performer = Comparer()
    loaded = LoadedModels(performer, Fixed64())
    monkeypatch.setattr("napari_pathreason.models.load_models", lambda *_, **__: loaded)
    return performer


def test_regions_are_compared_in_one_answer(shell, comparer, picture, tmp_path):
    manifest = tmp_path / "a.json"
    words = ["--question", "Which is darker?", "--budget", "64", "--manifest", str(manifest)]
    told = shell("ask", picture, *BOTH, *words)
    assert told.code == 0, told.err
    assert len(comparer.prompts) == 1
    assert len(comparer.prompts[0].pictures) == 2
    assert "Regions      2 regions (together, in one prompt)" in told.out
    assert "region 1 (" in told.out
    assert "the second" in told.out

    again = shell("ask", "--from", str(manifest), "--json", "-", "--model", "embedded", picture)
    assert again.code == 0, again.err
    result = json.loads(again.out)
    assert [view["name"] for view in result["views"][0]["views"]] == ["region 1", "region 2"]
    assert "differs" not in again.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--region", "0", "0", "300", "300", "--together"], "two or more"),
        ([*BOTH, "--policy", "uniform"], "leave out --views and --policy"),
        ([*BOTH, "--task", "detection", "--choices", "spot"], "one region at a time"),
    ],
)
def test_what_cannot_be_asked_together_is_one_line(shell, comparer, picture, words, told):
    done = shell("ask", picture, "--question", "Which?", *words)
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1


@pytest.fixture
def two_slides(comparer, picture, tmp_path):
    """Files of a question about two slides as a dock writes them: manifest, other slide."""
    other = tmp_path / "other" / "patient B.png"
    other.parent.mkdir()
    Image.fromarray(np.full((300, 400, 3), 40, np.uint8)).save(other)
    manifest = tmp_path / "run.json"
    request = Request(Region(0, 0, 1, 1), Query("vqa", "Which is darker?"), 64)
    regions = [Region(0, 0, 300, 300), Region(0, 0, 200, 200)]
    request = regions_together(request, regions, (), ["", "B"])
    with ExitStack() as opened:
        slide, second = (opened.enter_context(open_slide(file)) for file in (picture, other))
        job = Job(slide, request, others={"B": second})
        *_, end = run_job(job, comparer, Fixed64())
        assert isinstance(end, Finished)
        files = exports.AnswerFiles(
            [end.result],
            lambda: slide,
            lambda: slide_run.used_model("embedded"),
            others=[exports.ShownSlide("B", second.info, other)],
        )
        files.write(manifest)
    return manifest, other


def _again(shell, picture, manifest, *more):
    return shell("ask", "--from", str(manifest), "--model", "embedded", picture, *more)


def test_a_question_about_two_slides_is_repeated(shell, comparer, picture, two_slides, tmp_path):
    manifest, other = two_slides
    given = ["--other-slide", str(other), "--json", "-", "--manifest", str(tmp_path / "b.json")]
    again = _again(shell, picture, manifest, *given)
    assert again.code == 0, again.err
    assert "differs" not in again.err
    views = json.loads(again.out)["views"][0]["views"]
    assert [view["name"] for view in views] == ["region 1", "region 2"]
    assert views[1]["region"] == [0, 0, 200, 200]
    first, second = (prompt.pictures for prompt in comparer.prompts)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert "patient" not in str(comparer.prompts[1].messages)

    written = exports.read_manifest(tmp_path / "b.json")  # and from that once more
    assert written.others == exports.read_manifest(manifest).others
    assert str(other.parent) not in (tmp_path / "b.json").read_text()
    other.rename(tmp_path / other.name)  # beside the manifest it is found
    assert _again(shell, picture, tmp_path / "b.json").code == 0
    assert len(comparer.prompts) == 3


def test_where_the_other_slide_is_not_there_one_line_says_what_to_give(
    shell, comparer, picture, two_slides, tmp_path
):
    manifest, other = two_slides
    wrong = ["--other-slide", picture]
    for more in ([], wrong):
        done = _again(shell, picture, manifest, *more)
        assert done.code == 2
        assert "patient B.png" in done.err
        assert "give it with --other-slide" in done.err
        assert done.err.count("\n") == 1
    kept = _again(shell, picture, manifest, "--other-slide", str(other), "--keep", str(tmp_path))
    assert (kept.code, "one slide" in kept.err) == (2, True)
    value = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**value, "others": []}))  # an array in napari
    done = _again(shell, picture, manifest, "--other-slide", str(other))
    assert (done.code, "was no file" in done.err) == (2, True)
    done = shell("ask", picture, "--question", "Which?", "--other-slide", str(other))
    assert (done.code, "--from" in done.err) == (2, True)
    assert len(comparer.prompts) == 1  # the one that the fixture asked

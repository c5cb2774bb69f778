"""``pathreason ask --together``: one question about several regions."""

import json

import pytest

from napari_pathreason.models import LoadedModels
from napari_pathreason.types import Completion, ModelInfo
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

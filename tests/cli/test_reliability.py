"""What the shell says of an answer before it is asked for, above it, and beside it."""

import json
import re

import pytest

from napari_pathreason.cli import Column
from napari_pathreason.exports import read_geojson, reliability_in
from napari_pathreason.types import Answer

FIND = ("--task", "detection", "--choices", "spot")
NECROSIS = ("--question", "Is there necrosis?")


def told(out, name):
    """Values of the rows of a name."""
    rows = re.split(r"\n(?=\S)", out.strip())
    return [" ".join(row.split()[1:]) for row in rows if row.split()[0] == name]


def test_the_first_line_is_how_far_to_rely_on_it(shell, loads, picture):
    done = shell("ask", picture, *FIND)
    assert done.out.startswith("Reliability  uncertain: this model does not say what it was ")
    assert told(done.out, "Answer") == ["1 spot"]
    assert not told(done.out, "Guess")


def test_a_question_that_was_not_trained_on_is_told_before(shell, trained, picture, monkeypatch):
    monkeypatch.setattr("napari_pathreason.cli._ask._answer_all", lambda *_: 0)
    done = shell("ask", picture, *NECROSIS)
    assert done.out == ""
    assert done.err.splitlines() == [
        "pathreason: not trained on: necrosis; whatever it answers is a guess",
        "it can answer, for example:",
        "  --question 'How many nuclei are there?'",
        "  --task detection --choices spot",
        "  --question 'Which cell is it?' --choices 'red, old,white'",
    ]


def test_its_answer_is_a_guess(shell, trained, picture):
    done = shell("ask", picture, *NECROSIS, "--choices", "yes,no")
    assert done.code == 0
    assert done.out.startswith("Reliability  none: not trained on: necrosis")
    assert told(done.out, "Answer") == ["No reliable answer"]
    assert not told(done.out, "Confidence")


def test_it_is_told_once_for_all_regions(shell, trained, picture):
    regions = ("--region", 0, 0, 640, 480, "--region", 200, 100, 200, 200)
    done = shell("ask", picture, *NECROSIS, *regions, "--json", "-")
    assert done.err.count("not trained on") == 1
    levels = [one["reliability"]["level"] for one in json.loads(done.out)]
    assert levels == ["none", "none"]


def test_what_it_was_trained_on_is_asked_without_a_word(shell, trained, picture):
    assert shell("ask", picture, *FIND, "--mpp", 0.5).err == ""
    assert shell("ask", picture, "--question", "How many nuclei are there?").err == ""


@pytest.mark.parametrize("more", [(), ("--region", 0, 0, 64, 64, "--region", 9, 9, 99, 99)])
def test_what_it_cannot_look_for_is_refused(shell, trained, picture, tmp_path, more):
    out = tmp_path / "a.geojson"
    words = ("--task", "detection", "--choices", "spot,mitosis", "--geojson", out)
    done = shell("ask", picture, *words, *more)
    assert (done.code, done.out) == (2, "")
    assert done.err == "pathreason: cannot look for mitosis; it can look for: spot\n"
    assert not out.exists()


def test_words_of_a_model_cannot_steer_the_terminal(shell, trained, picture):
    done = shell("ask", picture, "--task", "detection", "--choices", "a\x1b[31mb")
    assert done.code == 2
    assert "\x1b" not in done.err


@pytest.fixture
def scrawl(monkeypatch):
    """A model whose replies cannot be read."""
    from napari_pathreason.tasks import TASKS

    task = TASKS["detection"]
    monkeypatch.setattr(
        type(task), "parse", lambda self, text, query: Answer("", "", (), False, "[[ scrawl")
    )


def test_a_reply_that_cannot_be_read_is_no_answer(shell, loads, picture, scrawl, tmp_path):
    done = shell("ask", picture, *FIND, "--json", tmp_path / "a.json")
    assert done.out.startswith("Reliability  none: the model's reply could not be read")
    assert told(done.out, "Answer") == ["No reliable answer"]
    assert told(done.out, "Reply") == ["The model's reply could not be read"]
    assert not told(done.out, "Guess")
    assert "none found" not in done.out
    assert "[[" not in done.out
    assert json.loads((tmp_path / "a.json").read_text())["reply"] == "[[ scrawl"


def test_the_same_in_every_file(shell, loads, picture, scrawl, tmp_path):
    names = ("geojson", "csv", "report", "transcript", "manifest")
    files = {name: tmp_path / f"a.{name}" for name in names}
    words = [word for name, file in files.items() for word in (f"--{name}", file)]
    assert shell("ask", picture, *FIND, *words, "--unreliable-class").code == 0
    for file in files.values():
        assert "none found" not in file.read_text()
        assert "reply could not be read" in file.read_text().replace("&#39;", "'")
    (region,) = read_geojson(files["geojson"])
    assert region.label == "Unreliable"
    assert reliability_in(region.metadata).level == "none"


def test_another_judgement_than_the_run_gave_is_said(shell, loads, picture, tmp_path):
    manifest = tmp_path / "run.json"
    assert shell("ask", picture, *FIND, "--manifest", manifest).code == 0
    assert shell("ask", "--from", manifest).err == ""
    run = json.loads(manifest.read_text())
    assert run["entries"][0]["reliability"]["level"] == "uncertain"
    run["entries"][0]["reliability"] = {"level": "reliable", "reasons": []}
    manifest.write_text(json.dumps(run))
    done = shell("ask", "--from", manifest)
    assert done.code == 0
    assert "the run judged the answer otherwise, then reliable; now uncertain: " in done.err


def test_a_figure_says_it_above_the_answer(shell, trained, picture, tmp_path, monkeypatch):
    lines = []
    write = Column.text

    def text(self, text, *more, **other):
        lines.append(text)
        write(self, text, *more, **other)

    monkeypatch.setattr("napari_pathreason.cli._figure.Column.text", text)
    words = ("--task", "detection", "--choices", "spot", "--question", "Find necrosis.")
    assert shell("ask", picture, *words, "--figure", tmp_path / "a.png").code == 0
    first = next(one for one in lines if one.startswith("Not reliable: not trained on: necrosis"))
    small = ("ANSWER", "No reliable answer", "Guess: 1 spot", "GUESSED")
    at = [lines.index(one) for one in (first, *small)]
    assert at == sorted(at)

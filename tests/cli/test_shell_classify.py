"""``pathreason classify``: one question over every tile of slides."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

RUN = ("--slide-mpp", 0.5, "--mpp", 0.5, "--tile", 160, "--question", "Which cell is it?")
CHOICES = ("--choices", "red,white")


@pytest.fixture
def stained(tmp_path):
    """480 x 320 px of pink."""
    file = tmp_path / "stained.png"
    Image.fromarray(np.full((320, 480, 3), (230, 160, 200), np.uint8)).save(file)
    return file


def test_a_slide_becomes_a_folder_that_a_second_run_finds_done(shell, loads, stained, tmp_path):
    words = ("classify", stained, "-o", tmp_path / "out", *RUN, *CHOICES)
    done = shell(*words)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(
        "stained.png: 0 of 6 tiles reliable, 6 no reliable answer (6 replies"
    )
    folder = tmp_path / "out" / "stained.png"
    with (folder / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["red", "white", "no reliable answer"]
    assert [row["tiles"] for row in rows] == ["0", "0", "6"]  # the spot finder writes boxes
    told = shell(*words, "--json", "-")
    assert json.loads(told.out)[0]["classes"][2]["tiles"] == 6
    assert "finished before" in shell(*words).out
    assert len(loads) == 1


def test_what_is_missing_is_one_line(shell, loads, stained, tmp_path):
    words = ("classify", stained, "-o", tmp_path / "out", "--slide-mpp", 0.5)
    for more, line in (
        ((), "the question is empty; write what every tile is asked"),
        (("--task", "subtyping"), "a map needs at least two classes"),
        (("--question", "How is it?"), "the answers to this question are no classes"),
    ):
        done = shell(*words, *more)
        assert done.code == 2
        assert done.err.startswith(f"pathreason: {line}")
        assert done.err.count("\n") == 1
    assert not (tmp_path / "out" / "stained.png" / "plan.json").exists()

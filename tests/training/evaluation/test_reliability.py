"""What a model is relied on for, measured on questions with and without answers."""

import json
from random import Random

import numpy as np
import pytest
from PIL import Image

from napari_pathreason import QueryError, Reliability
from napari_pathreason.cli import main
from napari_pathreason.training.evaluation import (
    Assessed,
    ReliabilityPlan,
    answerable,
    as_json,
    curve,
    page,
    provenance_of,
    read_questions,
    shares,
    unanswerable,
)
from napari_pathreason.training.samples import Pictures, read_samples
from napari_pathreason.types import Query
from tests.support import make_tiny_checkpoint

NONE = Reliability("none", ("not trained on: necrosis",))
UNSURE = Reliability("uncertain", ("low confidence",))
GOOD = Reliability("reliable")


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("# comment\n\nIs there necrosis? | yes, no\nGrade this\n", encoding="utf-8")
    return path


@pytest.fixture
def foreign(tmp_path):
    """A slide half glass, half green."""
    rng = np.random.default_rng(0)
    pixels = np.full((800, 1600, 3), 245, np.uint8)
    pixels[:, 800:] = rng.integers(0, 60, (800, 800, 3)) + np.array([0, 150, 0])
    path = tmp_path / "green.png"
    Image.fromarray(pixels).save(path)
    return path


def test_questions_are_read_with_their_choices(questions, tmp_path):
    assert read_questions(questions) == [
        Query("vqa", "Is there necrosis?", ("yes", "no")),
        Query("vqa", "Grade this"),
    ]
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(QueryError, match="one a line"):
        read_questions(tmp_path / "empty.txt")
    with pytest.raises(QueryError, match="text file"):
        read_questions(tmp_path / "missing.txt")


def test_the_groups_without_answers(converted, questions, foreign):
    samples, pictures = read_samples(converted / "val.jsonl"), Pictures(converted)
    asked = list(
        unanswerable(samples, pictures, read_questions(questions), [foreign], 22, Random(0))
    )
    groups = [case.group for case in asked]
    assert len(asked) == 22
    assert [groups.count(name) for name in dict.fromkeys(groups)] == [5, 5, 4, 4, 4]
    assert all(case.score is None for case in asked)
    for case in asked:
        pixels = case.slide.read_region(case.region, (128, 128)).pixels
        if case.group == "foreign tissue":
            assert (pixels[..., 1] > pixels[..., 0]).mean() > 0.25
        if case.group == "glass":
            assert pixels.min() >= 240
        if case.group == "not trained on":
            assert case.query in read_questions(questions)


def test_those_with_answers_take_turns_and_are_scored(converted):
    samples, pictures = read_samples(converted / "val.jsonl"), Pictures(converted)
    kinds = {sample.kind for sample in samples}
    asked = list(answerable(samples, pictures, len(kinds), 32, Random(0)))
    assert {case.group for case in asked} == kinds
    assert all(case.score is not None for case in asked)


def assessed(answerable, reliability, confidence, score):
    return Assessed("some", answerable, reliability, confidence, score)


def test_shares_of_both_sets():
    items = [
        assessed(False, NONE, 0.9, 0),
        assessed(False, GOOD, 0.2, 0),
        assessed(True, UNSURE, 0.4, 1),
    ]
    assert [(row.group, row.counts) for row in shares(items)] == [
        ("some", (1, 0, 1)),
        ("cannot be answered", (1, 0, 1)),
        ("can be answered", (0, 1, 0)),
    ]
    assert "| **cannot be answered** | 2 | 0.500 | 0.000 | 0.500 |" in page(
        items, "All figures: n 4."
    )
    assert [json.loads(line)["level"] for line in as_json(items).splitlines()] == [
        "none",
        "reliable",
        "uncertain",
    ]


def test_the_page_says_of_what_and_by_what_it_was_made(converted, questions, foreign):
    plan = ReliabilityPlan("m", converted / "val.jsonl", questions, (foreign,), seed=3)
    made = {"command": "pathreason reliability m", "version": "1.2", "commit": "abc"}
    line = provenance_of(plan, 400, made)
    assert line.startswith("All figures: n 400, split val, seed 3, budget auto, data ")
    assert line.endswith(", version 1.2, commit abc; `pathreason reliability m`.")
    assert page([assessed(True, GOOD, 0.5, 1)] * 3, line).endswith(f"\n\n{line}")


def test_the_curve_relies_on_the_level_first_and_then_on_confidence():
    right = [assessed(True, GOOD, 0.9 - i / 100, 1.0) for i in range(5)]
    wrong = [assessed(True, UNSURE, 1.0, 0.0)] * 5
    points = curve([*wrong, *right])
    assert points[4] == (0.5, 0.0)
    assert points[-1] == (1.0, 0.5)
    assert [risk for _, risk in points] == sorted(risk for _, risk in points)


def test_the_command(converted, questions, foreign, tmp_path, capsys):
    folder = make_tiny_checkpoint(tmp_path / "model")
    words = ["reliability", str(folder), "--data", str(converted / "val.jsonl"), "--number", "1"]
    words += ["--questions", str(questions), "--unlike", str(foreign), "--budget", "4"]
    target = tmp_path / "page.md"
    target.write_text("Words.\n<!-- reliability: begin -->\n<!-- reliability: end -->\n")
    figure, items = tmp_path / "curve.png", tmp_path / "items.jsonl"
    words += ["--markdown", str(target), "--figure", str(figure), "--items", str(items)]
    assert main([*words, "--device", "cpu"]) == 0
    assert "**can be answered** | 1 | 0.000" in capsys.readouterr().out  # nothing is known of it
    assert "cannot be answered" in target.read_text()
    assert figure.stat().st_size > 1000
    assert len(items.read_text().splitlines()) == 2

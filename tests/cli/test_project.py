"""``pathreason ask --project``: one question over the annotations of many slides."""

import csv
import shutil

import pytest

from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box

FIND = ["--task", "detection", "--choices", "spot", "--budget", "native", "--mpp", "0.5"]


@pytest.fixture
def project(picture, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(picture, folder / f"{name}.png")
        write_geojson(folder / f"{name}.geojson", [Feature(Box(0, 0, 640, 480), name="all")])
    shutil.copy(picture, folder / "c.png")
    (folder / "slides.csv").write_text("slide,case\na.png,P1\nb.png,P1\nc.png,P2\n")
    return folder


def test_a_list_is_asked_about_and_gone_on_with(shell, loads, project):
    told = shell("ask", "--project", str(project / "slides.csv"), *FIND)
    assert told.code == 0, told.err
    assert "2 annotations" in told.out
    assert "a.png, all: " in told.out
    assert "2 of 2 answered, tables in slides-answers" in told.out
    assert "without annotations: c.png" in told.err
    numbers = (project / "slides-answers/numbers.csv").read_text()
    rows = list(csv.DictReader(numbers.splitlines()))
    assert [(row["of"], row["case"]) for row in rows] == [
        ("slide", "P1"),
        ("slide", "P1"),
        ("case", "P1"),
    ]
    again = shell("ask", "--project", str(project / "slides.csv"), *FIND)
    assert again.code == 0, again.err
    assert "2 answered before" in again.out
    assert "a.png, all" not in again.out


def test_a_folder_is_a_project_and_answers_may_lie_elsewhere(shell, loads, project, tmp_path):
    told = shell("ask", "--project", str(project), *FIND, "--answers", str(tmp_path / "out"))
    assert told.code == 0, told.err
    assert (tmp_path / "out/geojson/a.png.geojson").is_file()
    assert not (project / "pathreason-answers").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--json", "-"], "leave out --json"),
        (["--then", "Why?"], "leave out --then"),
        (["--region", "0", "0", "9", "9"], "leave out --region"),
    ],
)
def test_what_makes_no_sense_is_refused(shell, loads, project, words, told):
    found = shell("ask", "--project", str(project / "slides.csv"), *FIND, *words)
    assert found.code != 0
    assert told in found.err


def test_answers_without_a_project_are_refused(shell, loads, picture):
    told = shell("ask", picture, "--question", "Is there a spot?", "--answers", "out")
    assert told.code != 0
    assert "--answers is where those of a --project are kept" in told.err


def test_answers_are_classes_of_regions(shell, loads, picture, tmp_path):
    path = tmp_path / "a.geojson"
    told = shell(
        *("ask", picture, "--question", "Is there a spot?", "--geojson", str(path)),
        "--answer-class",
    )
    assert told.code == 0, told.err
    assert path.is_file()

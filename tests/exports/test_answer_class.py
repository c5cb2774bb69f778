"""Answers as QuPath classes of their regions: written, and read back as QuPath does."""

from dataclasses import replace

import pytest
import shapely
from hypothesis import given, strategies as st

from napari_pathreason.exports import (
    AnswerFiles,
    features_of_marks,
    marks_of,
    new_run,
    read_geojson,
    write_geojson,
)
from napari_pathreason.types import Answer, Query, Reliability, Request
from tests.exports.conftest import result_with

YES_NO = Query("vqa", "Is there tumour?", ("yes", "no"))
OUTLINE = ((100.0, 200.0), (1100.0, 200.0), (100.0, 1000.0))


def answer(text, **more):
    return result_with(query=YES_NO, answer=Answer("", text), **more)


def written(results, path, **more):
    marks = marks_of(results, new_run(), answer_class=True)
    write_geojson(path, features_of_marks(marks, **more))
    return list(read_geojson(path))


def test_regions_have_the_class_of_their_answer_and_a_colour_for_each(tmp_path):
    results = [answer("yes"), answer("no"), answer("yes")]
    objects = written(results, tmp_path / "a.geojson")
    assert [one.label for one in objects] == ["yes", "no", "yes"]
    assert objects[0].colour == objects[2].colour != objects[1].colour
    assert all(one.object_type == "annotation" and one.locked for one in objects)


def test_a_guess_is_no_class(tmp_path):
    guess = answer("yes", reliability=Reliability("none", ("not trained on it",)))
    (one,) = written([guess], tmp_path / "a.geojson")
    assert one.label == ""
    (one,) = written([guess], tmp_path / "a.geojson", unreliable_class=True)
    assert one.label == "Unreliable"


def test_boxes_keep_their_own_classes(tmp_path):
    found = result_with(("tumour", 200, 300, 50, 50))
    region, box = written([found], tmp_path / "a.geojson")
    assert (region.label, box.label) == ("", "tumour")


def test_a_region_is_its_outline(tmp_path):
    asked = Request(answer("yes").region, YES_NO, outline=OUTLINE)
    (one,) = written([replace(answer("yes"), request=asked)], tmp_path / "a.geojson")
    assert one.shape.equals(shapely.Polygon(OUTLINE))
    assert one.measurements["Area \N{MICRO SIGN}m^2"] == pytest.approx(1000 * 800 / 2 * 0.5 * 0.25)


def test_files_do_it_where_it_is_wanted(tmp_path):
    labels = []
    for wanted in (False, True):
        files = AnswerFiles([answer("yes")], lambda: None, lambda: None, answer_class=wanted)
        files.write(tmp_path / "a.geojson")
        labels += [one.label for one in read_geojson(tmp_path / "a.geojson")]
    assert labels == ["", "yes"]


@given(st.text(max_size=200))
def test_any_answer_comes_back_as_one_class(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "a.geojson"
    (one,) = written([answer(text)], path)
    assert len(one.classes) <= 1
    assert len(one.label) <= 60
    assert bool(one.label) == bool(text.split())

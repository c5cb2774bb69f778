"""Which slides form a project, and what their annotations ask about."""

import json

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box, Region
from napari_pathreason.project import annotations_of, read_project


@pytest.fixture
def folder(tmp_path):
    """Two slides with annotations, one without, and what else may lie in a folder."""
    for name in ("b.svs", "a.tiff", "c.svs", "notes.txt", ".hidden", "a.csv"):
        (tmp_path / name).write_text("nothing")
    square = [Feature(Box(0, 0, 10, 10), name="one")]
    write_geojson(tmp_path / "a.geojson", square)
    write_geojson(tmp_path / "b.svs.geojson.gz", square)
    (tmp_path / "pathreason-answers").mkdir()
    return tmp_path


def test_a_folder_has_its_slides_by_name(folder):
    project = read_project(folder)
    assert [slide.name for slide in project.slides] == ["a.tiff", "b.svs"]
    assert [slide.annotations.name for slide in project.slides] == ["a.geojson", "b.svs.geojson.gz"]
    assert project.without == ("c.svs",)
    assert project.answers == folder / "pathreason-answers"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_list_says_what_is_a_case(folder, mark):
    path = folder / "slides.csv"
    rows = [["Slide", "annotations", "case"], ["b.svs", "", "P1"], ["c.svs", "a.geojson", "P1"]]
    path.write_text("".join(f"{mark.join(row)}\n" for row in rows), "utf-8-sig")
    project = read_project(path)
    assert [(one.name, one.case) for one in project.slides] == [("b.svs", "P1"), ("c.svs", "P1")]
    assert [one.annotations.name for one in project.slides] == ["b.svs.geojson.gz", "a.geojson"]
    assert project.answers == folder / "slides-answers"


def test_a_text_file_has_a_slide_a_line(folder):
    (folder / "slides.txt").write_text("b.svs\n\nc.svs\n")
    project = read_project(folder / "slides.txt")
    assert [one.name for one in project.slides] == ["b.svs"]
    assert project.without == ("c.svs",)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slide\nd.svs\n", "d.svs, slide 1 of l.csv, is not there"),
        ("slide,annotations\nb.svs,d.geojson\n", "d.geojson, the annotations of slide 1"),
        ("slide\n" + "c" * 300 + "\n", "slide 1 of l.csv, is not there"),
        ("slide,annotations\nb.svs," + "c" * 300 + "\n", "the annotations of slide 1"),
        ("slide\n" + "c" * 200_000 + "\n", "l.csv is no table"),
        ("file\nb.svs\n", "no column slide"),
        ("", "no column slide"),
        ("slide\nc.svs\n", "no slide of l.csv has annotations"),
        ("slide\nb.svs\nb.svs\n", "more than one slide named b.svs"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(folder, text, told):
    (folder / "l.csv").write_text(text)
    with pytest.raises(QueryError, match=told):
        read_project(folder / "l.csv")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(QueryError, match="is not there"):
        read_project(tmp_path / "none")


def test_annotations_are_polygons_with_names(tmp_path):
    def feature(geometry, **properties):
        return {"type": "Feature", "geometry": geometry, "properties": properties}

    def ring(x, y, side=10.5):
        return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]

    triangle = [[100, 0], [120, 0], [100, 20], [100, 0]]
    objects = [
        feature({"type": "Polygon", "coordinates": [ring(0.5, 0)]}, name="  Gland\n1 "),
        feature({"type": "Polygon", "coordinates": [triangle]}, classification={"name": "Tumor"}),
        feature({"type": "Polygon", "coordinates": [ring(0, 0)]}, objectType="detection"),
        feature({"type": "Point", "coordinates": [3, 3]}),
        feature({"type": "LineString", "coordinates": [[3, 3], [9, 9]]}),
        feature({"type": "MultiPolygon", "coordinates": [[ring(0, 50)], [triangle]]}),
        feature(
            {"type": "Polygon", "coordinates": [ring(0, 0)]}, classification={"name": "Window"}
        ),
    ]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": objects}))
    found = annotations_of(path)
    assert [one.name for one in found] == ["Gland 1", "Tumor", "3 (1)", "3 (2)"]
    assert found[0].region == Region(0, 0, 11, 11)
    assert found[0].outline == ()
    assert len(found[1].outline) == 3

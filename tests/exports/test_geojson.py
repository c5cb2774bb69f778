"""What is written is valid, is what QuPath reads, and comes back as it was."""

import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import shape

from napari_pathreason.engine import read_outlines
from napari_pathreason.errors import ExportError, RegionError
from napari_pathreason.exports import (
    Feature,
    detections_in,
    features_of_marks,
    marks_of,
    read_geojson,
    write_geojson,
)
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Detection

places = st.floats(-10, 300_000)
boxes = st.builds(Box, places, places, st.floats(0.01, 50_000), st.floats(0.01, 50_000))
words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
labels = st.one_of(words, st.sampled_from(["Tumor: Positive", "a:b", ": x", "= 1 + 1"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("geojson")


@settings(max_examples=60)
@given(found=st.lists(st.tuples(labels, boxes), max_size=5), packed=st.booleans())
def test_boxes_and_labels_come_back(make_result, folder, run, found, packed):
    path = folder / ("a.geojson.gz" if packed else "a.geojson")
    result = make_result(*((label, box.x, box.y, box.w, box.h) for label, box in found))
    marks = list(marks_of([result], run))
    assert write_geojson(path, features_of_marks(marks)) == len(found) + 1
    back = list(detections_in(read_geojson(path)))
    assert [one.label for one in back] == [" ".join(label.split()) for label, _ in found]
    for one, (_, box) in zip(back, found, strict=True):
        assert one.box.corners == pytest.approx(box.corners, abs=0.00051, rel=0)


near = st.integers(-5, 5)
rings = st.lists(st.tuples(near, near), min_size=3, max_size=12)


@settings(max_examples=150)
@given(ring=rings, zoom=st.sampled_from([1, 1e-4, 0.3333, 977.7]))
def test_polygons_are_always_valid(folder, ring, zoom):
    drawn = shapely.Polygon([(x * zoom, y * zoom) for x, y in ring])
    path = folder / "polygon.geojson"
    write_geojson(path, [Feature(drawn)])
    (told,) = json.loads(path.read_text())["features"]
    written = shape(told["geometry"])
    assert written.geom_type in ("Polygon", "MultiPolygon")
    assert written.is_valid
    assert written.area > 0
    (back,) = read_geojson(path)
    again = folder / "again.geojson"
    write_geojson(again, [Feature(back.shape)])
    (once_more,) = read_geojson(again)
    assert shapely.box(*once_more.box.corners).equals(shapely.box(*back.box.corners))


@given(box=st.builds(Box, places, places, st.floats(0, 1e-5), st.floats(-3, 0.0004)))
def test_a_box_without_area_is_still_valid(folder, box):
    path = folder / "thin.geojson"
    write_geojson(path, [Feature(box)])
    (told,) = json.loads(path.read_text())["features"]
    assert shape(told["geometry"]).is_valid
    assert shape(told["geometry"]).area > 0


def test_the_words_of_qupath(make_result, tmp_path, run):
    path = tmp_path / "a.geojson"
    result = make_result(("Tumor: Positive", 150, 250, 40, 20), ("Stroma", 10, 20, 30, 40))
    write_geojson(path, features_of_marks(marks_of([result], run)))
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["type"] == "FeatureCollection"
    region, tumour, stroma = told["features"]
    assert region["properties"]["objectType"] == "annotation"
    assert region["properties"]["isLocked"] is True
    assert region["properties"]["metadata"]["um per pixel"] == "0.5 0.25"
    assert "classification" not in region["properties"]
    assert tumour["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[150, 250], [190, 250], [190, 270], [150, 270], [150, 250]]],
    }
    assert tumour["properties"]["objectType"] == "detection"
    assert tumour["properties"]["classification"]["name"] == "Tumor: Positive"
    assert tumour["properties"]["measurements"] == {
        "Reliability": 2,
        "Visual tokens": 62,
        "Area µm^2": 100.0,
    }
    metadata = tumour["properties"]["metadata"]
    assert metadata["question"] == "Where is it?"
    assert metadata["rationale"] == "one dark spot"
    assert metadata["model"] == "finder"
    assert metadata["run"] == run
    colours = [one["properties"]["classification"]["color"] for one in (tumour, stroma)]
    assert colours[0] != colours[1]
    assert len({one["id"] for one in told["features"]}) == 3


def test_a_run_has_one_file(make_result, tmp_path, run):
    for name in ("a.geojson.gz", "b.geojson.gz"):
        result = make_result(("x", 1, 2, 3, 4))
        write_geojson(tmp_path / name, features_of_marks(marks_of([result], run)))
    assert (tmp_path / "a.geojson.gz").read_bytes() == (tmp_path / "b.geojson.gz").read_bytes()


def test_no_pixel_size_no_area(make_result, tmp_path, run):
    path = tmp_path / "a.geojson"
    marks = marks_of([make_result(("x", 1, 2, 3, 4), mpp=None)], run)
    write_geojson(path, features_of_marks(marks))
    assert "µm" not in path.read_text(encoding="utf-8")


QUPATH = """
{"type": "FeatureCollection", "features": [
  {"type": "Feature", "id": "6f0e3f3e-3a5e-4a7c-8a43-0123456789ab",
   "geometry": {"type": "Polygon", "coordinates": [
      [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]],
      [[40, 40], [60, 40], [60, 60], [40, 60], [40, 40]]]},
   "properties": {"objectType": "annotation", "name": "core of it", "isLocked": true,
      "classification": {"name": "Tumor: Positive", "color": [200, 0, 0]},
      "measurements": {"Area": 9600.0, "H-score": NaN}, "metadata": {"by": "a reader"}}},
  {"type": "Feature", "id": "PathCellObject",
   "geometry": {"type": "MultiPolygon", "coordinates": [
      [[[0, 0], [10, 0], [10, 10], [0, 0]]], [[[20, 20], [30, 20], [30, 30], [20, 20]]]]},
   "nucleusGeometry": {"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]},
   "properties": {"classification": {"names": ["Immune", "CD3"], "colorRGB": -3670016},
      "measurements": [{"name": "Nucleus area", "value": 12.5}]}},
  {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]},
   "properties": {"objectType": "annotation", "color": [1, 2, 3],
      "childObjects": [{"type": "Feature", "properties": {"object_type": "tile"},
         "geometry": {"type": "Polygon",
            "coordinates": [[[5, 5], [5, 9], [8, 9], [8, 5], [5, 5]]]}}]}},
  {"type": "Feature", "geometry": null, "properties": {"objectType": "root"}},
  {"type": "Feature", "geometry": {"type": "Polygon",
      "coordinates": [[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]}, "properties": {}}
]}
"""


def check_qupath(read):
    hole, cell, points, tile, crossed = read
    assert hole.classes == ("Tumor", "Positive")
    assert hole.label == "Tumor: Positive"
    assert hole.name == "core of it"
    assert hole.locked
    assert hole.colour == (200, 0, 0)
    assert hole.shape.area == 9600
    assert hole.metadata == {"by": "a reader"}
    assert cell.object_type == "cell"
    assert cell.id == ""
    assert cell.label == "Immune: CD3"
    assert cell.colour == (200, 0, 0)
    assert cell.measurements == {"Nucleus area": 12.5}
    assert cell.shape.geom_type == "MultiPolygon"
    assert cell.box == Box(0, 0, 30, 30)
    assert points.shape.geom_type == "MultiPoint"
    assert points.colour == (1, 2, 3)
    assert tile.object_type == "tile"
    assert tile.shape == Box(5, 5, 3, 4)
    assert crossed.shape.is_valid
    assert crossed.shape.area == pytest.approx(8)


def test_what_qupath_writes_is_read(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text("\ufeff" + QUPATH, encoding="utf-8")
    check_qupath(read_geojson(path))


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_a_file_is_read_piece_by_piece(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("napari_pathreason.exports._geojson.CHUNK", chunk)
    path = tmp_path / "named.geojson"  # packed, though its name does not say so
    path.write_bytes(gzip.compress(QUPATH.encode()))
    check_qupath(read_geojson(path))


def test_what_is_written_of_it_comes_back(tmp_path):
    path, again = tmp_path / "a.geojson", tmp_path / "b.geojson"
    path.write_text(QUPATH, encoding="utf-8")
    write_geojson(again, read_geojson(path))
    check_qupath(read_geojson(again))


RING = '{"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 5], [0, 5], [0, 0]]]}'
FEATURE = f'{{"type": "Feature", "geometry": {RING}, "properties": null}}'


@pytest.mark.parametrize(
    "text",
    [
        RING,
        FEATURE,
        f"[{FEATURE}]",
        f'{{"features": [{FEATURE}], "type": "FeatureCollection", "crs": {{"n": [1]}}}}',
        f'{{"crs": 12, "features": [{FEATURE}]}}',
    ],
)
def test_every_kind_of_geojson(tmp_path, text):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    assert [one.box for one in read_geojson(path)] == [Box(0, 0, 4, 5)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[1, 2",
        '{"features": [',
        f'{{"features": [{FEATURE}',
        f"[{FEATURE}] []",
        f"[{FEATURE}, {FEATURE[:-30]}",
        "[{}]",
        '{"type": "Polygon", "coordinates": [[["a", 1], [2, 3], [4, 5], ["a", 1]]]}',
        '{"type": "Point", "coordinates": [NaN, 1]}',
        '{"type": "Blob", "coordinates": []}',
    ],
)
def test_what_is_broken_is_one_line(tmp_path, text):
    path = tmp_path / "broken.geojson"
    path.write_text(text)
    with pytest.raises(ExportError, match=r"broken\.geojson") as caught:
        list(read_geojson(path))
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_packed_file_and_a_missing_one(tmp_path):
    path = tmp_path / "cut.geojson.gz"
    path.write_bytes(gzip.compress(QUPATH.encode())[:200])
    with pytest.raises(ExportError, match="damaged"):
        list(read_geojson(path))
    with pytest.raises(ExportError, match="check its name"):
        list(read_geojson(tmp_path / "none.geojson"))


def test_writing_takes_one_after_the_other(tmp_path):
    alive, most = set(), 0

    def features():
        nonlocal most
        for index in range(50):
            alive.add(index)
            yield Feature(Box(index, 0, 1, 1))
            alive.discard(index)
            most = max(most, len(alive))

    assert write_geojson(tmp_path / "a.geojson", features()) == 50
    assert most == 0


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text("before")

    def failing():
        yield Feature(Box(0, 0, 1, 1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_geojson(path, failing())
    with pytest.raises(ExportError, match="no place"):
        write_geojson(path, [Feature(Box(0, float("nan"), 1, 1))])
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["a.geojson"]


def test_no_such_folder(tmp_path):
    with pytest.raises(ExportError, match=r"a\.geojson cannot be written") as caught:
        write_geojson(tmp_path / "none" / "a.geojson", [])
    assert str(tmp_path) not in str(caught.value)


def test_detections_of_another_program(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(FEATURE.replace("null", '{"classification": {"name": "gland"}}'))
    assert list(detections_in(read_geojson(path))) == [Detection("gland", Box(0, 0, 4, 5))]


# hostile or broken


def refusal(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    start = time.process_time()
    with pytest.raises(ExportError) as caught:
        list(read_geojson(path))
    assert time.process_time() - start < 3
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    assert str(path.parent) not in message
    return message


RING = "[[[0,0],[%s,0],[10,10],[0,0]]]"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"5"', "null", "true"])
def test_a_coordinate_that_is_no_number(tmp_path: Path, number: str):
    geometry = f'{{"type":"Polygon","coordinates":{RING % number}}}'
    text = f'{{"type":"Feature","properties":{{}},"geometry":{geometry}}}'
    assert "broken coordinates" in refusal(tmp_path / "a.geojson", text)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"Feature","geometry":null,"properties":{"childObjects":5}}',
        '{"type":"FeatureCollection","features":5}',
        '{"type":"FeatureCollection","features":[5]}',
        '{"type":"Feature","geometry":5,"properties":{}}',
        '{"type":"Feature","geometry":{"type":"Polygon"},"properties":{}}',
        '{"type":"Feature","geometry":{"type":"Polygon","coordinates":[5]},"properties":{}}',
        '{"type":"Feature","geometry":{"type":"GeometryCollection","geometries":5},"properties":{}}',
        "[" * 1_000_000,
        '{"features":' * 100_000,
        '{"type":"FeatureCollection","features":[' + "[" * 1_000_000,
    ],
    ids=lambda text: text[:60],
)
def test_something_else_where_an_object_belongs(tmp_path: Path, text: str):
    refusal(tmp_path / "a.geojson", text)


def test_a_polygon_that_crosses_itself_without_end(tmp_path: Path):
    ring = np.random.default_rng(0).uniform(0, 1000, (6000, 2)).round(2).tolist()
    ring.append(ring[0])
    geometry = {"type": "Polygon", "coordinates": [ring]}
    text = json.dumps({"type": "Feature", "properties": {}, "geometry": geometry})
    assert "crosses itself" in refusal(tmp_path / "a.geojson", text)


def test_a_long_outline_that_crosses_itself_once_is_mended(tmp_path: Path):
    turn = np.linspace(0, 2 * np.pi, 6000)
    ring = np.stack([1000 + 900 * np.cos(turn), 1000 + 900 * np.sin(2 * turn)], axis=1).tolist()
    ring[-1] = ring[0]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": geometry}))
    (feature,) = read_geojson(path)
    assert feature.shape.is_valid


def test_a_bomb(tmp_path: Path):
    path = tmp_path / "a.geojson.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(80):
            file.write(b" " * 2**20)
    start = time.process_time()
    with pytest.raises(ExportError, match="unpacks to far more"):
        list(read_geojson(path))
    assert time.process_time() - start < 3


def test_features_without_a_place_are_counted(tmp_path: Path):
    path = tmp_path / "a.geojson"
    box = '{"type":"Polygon","coordinates":[[[10,10],[110,10],[110,60],[10,60],[10,10]]]}'
    path.write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","geometry":null,'
        f'"properties":{{}}}},{{"type":"Feature","properties":{{}},"geometry":{box}}}]}}'
    )
    placeless: list[str] = []
    (feature,) = read_geojson(path, placeless)
    assert feature.box.corners == (10, 10, 110, 60)
    assert placeless == [""]
    placeless = []
    ((region, outline),) = read_outlines(path, placeless)
    assert (region, outline) == (Region(10, 10, 100, 50), ())
    assert placeless == [""]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"5"', "null"])
def test_regions_with_a_coordinate_that_is_no_number(tmp_path: Path, number: str):
    path = tmp_path / "a.geojson"
    path.write_text(f'{{"type":"Polygon","coordinates":{RING % number}}}')
    with pytest.raises(RegionError, match="broken coordinates"):
        read_outlines(path)


def written(path: Path, geometry: object = None, **properties) -> Path:
    geometry = geometry or {"type": "Point", "coordinates": [1, 2]}
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


@pytest.mark.parametrize(
    ("number", "read"),
    [
        ("9" * 400, math.inf),
        ("-" + "9" * 400, -math.inf),
        ("9" * 5000, math.inf),
        ("-" + "9" * 5000, -math.inf),
        ("1e400", math.inf),
        ("9" * 308, 1e308),
    ],
)
def test_a_number_beyond_all_measures_is_as_a_double_has_it(tmp_path: Path, number, read):
    path = written(tmp_path / "a.geojson", measurements={"a": "N", "b": 2}, metadata={"c": "N"})
    path.write_text(path.read_text().replace('"N"', number))
    (feature,) = read_geojson(path)
    assert feature.measurements["a"] == pytest.approx(read)
    assert feature.measurements["b"] == 2
    write_geojson(path, [feature])
    (again,) = read_geojson(path)
    assert again.measurements["b"] == 2
    assert math.isfinite(read) == ("a" in again.measurements)


BOW = [[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]


@pytest.mark.parametrize("depth", [1, 2])
def test_polygons_within_collections_are_made_valid(tmp_path: Path, depth: int):
    geometry: dict = {"type": "Polygon", "coordinates": BOW}
    for _ in range(depth):
        point = {"type": "Point", "coordinates": [50, 50]}
        geometry = {"type": "GeometryCollection", "geometries": [point, geometry]}
    (feature,) = read_geojson(written(tmp_path / "a.geojson", geometry))
    assert feature.shape.is_valid
    assert feature.shape.area == pytest.approx(50)
    assert feature.shape.intersection(shapely.box(0, 0, 10, 5)).area == pytest.approx(25)


def test_a_polygon_in_a_collection_that_crosses_itself_without_end(tmp_path: Path):
    turns = 2 * np.pi * 2999 * np.arange(6001) / 6000
    ring = np.round(500 + 500 * np.stack([np.cos(turns), np.sin(turns)], 1), 6)
    ring[-1] = ring[0]
    geometry = {"type": "Polygon", "coordinates": [ring.tolist()]}
    path = tmp_path / "a.geojson"
    written(path, {"type": "GeometryCollection", "geometries": [geometry]})
    began = time.monotonic()
    with pytest.raises(ExportError, match="crosses itself too often"):
        list(read_geojson(path))
    assert time.monotonic() - began < 5


def test_halves_of_characters_are_replaced(tmp_path: Path):
    half = "a\ud800"
    texts = {"name": half, "measurements": {half: 1}, "metadata": {half: half}}
    path = written(tmp_path / "a.geojson", classification={"names": [half, "b"]}, **texts)
    (feature,) = read_geojson(path)
    assert (feature.name, feature.label) == ("a\ufffd", "a\ufffd: b")
    assert [*feature.measurements] == [*feature.metadata] == ["a\ufffd"]
    assert feature.metadata == {"a\ufffd": "a\ufffd"}
    write_geojson(path, [feature])
    assert [*read_geojson(path)] == [feature]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"PK\x03\x04rest", "is a zip; unpack it"), ("{}".encode("utf-16"), "is not UTF-8")],
)
def test_what_is_another_kind_of_file_is_called_by_its_name(tmp_path: Path, content, says):
    (tmp_path / "a.geojson").write_bytes(content)
    with pytest.raises(ExportError, match=f"a.geojson {says}"):
        list(read_geojson(tmp_path / "a.geojson"))

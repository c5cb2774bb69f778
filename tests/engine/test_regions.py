import json

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.engine import parse_regions, read_regions
from napari_pathreason.errors import RegionError
from napari_pathreason.geometry import Region


def polygon(x, y, w, h):
    ring = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


def feature(geometry):
    return {"type": "Feature", "properties": {"name": "a"}, "geometry": geometry}


ONE = polygon(10, 20, 300, 400)
TWO = polygon(1000, 0, 50, 60)
BOTH = [Region(10, 20, 300, 400), Region(1000, 0, 50, 60)]


@pytest.mark.parametrize(
    ("value", "regions"),
    [
        (ONE, BOTH[:1]),
        (feature(ONE), BOTH[:1]),
        ({"type": "FeatureCollection", "features": [feature(ONE), feature(TWO)]}, BOTH),
        ([feature(ONE), feature(TWO)], BOTH),
        ({"type": "GeometryCollection", "geometries": [ONE, TWO]}, BOTH),
        (
            {
                "type": "MultiPolygon",
                "coordinates": [ONE["coordinates"], TWO["coordinates"]],
            },
            BOTH,
        ),
        (polygon(0.5, 0.5, 9.2, 9.2), [Region(0, 0, 10, 10)]),
    ],
)
def test_every_polygon_gives_its_bounds(value, regions, tmp_path):
    assert parse_regions(value) == regions
    file = tmp_path / "regions.geojson"
    file.write_text("\ufeff" + json.dumps(value), encoding="utf-8")
    assert read_regions(file) == regions


@pytest.mark.parametrize(
    "value",
    [
        None,
        3,
        "text",
        [],
        {},
        {"type": "FeatureCollection"},
        {"type": "Point", "coordinates": [1, 2]},
        feature(None),
        {"type": "Polygon"},
        {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[1, 2]]]},
        {"type": "Polygon", "coordinates": [[["a", "b"], [1, 2], [3, 4], [5, 6]]]},
        {"type": "MultiPolygon", "coordinates": []},
        {"type": "MultiPolygon", "coordinates": 7},
        {"type": "Polygon", "coordinates": [[[float("nan")] * 2] * 4]},
    ],
)
def test_anything_else_is_a_clear_error(value):
    with pytest.raises(RegionError) as caught:
        parse_regions(value)
    assert ";" in str(caught.value)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.floats() | st.text() | st.sampled_from(["Polygon", "MultiPolygon", "Feature"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["type", "coordinates", "geometry", "features"]), inner)
    ),
)


@given(json_values)
def test_nothing_else_than_a_region_error_ever_comes_out(value):
    try:
        regions = parse_regions(value)
    except RegionError:
        return
    assert regions


@pytest.mark.parametrize("text", ["", "not json", "[" * 100_000, "\x00"])
def test_a_file_that_is_not_geojson(tmp_path, text):
    file = tmp_path / "regions.json"
    file.write_text(text)
    with pytest.raises(RegionError, match=r"regions\.json is not GeoJSON"):
        read_regions(file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RegionError, match=r"missing\.json cannot be read \(No such file"):
        read_regions(tmp_path / "missing.json")


def test_a_file_of_bytes(tmp_path):
    file = tmp_path / "regions.json"
    file.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RegionError, match="is not GeoJSON"):
        read_regions(file)

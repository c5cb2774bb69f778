"""Shapes layers through napari's Save and Open, and what must not leave with them."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import shape

from napari_pathreason.errors import ExportError
from napari_pathreason.exports import read_geojson
from napari_pathreason.geometry import Box, Region
from napari_pathreason.reader import get_geojson_reader
from napari_pathreason.types import (
    Allocation,
    Answer,
    Detection,
    ModelDims,
    ModelInfo,
    Query,
    Result,
    SlideInfo,
    TokenReport,
)
from napari_pathreason.viewer import Session, append_to_overlay, draw_entry

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def _own_config(config_folder: Path) -> None:
    """Answers of a session are kept beside the settings: no test writes to the user's."""


QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "6f0e3f3e-3a5e-4a7c-8a43-0123456789ab",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[0, 0], [100, 0], [100, 90], [0, 100], [0, 0]],
                    [[40, 40], [60, 40], [60, 60], [40, 60], [40, 40]],
                    [[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]],
                ],
            },
            "properties": {
                "objectType": "annotation",
                "name": "core of it",
                "isLocked": True,
                "classification": {"name": "Tumor: Positive", "color": [200, 0, 0]},
                "measurements": {"H-score": 12.5},
                "metadata": {"by": "a reader"},
            },
        },
        {
            "type": "Feature",
            "geometry": {
                "type": "MultiPolygon",
                "coordinates": [
                    [[[200, 0], [210, 0], [210, 10], [200, 0]]],
                    [[[220, 20], [230, 20], [230, 30], [220, 20]]],
                ],
            },
            "properties": {
                "objectType": "detection",
                "classification": {"names": ["Immune", "CD3"]},
            },
        },
        {
            "type": "Feature",
            "geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]},
            "properties": {"objectType": "annotation", "name": "two points"},
        },
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [[5, 5], [9, 7], [12, 3]]},
            "properties": {"objectType": "annotation"},
        },
    ],
}


@pytest.fixture
def qupath(tmp_path: Path) -> Path:
    path = tmp_path / "from qupath.geojson"
    path.write_text(json.dumps(QUPATH), encoding="utf-8")
    return path


def a_result(name: str = "coded", mpp: tuple[float, float] | None = (0.5, 0.25)) -> Result:
    return Result(
        query=Query("detection", "Where is it?", ("tumour",)),
        region=Region(10, 20, 200, 100),
        slide=SlideInfo(name, 400, 300, mpp, "file" if mpp else "unknown"),
        model=ModelInfo("fake", "qwen3_vl", "relative", ModelDims(*[1] * 12)),
        allocation=Allocation(64, "user"),
        answer=Answer("one dark spot", "1 tumour"),
        detections=(Detection("tumour", Box(30, 40, 60, 20)),),
        tokens=TokenReport(2, 64, 60, 1024, 1024, 240, 20, 10, 1.0, 2.0, 2.0),
        picture_size=(256, 256),
        level=0,
        pixels_decoded=100,
    )


def overlay_in(viewer: Any) -> Any:
    """The overlay of one answer about a small image."""
    image = viewer.add_image(
        np.zeros((300, 400, 3), np.uint8), rgb=True, scale=(0.25, 0.5), units=("um", "um")
    )
    session = Session()
    return draw_entry(viewer, session, session.add(a_result(), image))


@pytest.mark.parametrize("suffix", [".geojson", ".geojson.gz"])
def test_an_overlay_is_saved_and_opened(
    make_napari_viewer_proxy: Make, tmp_path: Path, suffix: str
) -> None:
    viewer = make_napari_viewer_proxy()
    overlay = overlay_in(viewer)
    overlay.add_polygons([[[1.5, 1.5], [1.5, 11.5], [21.5, 1.5]]])
    path = tmp_path / f"answers{suffix}"
    assert overlay.save(str(path)) == [str(path)]
    raw = path.read_bytes()
    told = json.loads(gzip.decompress(raw) if suffix.endswith("gz") else raw)["features"]
    assert all(shape(one["geometry"]).is_valid for one in told)
    region, found, drawn = read_geojson(path)
    assert (region.box, region.name) == (Box(10, 20, 200, 100), "region 1")
    assert (found.box, found.label) == (Box(30, 40, 60, 20), "tumour")
    assert found.object_type == "detection"
    assert found.measurements == {"Reliability": 0, "Visual tokens": 62, "Area µm^2": 150}
    assert found.metadata["question"] == "Where is it?"
    assert found.metadata["rationale"] == "one dark spot"
    assert drawn.metadata == {"pathreason": "drawing", "run": found.metadata["run"]}
    assert drawn.shape.equals(shapely.Polygon([(2, 2), (12, 2), (2, 22)]))
    (again,) = viewer.open(str(path), plugin="napari-pathreason")
    assert again.features["label"].tolist() == ["", "tumour", ""]
    for one, other in zip(again.data, overlay.data, strict=True):
        # the same corners; those of a polygon may begin elsewhere
        assert np.sort(one, axis=0) == pytest.approx(np.sort(other, axis=0), abs=1e-3)


def test_a_table_of_findings_is_saved(make_napari_viewer_proxy: Make, tmp_path: Path) -> None:
    overlay = overlay_in(make_napari_viewer_proxy())
    overlay.add_rectangles([[[-0.5, -0.5], [-0.5, 9.5], [3.5, 9.5], [3.5, -0.5]]])
    path = tmp_path / "findings.csv"
    overlay.save(str(path), plugin="napari-pathreason")
    found, drawn = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    assert (found["kind"], found["label"], found["result"]) == ("finding", "tumour", "1")
    assert [float(found[f"{n}_px"]) for n in ("x", "y", "width", "height")] == [30, 40, 60, 20]
    assert float(found["area_um2"]) == 150
    assert drawn["kind"] == "drawing"
    # of the layer's own scale: a pixel is 0.5 x 0.25 um
    assert [float(drawn[f"{n}_um"]) for n in ("width", "height")] == [5, 1]


def test_what_qupath_wrote_is_opened(make_napari_viewer_proxy: Make, qupath: Path) -> None:
    (layer,) = make_napari_viewer_proxy().open(str(qupath), plugin="napari-pathreason")
    assert layer.name == "from qupath"
    assert layer.features["object"].tolist() == [1, 2, 2, 3, 3, 4]
    assert layer.features["label"].tolist()[:2] == ["Tumor: Positive", "Immune: CD3"]
    assert layer.features["name"].tolist() == ["core of it", "", "", *["two points"] * 2, ""]
    assert layer.features["H-score"].tolist()[0] == 12.5
    kinds = ["polygon"] * 3 + ["rectangle"] * 2 + ["path"]
    assert list(map(str, layer.shape_type)) == kinds
    assert layer.edge_color[0] == pytest.approx([200 / 255, 0, 0, 1])


def test_what_qupath_wrote_is_saved_as_it_was(
    make_napari_viewer_proxy: Make, qupath: Path, tmp_path: Path
) -> None:
    (layer,) = make_napari_viewer_proxy().open(str(qupath), plugin="napari-pathreason")
    again = tmp_path / "again.geojson.gz"
    layer.save(str(again))
    before, after = list(read_geojson(qupath)), list(read_geojson(again))
    assert len(after) == 4
    for old, new in zip(before, after, strict=True):
        assert new.shape.equals(old.shape)
        for name in ("object_type", "classes", "colour", "name", "measurements", "metadata"):
            assert getattr(new, name) == getattr(old, name), name
        assert new.locked == old.locked
    assert after[0].id == before[0].id


def test_what_was_moved_keeps_its_holes_and_words(
    make_napari_viewer_proxy: Make, qupath: Path, tmp_path: Path
) -> None:
    (layer,) = make_napari_viewer_proxy().open(str(qupath), plugin="napari-pathreason")
    layer.data = [np.asarray(vertices)[:, -2:] + (7, 5) for vertices in layer.data]
    again = tmp_path / "again.geojson"
    layer.save(str(again))
    hole, several, *_ = read_geojson(again)
    old_hole, old_several, *_ = read_geojson(qupath)
    for new, old in ((hole, old_hole), (several, old_several)):
        moved = shapely.affinity.translate(old.shape, 5, 7)
        assert new.shape.symmetric_difference(moved).area < 0.1
        assert new.metadata == old.metadata
    assert len(hole.shape.interiors) == 2
    assert hole.name == "core of it"
    assert several.shape.geom_type == "MultiPolygon"


def test_the_users_own_features_survive(make_napari_viewer_proxy: Make, tmp_path: Path) -> None:
    viewer = make_napari_viewer_proxy()
    squares = [[[0, 0], [0, 9], [9, 9], [9, 0]], [[20, 0], [20, 9], [29, 9], [29, 0]]]
    features = {
        "label": ["gland", None],
        "name": ["A1", ""],
        "score": [0.25, np.nan],
        "reader": ["me", None],
    }
    layer = viewer.add_shapes(squares, shape_type=["rectangle", "ellipse"], features=features)
    path = tmp_path / "drawn.geojson"
    layer.save(str(path), plugin="napari-pathreason")
    gland, round_one = read_geojson(path)
    assert (gland.label, gland.name) == ("gland", "A1")
    assert gland.measurements == {"score": 0.25}
    assert gland.metadata["reader"] == "me"
    assert (round_one.label, round_one.name, round_one.measurements) == ("", "", {})
    assert round_one.shape.area == pytest.approx(np.pi * 4.5**2, rel=0.01)


def test_shapes_lie_on_the_slide_that_is_open(make_napari_viewer_proxy: Make, qupath: Path) -> None:
    viewer = make_napari_viewer_proxy()
    (slide,) = viewer.open_sample("napari-pathreason", "skin")
    (layer,) = viewer.open(str(qupath), plugin="napari-pathreason")
    assert layer.units == slide.units
    assert layer.data_to_world((10, 20)) == pytest.approx(slide.data_to_world((10, 20)))
    slide.metadata["pathreason_slide"].close()


def test_nothing_private_leaves(make_napari_viewer_proxy: Make, tmp_path: Path) -> None:
    folder = tmp_path / "PLANTED-FOLDER"
    folder.mkdir()
    viewer = make_napari_viewer_proxy()
    overlay = overlay_in(viewer)
    # what a slide's layer may have been given by other readers
    overlay.metadata["patient"] = overlay.metadata["label_image"] = "PLANTED-PATIENT"
    overlay.metadata["path"] = str(folder / "PLANTED-ACCESSION.svs")
    for name in ("a.geojson", "a.geojson.gz", "a.csv"):
        path = folder / name
        overlay.save(str(path), plugin="napari-pathreason")
        raw = path.read_bytes()
        text = gzip.decompress(raw) if name.endswith("gz") else raw
        assert b"tumour" in text
        for secret in ("PLANTED", str(tmp_path), str(Path.home())):
            assert secret.encode() not in text, (name, secret)
            assert secret.encode() not in raw


def test_results_of_later_answers_are_saved(make_napari_viewer_proxy: Make, tmp_path: Path) -> None:
    overlay = overlay_in(make_napari_viewer_proxy())
    append_to_overlay(overlay, 2, a_result())
    path = tmp_path / "two.geojson"
    overlay.save(str(path))
    assert [one.metadata["result"] for one in read_geojson(path)] == ["1", "1", "2", "2"]


def test_errors_are_one_line_each(make_napari_viewer_proxy: Make, tmp_path: Path) -> None:
    overlay = overlay_in(make_napari_viewer_proxy())
    with pytest.raises(ExportError, match="cannot be written"):
        overlay.save(str(tmp_path / "none" / "a.geojson"), plugin="napari-pathreason")
    broken = tmp_path / "broken.geojson"
    broken.write_text("no json")
    reader = get_geojson_reader(str(broken))
    assert reader is not None
    with pytest.raises(ExportError, match=r"broken\.geojson is not GeoJSON"):
        reader(str(broken))
    assert get_geojson_reader(str(tmp_path / "none.geojson")) is None

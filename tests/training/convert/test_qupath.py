"""Annotations over slides: tiles inside them, boxes in level-0 pixels, slides kept apart."""

import functools
import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import shapely

from napari_pathreason.errors import QueryError
from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box, Region
from napari_pathreason.training.convert import Options, convert
from napari_pathreason.training.samples import Pictures
from tests.support import coded_pixels, write_synthetic_slide

WIDTH, HEIGHT = 3000, 2000


def _polygon(x1, y1, x2, y2):
    return [[[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]]


def _object(kind, name, x1, y1, x2, y2):
    """An object in the words of QuPath 0.5."""
    properties = {"objectType": kind}
    if name:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {
        "type": "Feature",
        "id": "6f7c3a52-0000-4000-8000-000000000000",
        "geometry": {"type": "Polygon", "coordinates": _polygon(x1, y1, x2, y2)},
        "properties": properties,
    }


OBJECTS = [
    _object("annotation", "Tumor", 100, 100, 1200, 700),  # two tiles of 512, centred
    _object("annotation", "Stroma", 1500, 100, 1800, 350),  # below a tile: as it is
    _object("annotation", "Region*", 1400, 1000, 2424, 1512),  # two tiles
    _object("detection", "Positive", 1450, 1100, 1480, 1140),
    _object("cell", "Negative", 1900, 1200, 1930, 1230),  # on the seam at 1912: 18 of 30 px left
    _object("detection", "Positive", 10, 10, 40, 40),  # in no field
    _object("annotation", "", 100, 1000, 1200, 1700),  # nothing classified inside: no field
    _object("annotation", "Region*", 2450, 1000, 2990, 1512),
    _object("annotation", "Ignore*", 2500, 1100, 2600, 1200),  # spoils that field's only tile
]


@functools.cache
def _pixels(mpp):
    with TemporaryDirectory() as folder:
        return write_synthetic_slide(Path(folder) / "a.tif", WIDTH, HEIGHT, mpp=mpp).read_bytes()


def _slide(folder, name="slide", objects=OBJECTS, ending=".geojson", mpp=0.5):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.ome.tif").write_bytes(_pixels(mpp))
    text = json.dumps({"type": "FeatureCollection", "features": objects})
    path = folder / f"{name}{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith(".gz") else text.encode())
    return folder


def test_tiles_of_tissue_and_boxes_of_searched_fields(tmp_path, run):
    done = run(_slide(tmp_path / "slides"))
    assert done.kind == "qupath"
    for what in (
        "1 detections lie in no searched field",
        "1 annotations without a class hold no classified object",
        "1 tiles touch an Ignore* annotation",
    ):
        assert what in done.notes
    asked = {s.region: (s.answer, s.choices) for s in done.all if s.task == "subtyping"}
    both = ("Stroma", "Tumor")
    assert asked == {
        (138, 144, 512, 512): ("Tumor", both),
        (650, 144, 512, 512): ("Tumor", both),
        (1500, 100, 300, 250): ("Stroma", both),
    }
    found = {
        s.region: [(box.label, box.corners) for box in s.boxes]
        for s in done.all
        if s.task == "detection"
    }
    assert found == {
        (1400, 1000, 512, 512): [("Positive", (1450, 1100, 1480, 1140))],
        (1912, 1000, 512, 512): [("Negative", (1912, 1200, 1930, 1230))],
    }
    assert {s.choices for s in done.all if s.task == "detection"} == {("Negative", "Positive")}


def test_pixels_are_read_from_the_slide_where_the_region_lies(tmp_path, run):
    done = run(_slide(tmp_path / "slides"))
    sample = next(s for s in done.all if s.region == (650, 144, 512, 512))
    pictures = Pictures(done.folder)
    near = pictures.read(sample, Region(*sample.region), (512, 512))
    assert np.array_equal(near, coded_pixels(np.arange(650, 1162), np.arange(144, 656)))
    far = pictures.read(sample, Region(*sample.region), (128, 128))
    assert far.shape == (128, 128, 3)
    assert abs(int(far[64, 64, 0]) - (650 + 64 * 4) // 8) <= 1


def test_tile_size_is_of_the_tissue_not_of_the_file(tmp_path, run):
    done = run(_slide(tmp_path / "slides", mpp=0.25), tile=512, mpp=0.25)
    assert (1400, 1000, 512, 512) in {s.region for s in done.all}
    coarse = run(tmp_path / "slides", tile=128, mpp=0.5, out="b")
    assert (1400, 1000, 256, 256) in {s.region for s in coarse.all}


def test_slides_are_dealt_whole_and_patients_too(tmp_path, run):
    folder = tmp_path / "slides"
    for i in range(6):
        _slide(folder, f"s{i}", ending=".geojson.gz" if i % 2 else ".geojson")
    done = run(folder)
    slides = [{image.rpartition("/")[2] for image in done.images(split)} for split in done.samples]
    assert [len(part) for part in slides] == [4, 1, 1]
    assert len(set().union(*slides)) == 6
    table = tmp_path / "patients.csv"
    rows = "".join(f"s{i}.ome.tif,p{i // 2}\n" for i in range(6))
    table.write_text("image,patient\n" + rows)
    done = run(folder, groups=table, out="b")
    patients = [{int(image[-9]) // 2 for image in done.images(split)} for split in done.samples]
    assert [len(part) for part in patients] == [1, 1, 1]
    assert len(set().union(*patients)) == 3


def test_another_class_in_a_tile_makes_it_ambiguous(tmp_path, run):
    objects = [
        _object("annotation", "Tumor", 100, 100, 612, 612),
        _object("annotation", "Necrosis", 300, 300, 612, 612),  # 37 % of that tile
        _object("annotation", "Tumor", 1000, 100, 1512, 612),
    ]
    done = run(_slide(tmp_path / "slides", objects=objects), splits=("train",))
    asked = {s.region: s.answer for s in done.all}
    assert (100, 100, 512, 512) not in asked
    assert asked[1000, 100, 512, 512] == "Tumor"


def test_what_our_own_writer_saves_reads_too(tmp_path, run):
    folder = _slide(tmp_path / "slides")
    ring = shapely.Point(800, 800).buffer(500)
    features = [
        Feature(ring, "annotation", ("Tumor", "Positive")),
        Feature(Box(1500, 1000, 600, 600), "annotation", ("Normal",)),
        Feature(shapely.Point(5, 5), "annotation", ("Normal",)),
    ]
    (folder / "slide.geojson").unlink()
    write_geojson(folder / "slide.ome.tif.geojson", features)
    done = run(folder, splits=("train",))
    assert "objects without area" in done.notes
    inside = [Region(*s.region) for s in done.all if s.answer == "Tumor: Positive"]
    assert inside
    for region in inside:
        tile = shapely.box(*region.box.corners)
        assert ring.intersection(tile).area / tile.area >= 0.75


def test_what_is_amiss_is_named(tmp_path):
    folder = _slide(tmp_path / "slides", mpp=None)
    with pytest.raises(QueryError, match=r"slide\.ome\.tif does not state .* --slide-mpp"):
        convert(folder, tmp_path / "o")
    done = convert(folder, tmp_path / "o", Options(slide_mpp=0.5))
    assert done.counts == {"train": 3, "val": 1, "test": 1}
    (folder / "slide.ome.tif").rename(tmp_path / "slide.ome.tif")
    with pytest.raises(QueryError, match="needs one slide of its name beside it"):
        convert(folder, tmp_path / "o", Options(slide_mpp=0.5))
    elsewhere = Options(slide_mpp=0.5, images=tmp_path)
    assert convert(folder, tmp_path / "o", elsewhere).counts == done.counts

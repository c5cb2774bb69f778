"""One slide, or two: val and test are strips of it, apart from train, and that is said loudly."""

import csv
import shutil

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import Options, convert
from napari_pathreason.training.convert.sets import hold_out_strip
from tests.support import write_synthetic_slide

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slide")
    write_synthetic_slide(folder / "a.ome.tif", 1000, 750, mpp=0.5)
    return folder / "a.ome.tif"


def _annotated(folder, slide, name, *boxes):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(slide, folder / f"{name}.ome.tif")
    features = [Feature(Box(*box), "annotation", (label,)) for label, *box in boxes]
    write_geojson(folder / f"{name}.geojson", features)
    return folder


def _touch(a, b):
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _apart(samples):
    """No tile of a split shares a pixel with one of another."""
    regions = {split: [s.region for s in samples[split]] for split in SPLITS}
    return not any(
        _touch(a, b)
        for one, other in (("train", "val"), ("train", "test"), ("val", "test"))
        for a in regions[one]
        for b in regions[other]
    )


LAYERS = (("Tumor", 0, 0, 1000, 300), ("Stroma", 15, 350, 950, 350))


def test_one_slide_gives_a_val_that_training_takes_and_says_so(tmp_path, slide, capsys):
    folder = _annotated(tmp_path / "slides", slide, "a", *LAYERS)
    out = tmp_path / "o"
    assert main(["data", "convert", str(folder), "-o", str(out), "--tile", "64"]) == 0
    told = capsys.readouterr().out
    assert "train is only 1 slide: val and test are strips of the same slide" in told
    assert "OPTIMISTIC" in told
    samples = {split: read_samples(out / f"{split}.jsonl") for split in SPLITS}
    assert _apart(samples)
    assert {s.answer for s in samples["train"]} == {"Tumor", "Stroma"}
    total = sum(map(len, samples.values()))
    for split in ("val", "test"):
        assert 0.04 < len(samples[split]) / total < 0.2
        assert {s.answer for s in samples[split]} == {"Tumor", "Stroma"}
    assert total > 80


def test_of_two_slides_one_trains_and_the_other_is_divided(tmp_path, slide, run):
    folder = tmp_path / "slides"
    for name in "ab":
        _annotated(folder, slide, name, *LAYERS)
    done = run(folder, tile=64)
    assert len(done.images("train")) == 1
    assert done.images("val") == done.images("test")
    assert not done.images("train") & done.images("val")
    assert "val is only 1 slide: test is a strip of the same slide" in done.notes
    assert _apart({"train": [], "val": done.samples["val"], "test": done.samples["test"]})


def test_a_published_test_stays_and_only_train_is_cut(tmp_path, slide, run):
    _annotated(tmp_path / "slides/Training", slide, "a", *LAYERS)
    _annotated(tmp_path / "slides/holdout", slide, "b", *LAYERS)
    done = run(tmp_path / "slides", tile=64)
    assert done.kind == "qupath"
    assert done.images("train") == done.images("val")
    assert {image.split("/")[-2] for image in done.images("test")} == {"holdout"}
    assert "val is a strip of the same slide" in done.notes
    _annotated(tmp_path / "slides/exam", slide, "c", *LAYERS)
    with pytest.raises(QueryError, match="exam in slides holds exports of QuPath and is no name"):
        convert(tmp_path / "slides", tmp_path / "o")


def test_published_val_and_test_are_found_among_slides_elsewhere(tmp_path, slide, run):
    for name, split in zip("abc", ("train", "valid", "test"), strict=True):
        _annotated(tmp_path / "labels" / split, slide, name, *LAYERS)
        (tmp_path / "slides").mkdir(exist_ok=True)
        shutil.move(tmp_path / "labels" / split / f"{name}.ome.tif", tmp_path / "slides")
    done = run(tmp_path / "labels", images=tmp_path / "slides", tile=128)
    named = [{image.rpartition("/")[2][0] for image in done.images(s)} for s in done.samples]
    assert named == [{"a"}, {"b"}, {"c"}]
    assert done.notes == ""


def test_too_few_tiles_are_an_error_with_the_remedy(tmp_path, slide, capsys):
    folder = _annotated(
        tmp_path / "slides", slide, "a", ("Tumor", 0, 0, 300, 300), ("Stroma", 500, 400, 300, 300)
    )
    out = tmp_path / "o"
    assert main(["data", "convert", str(folder), "-o", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert (
        "no samples for val (training needs it) and test (evaluate needs it): only 1 slide" in told
    )
    assert "lay smaller tiles (--tile)" in told
    assert not out.exists()


def test_regions_of_one_picture_in_a_table_are_tiles_too(tmp_path, save, run):
    save(tmp_path / "mine/a.png", (640, 640))
    rows = [
        ("a.png", f"{x} {y} 64 64", ("x", "y")[(x // 64 + y // 64) % 2])
        for x in range(0, 640, 64)
        for y in range(0, 640, 64)
    ]
    with (tmp_path / "mine/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "region", "label"), *rows])
    done = run(tmp_path / "mine")
    assert [len(samples) for samples in done.samples.values()] == [80, 10, 10]
    assert _apart(done.samples)
    assert "val and test are strips of the same picture" in done.notes


def test_classes_are_refused_if_they_are_one_after_case_and_blanks(tmp_path, slide):
    folder = _annotated(tmp_path / "slides", slide, "a", ("Tumor", 0, 0, 300, 300))
    _annotated(folder, slide, "b", ("tumor ", 0, 0, 300, 300), ("Stroma", 500, 400, 300, 300))
    told = r"classes 'Tumor' \(a\.geojson\) and 'tumor ' \(b\.geojson\) are one after case"
    with pytest.raises(QueryError, match=told):
        convert(folder, tmp_path / "o", Options())


def test_what_gives_no_tile_is_counted(tmp_path, slide, run):
    folder = _annotated(
        tmp_path / "slides",
        slide,
        "a",
        *LAYERS,
        ("Tumor", 10, 720, 20, 20),  # below a token
        ("Other*", 0, 0, 50, 50),
    )
    (folder / "b.ome.tif").write_bytes(b"II*\0")
    write_geojson(folder / "b.geojson", [Feature(Box(0, 0, 9, 9), "annotation", ("Tumor",))])
    shutil.copy(slide, folder / "unannotated.ome.tif")
    export = folder / "a.geojson"
    nowhere = '{"type":"Feature","geometry":null,"properties":{"objectType":"annotation"}},'
    export.write_text(export.read_text().replace('"features":[', f'"features":[{nowhere}'))
    with pytest.raises(QueryError, match=r"no samples|cannot be read"):
        convert(folder, tmp_path / "o", Options(tile=1024))
    notes = run(folder, tile=64).notes
    for what in (
        "1 pictures cannot be read and were left out (b.ome.tif)",
        "1 objects without a place were left out (a.ome.tif)",
        "1 objects of classes with a star say nothing and were left out (a.ome.tif)",
        "1 annotations are too small or too narrow for a tile and were left out (a.ome.tif)",
        "1 pictures belong to no label of it and were left out (unannotated.ome.tif)",
    ):
        assert what in notes


PLACES = st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(1, 90), st.integers(1, 90))


@given(st.lists(st.tuples(PLACES, st.sampled_from("xyz")), max_size=60), st.floats(0.05, 0.5))
def test_a_strip_shares_nothing_with_the_rest_and_leaves_it_every_class(tiles, share):
    places, classes = [place for place, _ in tiles], [label for _, label in tiles]
    cut = hold_out_strip(places, classes, share)
    if cut is None:
        return
    strip, across = cut
    rest = [i for i in range(len(tiles)) if i not in strip and i not in across]
    assert strip
    assert not set(strip) & set(across)
    assert len(strip) <= len(tiles) / 2
    assert {classes[i] for i in rest} == set(classes)
    assert not any(_touch(places[i], places[j]) for i in strip for j in rest)


def test_a_grid_gives_a_strip_of_about_the_share():
    places = [(x * 10, y * 10, 10, 10) for x in range(20) for y in range(30)]
    strip, across = hold_out_strip(places, [""] * 600, 0.1)
    assert not across
    assert len(strip) == 60
    assert {len(np.unique(np.array(places)[strip, axis])) for axis in (0, 1)} == {2, 30}

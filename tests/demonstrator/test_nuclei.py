"""Wide fields of nuclei: masks lie where pictures show them, answers follow from both."""

import csv

import numpy as np
import pytest
from PIL import Image

from demonstrator.convert import convert
from demonstrator.sets.nuclei import WIDEST, nuclei_fields
from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import QUADRANTS, Pictures, read_view

SIDE, NUCLEUS = 128, 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures that are their own masks: three sparse, one dense, one of another split."""
    root = tmp_path_factory.mktemp("nuclei")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(5):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for x, y in rng.integers(0, 8, (6 if number < 3 else 60, 2)) * 16:
            mask[y : y + NUCLEUS, x : x + NUCLEUS] = 255
        if number == 4:
            mask[:] = 255
        Image.fromarray(mask).save(root / f"mask{number}.png")
        Image.fromarray(mask).convert("RGB").save(root / f"{number}.png")
        split = "test" if number == 4 else "train"
        rows.append((f"{number}.png", f"mask{number}.png", split))
    with (root / "index.csv").open("w") as file:
        csv.writer(file).writerows([("image", "mask", "split"), *rows])
    return root


def files(sample):
    """Pictures that the crops of a field are of."""
    return {name.partition("#")[0] for row in sample.image for name in row}


@pytest.fixture(scope="module")
def fields(folder):
    return list(nuclei_fields(folder, "train", 0, 16))


def test_the_mask_lies_where_the_picture_shows_it(folder, fields):
    pictures = Pictures(folder)
    for sample in fields:
        view = read_view(sample, pictures, None, 32)
        assert ((view.pixels[..., 0] > 127) == (view.nuclei > 0)).all()
    assert any(read_view(s, pictures, None, 32).nuclei.mean() > 0 for s in fields)


def test_counts_are_of_middles_inside_their_crops(folder, fields):
    pictures = Pictures(folder)
    counted = [s for s in fields if s.topic == "number of nuclei"]
    assert len(counted) == 16
    for sample in counted:
        mask = pictures.nuclei(sample, pictures.region(sample))
        assert int(sample.answer) == len(sample.facts.centres)
        for x, y in sample.facts.centres:
            assert mask[y, x] == 1


def test_where_they_are_crowded_is_of_the_whole_field(folder, fields):
    pictures = Pictures(folder)
    asked = [s for s in fields if s.topic == "where nuclei are crowded"]
    assert asked
    for sample in asked:
        mask = pictures.nuclei(sample, pictures.region(sample)) > 0
        rows, columns = (np.array_split(np.arange(side), [side // 2]) for side in mask.shape)
        shares = [mask[np.ix_(row, column)].mean() for row in rows for column in columns]
        assert sample.answer == QUADRANTS[np.argmax(shares)]


def test_fields_are_wide_and_of_one_split(folder, fields):
    pictures = Pictures(folder)
    sizes = {(r.width, r.height) for s in fields for r in [pictures.region(s)]}
    assert len(sizes) > 3
    assert max(max(size) for size in sizes) <= WIDEST
    assert not [name for s in fields for name in files(s) if "/4.png" in name]
    alike = [len(files(s)) == 1 for s in fields]
    assert {True, False} == set(alike)


def test_another_split_has_fields_of_its_own_pictures(folder):
    samples = list(nuclei_fields(folder, "test", 0, 4))
    assert samples
    assert {name for s in samples for name in files(s)} == {str(folder / "4.png")}


def test_small_pictures_and_empty_tables_are_no_error(tmp_path, folder):
    (tmp_path / "index.csv").write_text("image,mask,split\n")
    assert not list(nuclei_fields(tmp_path, "train", 0, 3))
    for name in ("a.png", "b.png"):
        Image.new("L", (40, 30)).save(tmp_path / name)
    (tmp_path / "index.csv").write_text("image,mask,split\na.png,b.png,train\n")
    samples = list(nuclei_fields(tmp_path, "train", 0, 3))
    assert {s.answer for s in samples if s.topic == "number of nuclei"} == {"0"}
    assert not list(nuclei_fields(folder, "train", 0, 0))


def test_they_come_where_pictures_are_drawn_again(labelled, tmp_path, few):
    convert([labelled], tmp_path, times=2)
    samples = read_samples(tmp_path / "train.jsonl")
    fields = [s for s in samples if s.source == "nuclei_fields"]
    assert len({s.image for s in fields}) == 2 * 2 * 6  # times, sets, fields
    pictures = Pictures(tmp_path)
    assert all(read_view(s, pictures, 64, 32).nuclei is not None for s in fields)
    val, test = (read_samples(tmp_path / f"{split}.jsonl") for split in ("val", "test"))
    own = [s for s in val if s.source == "nuclei_fields"]
    assert len({s.image for s in own}) == 2
    assert not {i for s in own for i in files(s)} & {i for s in fields for i in files(s)}
    assert "nuclei_fields" not in {s.source for s in test}

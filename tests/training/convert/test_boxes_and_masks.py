"""Masks, COCO, Pascal VOC and YOLO: boxes, number and presence of objects, of any lab's classes."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import Options, convert

BOX = (10, 20, 40, 60)
OTHER = (50, 5, 60, 30)


def _mask(path, *parts, size=(80, 64)):
    """A mask with rectangles of some values."""
    values = np.zeros(size[::-1], np.uint8)
    for value, (x1, y1, x2, y2) in parts:
        values[y1:y2, x1:x2] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def _about(done, image):
    """Answers and boxes of one picture by topic."""
    own = [s for s in done.all if s.image.endswith(image)]
    boxes = {(box.label, box.corners) for s in own if s.task == "detection" for box in s.boxes}
    return {s.topic.partition(": ")[2]: s.answer for s in own if s.task == "vqa"}, boxes


def test_binary_masks_give_boxes_numbers_and_presence(tmp_path, run, save):
    for number in range(4):
        save(tmp_path / f"mine/images/{number}.png", (80, 64))
        parts = [(255, BOX), (255, OTHER)] if number else []
        _mask(tmp_path / f"mine/masks/{number}_mask.png", *parts)
    done = run(tmp_path / "mine", label="gland")
    assert done.kind == "masks"
    assert "touch are counted and boxed as one" in done.notes
    answers, boxes = _about(done, "1.png")
    assert answers == {"number of gland": "2", "presence of gland": "yes"}
    assert boxes == {("gland", BOX), ("gland", OTHER)}
    answers, boxes = _about(done, "0.png")
    assert answers == {"number of gland": "0", "presence of gland": "no"}
    assert boxes == set()
    assert "called object" in run(tmp_path / "mine", out="b").notes


def test_instances_that_touch_are_two(tmp_path, run, save):
    left, right = (10, 10, 30, 30), (30, 10, 50, 30)
    for number in range(3):
        save(tmp_path / f"mine/images/{number}.png", (80, 64))
        _mask(tmp_path / f"mine/masks/{number}.png", (3, left), (7, right), (9, (60, 60, 62, 62)))
    with pytest.raises(QueryError, match=r"several values \(0, 3, 7, 9\).*--masks instance"):
        convert(tmp_path / "mine", tmp_path / "o")
    done = run(tmp_path / "mine", masks="instance", label="nucleus")
    answers, boxes = _about(done, "0.png")
    assert answers["number of nucleus"] == "2"
    assert boxes == {("nucleus", left), ("nucleus", right)}
    assert "3 parts of masks below 20 pixels were left out" in done.notes


def test_masks_of_classes_need_names_and_say_which_value_has_none(tmp_path, run, save):
    for split in ("train", "val", "test"):
        save(tmp_path / f"mine/{split}/images/a.png", (80, 64))
        _mask(tmp_path / f"mine/{split}/masks/a.png", (1, BOX), (2, OTHER), (5, (0, 0, 5, 5)))
    with pytest.raises(QueryError, match="`1 gland`"):
        convert(tmp_path / "mine", tmp_path / "o", Options(masks="class"))
    (tmp_path / "mine/classes.txt").write_text("0 background\n1 gland\n2: blood_vessel\n")
    done = run(tmp_path / "mine")
    answers, boxes = _about(done, "train/images/a.png")
    assert boxes == {("gland", BOX), ("blood vessel", OTHER)}
    assert answers["number of blood vessel"] == "1"
    assert "does not name, which were left out (a.png: 5)" in done.notes
    assert {len(samples) for samples in done.samples.values()} == {5}


def test_nothing_of_pictures_and_masks_vanishes_without_a_word(tmp_path, run, save):
    for number in range(9):
        save(tmp_path / f"mine/images/{number}.png", (80, 64))
        _mask(tmp_path / f"mine/masks/{number}.png", (1, BOX))
    save(tmp_path / "mine/images/lonely.png", (80, 64))
    save(tmp_path / "mine/images/small.png", (40, 40))
    _mask(tmp_path / "mine/masks/small.png", (1, BOX))
    done = run(tmp_path / "mine", label="gland")
    assert (
        "1 pictures have no file of labels beside them and were left out (images/lonely.png)"
        in (done.notes)
    )
    assert "cannot be read and were left out (images/small.png)" in done.notes
    assert len({s.image for s in done.all}) == 9


def test_many_objects_are_counted_and_not_boxed(tmp_path, run, save):
    places = [(x, y, x + 6, y + 6) for x in range(0, 72, 8) for y in range(0, 56, 8)]
    for number in range(3):
        save(tmp_path / f"mine/images/{number}.png", (80, 64))
        _mask(tmp_path / f"mine/masks/{number}.png", *((1, place) for place in places))
    done = run(tmp_path / "mine", label="nucleus")
    answers, _ = _about(done, "0.png")
    assert answers["number of nucleus"] == str(len(places)) == "63"
    assert all(sample.task != "detection" for sample in done.all)
    assert "3 pictures hold more than 30 objects" in done.notes


def test_coco_with_a_file_for_each_split(tmp_path, run, save):
    for split in ("train", "valid", "test"):
        save(tmp_path / f"mine/{split}/a.png", (80, 64))
        save(tmp_path / f"mine/{split}/free.png", (80, 64))
        x1, y1, x2, y2 = BOX
        box = {"image_id": 4, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        content = {
            "info": {},
            "images": [
                {"id": 4, "file_name": "a.png", "width": 80, "height": 64},
                {"id": 5, "file_name": "free.png", "width": 80, "height": 64},
            ],
            "annotations": [box, {**box, "iscrowd": 1}, {**box, "image_id": 9}],
            "categories": [{"id": 1, "name": "mitotic_figure"}, {"id": 2, "name": "mimic"}],
        }
        (tmp_path / f"mine/{split}/_annotations.coco.json").write_text(json.dumps(content))
    done = run(tmp_path / "mine")
    assert done.kind == "coco"
    assert {split: len(done.images(split)) for split in done.samples} == {
        "train": 2,
        "val": 2,
        "test": 2,
    }
    answers, boxes = _about(done, "train/a.png")
    assert answers == {"number of mitotic figure": "1", "presence of mitotic figure": "yes"}
    assert boxes == {("mitotic figure", BOX)}
    assert _about(done, "train/free.png")[0]["presence of mitotic figure"] == "no"
    assert "3 annotations are of crowds" in done.notes
    assert "3 annotations belong to no picture" in done.notes
    assert "without a box are not asked about: mimic" in done.notes


def test_voc_of_own_classes_with_lists_of_splits(tmp_path, run, save):
    x1, y1, x2, y2 = BOX
    for name in "abc":
        save(tmp_path / f"mine/JPEGImages/{name}.png", (80, 64))
        path = tmp_path / f"mine/Annotations/{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "<annotation><object><name>crypt</name><bndbox>"
            f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            "</bndbox></object></annotation>"
        )
    (tmp_path / "mine/ImageSets/Main").mkdir(parents=True)
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        (tmp_path / f"mine/ImageSets/Main/{split}.txt").write_text(name)
    done = run(tmp_path / "mine")
    assert done.kind == "voc"
    assert done.notes == ""
    assert _about(done, "a.png")[1] == {("crypt", BOX)}
    assert {
        split: images.pop()[-5] for split in done.samples if (images := done.images(split))
    } == {
        "train": "a",
        "val": "b",
        "test": "c",
    }


def test_yolo_boxes_and_polygons(tmp_path, run, save):
    (x1, y1, x2, y2), (w, h) = BOX, (80, 64)
    line = f"1 {(x1 + x2) / 2 / w} {(y1 + y2) / 2 / h} {(x2 - x1) / w} {(y2 - y1) / h}"
    a, b, c, d = OTHER[0] / w, OTHER[1] / h, OTHER[2] / w, OTHER[3] / h
    polygon = f"0 {a} {b} {c} {b} {c} {d}"
    for split in ("train", "val", "test"):
        save(tmp_path / f"mine/images/{split}/a.png", (w, h))
        save(tmp_path / f"mine/images/{split}/lonely.png", (w, h))
        label = tmp_path / f"mine/labels/{split}/a.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(f"{line}\n{polygon}\n7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(QueryError, match=r"names no classes; put a data\.yaml"):
        convert(tmp_path / "mine", tmp_path / "o")
    (tmp_path / "mine/data.yaml").write_text("names: {0: vessel, 1: gland}\n")
    done = run(tmp_path / "mine")
    assert done.kind == "yolo"
    _, boxes = _about(done, "train/a.png")
    assert boxes == {("gland", BOX), ("vessel", OTHER)}
    assert "3 lines of labels are no box and were left out (a.txt, line 3)" in done.notes
    assert "3 pictures have no file of labels" in done.notes


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), unique=True, max_size=20))
def test_every_object_of_a_mask_is_boxed_once(tmp_path_factory, squares):
    folder = tmp_path_factory.mktemp("squares")
    for name in ("red", "green", "blue"):
        Image.new("RGB", (80, 64), name).save((folder / name).with_suffix(".tmp.png"))
        (folder / "images").mkdir(exist_ok=True)
        (folder / f"{name}.tmp.png").rename(folder / f"images/{name}.png")
        places = [(1, (11 * x, 12 * y, 11 * x + 8, 12 * y + 8)) for x, y in squares]
        _mask(folder / f"masks/{name}.png", *places)
    convert(folder, folder / "o", Options(label="cell"))
    samples = read_samples(folder / "o/train.jsonl")
    (boxes,) = [sample.boxes for sample in samples if sample.task == "detection"]
    found = Counter(box.corners for box in boxes)
    assert found == Counter((11.0 * x, 12.0 * y, 11.0 * x + 8, 12.0 * y + 8) for x, y in squares)


def test_what_belongs_together_stands_in_every_sample(tmp_path, run, save):
    rows = ["image,label,patient,mpp"]
    for number in range(12):
        save(tmp_path / f"mine/{number}.png", (64, 64))
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number // 3},0.5")
    (tmp_path / "mine/labels.csv").write_text("\n".join(rows))
    done = run(tmp_path / "mine")
    assert {(s.group, s.mpp) for s in done.all} == {(f"p{n}", 0.5) for n in range(4)}
    assert len(done.all) == 12
    (tmp_path / "mine/labels.csv").write_text("\n".join(rows).replace(",0.5", ",fine"))
    with pytest.raises(QueryError, match="line 2: mpp is µm per pixel"):
        convert(tmp_path / "mine", tmp_path / "o")
    (tmp_path / "mine/labels.csv").write_text(
        "\n".join(rows).replace("patient", "note").replace(",mpp", ",size")
    )
    assert {(s.group, s.mpp) for s in run(tmp_path / "mine", out="c").all} == {("", None)}


@pytest.mark.parametrize(
    "box",
    [
        {"bbox": [0, 0, float("inf"), 5]},
        {"bbox": [0, 0, 1e308, 1e308]},
        {"bbox": [10**400, 0, 1, 1]},
        {"bbox": [float("nan"), 0, 1, 1]},
        {"bbox": [9, 9, -5, -5]},
        {"category_id": [1]},
        {"category_id": {"a": 1}},
        {"image_id": {"a": 1}},
    ],
)
def test_coco_with_a_box_that_is_none(tmp_path, run, save, box):
    whole = {"category_id": 1, "bbox": [4, 4, 20, 20]}
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(6)],
        "annotations": [{"image_id": n, **whole, **(box if n == 0 else {})} for n in range(6)],
        "categories": [{"id": 1, "name": "ce\ud800ll"}],
    }
    for n in range(6):
        save(tmp_path / f"mine/{n}.png", (80, 64))
    (tmp_path / "mine/a.json").write_text(json.dumps(content))
    done = run(tmp_path / "mine")
    assert _about(done, "0.png")[1] == set()
    assert _about(done, "1.png")[1] == {("ce\ufffdll", (4, 4, 24, 24))}

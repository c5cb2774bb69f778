"""Stitched crops: every platelet lies whole in its crop, and nothing of a white cell is shown."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from demonstrator.sets.smears import SIDE, read_smears, stitched
from napari_pathreason.training.convert import SMEAR_SIZE
from napari_pathreason.training.samples import Pictures

WHITE, PLATELET = (200, 100, 330, 240), (20, 400, 60, 440)


@pytest.fixture
def folder(tmp_path):
    """Two smears: gray, one white cell in magenta, one platelet in blue."""
    rows = ["image,boxes,split"]
    for name, split in (("a", "train"), ("b", "train"), ("c", "test")):
        pixels = np.full((*SMEAR_SIZE[::-1], 3), 220, np.uint8)
        objects = []
        for kind, (x1, y1, x2, y2), colour in (
            ("WBC", WHITE, (255, 0, 255)),
            ("Platelets", PLATELET, (0, 0, 255)),
        ):
            pixels[y1:y2, x1:x2] = colour
            edges = zip(("xmin", "ymin", "xmax", "ymax"), (x1, y1, x2, y2), strict=True)
            box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
            objects.append(f"<object><name>{kind}</name><bndbox>{box}</bndbox></object>")
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
        rows.append(f"{name}.png,{name}.xml,{split}")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    return tmp_path


def test_boxes_lie_on_the_platelets_and_white_cells_are_left_out(folder):
    pictures = Pictures(folder)
    found = [s for s in stitched(folder, "train", 0, 12) if s.task == "detection"]
    numbers = Counter(len(sample.boxes) for sample in found)
    assert len(found) == 12
    assert len(numbers) > 1
    for sample in found:
        pixels = pictures.picture(sample)
        assert pixels.shape == (SIDE * len(sample.image), SIDE * len(sample.image[0]), 3)
        blue = (pixels == (0, 0, 255)).all(-1)
        assert not (pixels == (255, 0, 255)).all(-1).any()
        marked = np.zeros_like(blue)
        for x1, y1, x2, y2 in (tuple(map(int, box.corners)) for box in sample.boxes):
            marked[y1:y2, x1:x2] = True
        assert (marked == blue).all()


def test_answers_follow_from_the_boxes(folder):
    by_picture = {}
    for sample in stitched(folder, "train", 1, 20):
        by_picture.setdefault(sample.image, []).append(sample)
    for samples in by_picture.values():
        number = len(samples[0].boxes)
        answers = {sample.topic.split(",")[0]: sample.answer for sample in samples[1:]}
        assert answers["number of platelets"] == str(number)
        assert answers["presence of platelets"] == ("yes" if number else "no")
        if number <= 1:
            assert (answers["where the platelet is"] == "nowhere") == (number == 0)


def test_splits_stay_apart_and_seeds_repeat(folder):
    used = {
        tile.partition("#")[0]
        for sample in stitched(folder, "test", 0, 5)
        for row in sample.image
        for tile in row
    }
    assert used == {image for image, _ in read_smears(folder, "test")}
    assert list(stitched(folder, "train", 2, 4)) == list(stitched(folder, "train", 2, 4))
    assert list(stitched(folder, "val", 0, 4)) == []


def test_crops_are_not_turned_by_themselves(folder):
    from random import Random

    pictures = Pictures(folder)
    sample = next(iter(stitched(folder, "train", 0, 1)))
    assert (pictures.picture(sample, Random(1)) == pictures.picture(sample)).all()

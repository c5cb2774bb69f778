"""Nuclei from a teacher: its scale and contrast, what is kept, and that only `train` is taught."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from demonstrator.convert import convert
from demonstrator.sets.nuclei import TAUGHT
from demonstrator.teacher.nuclei import SIDE, nuclei_of, teach
from napari_pathreason.training import read_samples

DOTS = [(20, 24), (60, 70), (30, 80)]  # (y, x)


class Teacher:
    """Numbers what is darker than half of the contrast; keeps what it was shown."""

    def __init__(self):
        self.shown = []

    def __call__(self, picture):
        self.shown.append(picture)
        dark = picture[0].mean(0).numpy() < 0.5
        return torch.from_numpy(3 * ndimage.label(dark)[0])[None, None]  # numbers with gaps


def _picture(height=90, width=100, low=100, high=140):
    pixels = np.full((height, width, 3), high, np.uint8)
    for y, x in DOTS:
        pixels[y - 4 : y + 4, x - 4 : x + 4] = low
    return pixels


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_nuclei_lie_where_they_are_in_the_picture_whatever_the_teacher_sees(scale):
    teacher = Teacher()
    numbers = nuclei_of(_picture(), scale, teacher)
    assert numbers.shape == (90, 100)
    assert numbers.dtype == np.uint16
    assert sorted(np.unique(numbers)) == [0, 1, 2, 3]
    assert all(numbers[y, x] > 0 for y, x in DOTS)
    assert 150 <= (numbers > 0).sum() <= 250  # three squares of 8 by 8
    height, width = teacher.shown[0].shape[2:]
    assert height % SIDE == width % SIDE == 0
    assert (height, width) >= (90 * scale, 100 * scale)


def test_each_channel_spans_the_contrast_that_the_teacher_knows():
    teacher = Teacher()
    pixels = _picture()
    pixels[..., 2] //= 2
    nuclei_of(pixels, 1.0, teacher)
    (shown,) = teacher.shown
    assert shown.dtype == torch.float32
    assert shown.amin((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert shown.amax((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-4)


def test_a_picture_of_one_colour_holds_nothing_that_is_no_number():
    teacher = Teacher()
    nuclei_of(np.full((40, 40, 3), 7, np.uint8), 1.0, teacher)
    assert torch.isfinite(teacher.shown[0]).all()


def test_pictures_to_train_on_alone_are_taught_and_convert_reads_them(labelled, tmp_path):
    count = teach(labelled, tmp_path, Teacher())
    folder = tmp_path / TAUGHT
    with (folder / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == count > 0
    splits = {}
    for name in ("lymph_node", "lung"):
        with (labelled / name / "labels.csv").open(newline="") as file:
            splits |= {(labelled / name / r["image"]).resolve(): r for r in csv.DictReader(file)}
    taught = [splits[(folder / row["image"]).resolve()] for row in rows]
    assert {row["split"] for row in taught} == {"train"}

    convert([tmp_path], tmp_path / "jsonl")
    samples = read_samples(tmp_path / "jsonl/train.jsonl")
    assert {sample.source for sample in samples} == {TAUGHT}
    assert "number of nuclei" in {sample.topic for sample in samples}
    assert (tmp_path / "jsonl/test.jsonl").read_text() == ""


def test_of_the_turns_of_one_tile_few_are_taught(labelled, tmp_path):
    data = tmp_path / "data"
    for name in ("lymph_node", "lung"):
        (data / name).mkdir(parents=True)
        (data / name / "images").symlink_to(labelled / name / "images")
    (data / "lymph_node/labels.csv").write_text("image,label,split\n")
    rows = [f"images/{i}.png,normal,tile,train\n" for i in range(3)]
    (data / "lung/labels.csv").write_text("image,label,source_tile,split\n" + "".join(rows))
    assert teach(data, tmp_path, Teacher()) == 2


def test_a_teaching_that_was_cut_off_goes_on(labelled, tmp_path):
    first = Teacher()
    count = teach(labelled, tmp_path, first)
    assert len(first.shown) == count
    kept = sorted((tmp_path / TAUGHT / "instances").iterdir())
    table = (tmp_path / TAUGHT / "index.csv").read_text()
    was = np.asarray(Image.open(kept[0]))
    kept[0].unlink()
    again = Teacher()
    assert teach(labelled, tmp_path, again) == count
    assert len(again.shown) == 1
    assert (np.asarray(Image.open(kept[0])) == was).all()
    assert (tmp_path / TAUGHT / "index.csv").read_text() == table

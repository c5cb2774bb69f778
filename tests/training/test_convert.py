"""Converters: every line is a sample, answers agree with the labels, splits stay pure."""

import pytest

from napari_pathreason._errors import QueryError
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import convert


@pytest.fixture(scope="module")
def train(converted):
    return read_samples(converted / "train.jsonl")


def test_every_set_and_task_is_there(train):
    assert {s.source for s in train} == {
        "lymph_node",
        "lymph_field",
        "lung",
        "blood",
        "blood_stitched",
        "nuclei",
        "nuclei_instances",
    }
    assert {s.task for s in train} == {"vqa", "subtyping", "detection"}


def test_answers_are_among_the_choices(train):
    for sample in train:
        if sample.choices and sample.task != "detection":
            assert sample.answer in sample.choices


def test_wording_varies(train):
    questions = {s.question for s in train if s.topic == "tumour in a tile"}
    assert len(questions) > 2


def test_some_detection_fields_are_free_of_lesions(train):
    fields = [s for s in train if s.topic == "boxes of tumour"]
    assert any(s.boxes for s in fields)
    assert any(not s.boxes for s in fields)


def test_a_field_is_made_of_tiles_of_its_label_and_split(converted, labelled):
    labels = {}
    for line in (labelled / "lymph_node/labels.csv").read_text().splitlines()[1:]:
        image, label, split = line.split(",")
        labels[image.removeprefix("images/")] = (label, split)
    for split in ("train", "test"):
        fields = [
            s for s in read_samples(converted / f"{split}.jsonl") if s.source == "lymph_field"
        ]
        for sample in fields:
            inside = [a.corners for a in sample.facts.areas]
            for y, row in enumerate(sample.image):
                for x, name in enumerate(row):
                    label, where = labels[name.rpartition("/")[2]]
                    assert where == split
                    tumour = any(
                        x1 <= 96 * x < x2 and y1 <= 96 * y < y2 for x1, y1, x2, y2 in inside
                    )
                    assert (label == "tumour") == tumour


def test_file_names_are_relative_to_the_jsonl(train):
    for sample in train:
        name = sample.image if isinstance(sample.image, str) else sample.image[0][0]
        assert not name.startswith("/")


def test_counts_of_cells_inside_a_crop(converted):
    samples = [s for s in read_samples(converted / "val.jsonl") if s.topic.startswith("number of")]
    blood = [s for s in samples if s.source == "blood"]
    for sample in blood:
        name = sample.topic.removeprefix("number of ").removesuffix("s")
        assert int(sample.answer) == sum(area.label == name for area in sample.facts.areas)


def test_plain_folder_with_a_table(labelled, tmp_path):
    counts = convert(labelled / "lung", tmp_path, question="What is it?")
    assert sum(counts.values()) == 15
    sample = read_samples(tmp_path / "train.jsonl")[0]
    assert sample.question == "What is it?"
    assert sample.choices == ("adenocarcinoma", "normal", "squamous cell carcinoma")


def test_same_seed_same_file(labelled, tmp_path):
    for name in ("a", "b"):
        convert(labelled / "lung", tmp_path / name)
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()


def test_nothing_to_convert_names_the_remedy(tmp_path):
    with pytest.raises(QueryError, match=r"labels\.csv"):
        convert(tmp_path, tmp_path / "out")


def test_a_missing_image_is_named(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label\ngone.png,x\n")
    with pytest.raises(QueryError, match=r"gone\.png"):
        convert(tmp_path, tmp_path / "out")


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(QueryError, match="line 1"):
        read_samples(tmp_path / "x.jsonl")

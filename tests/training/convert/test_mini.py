"""The embedded model's own sets: answers agree with the labels, splits stay pure."""

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import Options, convert


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


def test_options_that_it_does_not_take_are_refused(labelled, tmp_path):
    with pytest.raises(QueryError, match="leave --most"):
        convert(labelled, tmp_path, Options(most=3))


def test_what_is_trained_on_is_drawn_again_in_other_crops(labelled, converted, tmp_path, few):
    convert(labelled, tmp_path / "again", Options(times=2))
    convert(labelled, tmp_path / "next", Options(seed=1))

    def lines(folder, split):
        samples = read_samples(folder / f"{split}.jsonl")
        samples = [s for s in samples if s.source not in ("blood_windows", "nuclei_fields")]
        return [s.model_dump_json(include={"region", "question", "answer"}) for s in samples]

    again = lines(tmp_path / "again", "train")
    assert again == lines(converted, "train") + lines(tmp_path / "next", "train")
    for split in ("val", "test"):
        assert lines(tmp_path / "again", split) == lines(converted, split)


def test_windows_of_smears_show_cells_whose_middle_they_hold(labelled, tmp_path, few):
    convert(labelled, tmp_path, Options(times=2))
    samples = read_samples(tmp_path / "train.jsonl")
    windows = [s for s in samples if s.source == "blood_windows"]
    found = [s for s in windows if s.topic == "boxes of platelet" and s.boxes]
    assert found
    for sample in windows:
        x, y, width, height = sample.region
        assert 96 <= width == height <= 192
        assert 0 <= x <= 640 - width
        assert 0 <= y <= 480 - height
    for sample in found:
        x1, y1, x2, y2 = sample.boxes[0].corners
        x, y, side, _ = sample.region
        assert x <= (x1 + x2) / 2 < x + side
        assert y <= (y1 + y2) / 2 < y + side
    assert "blood_windows" not in {s.source for s in read_samples(tmp_path / "val.jsonl")}


def test_other_sets_are_not_drawn_again(labelled, tmp_path):
    (tmp_path / "labels.csv").write_text("image,label\n")
    with pytest.raises(QueryError, match="leave --times out"):
        convert(tmp_path, tmp_path / "out", Options(times=2))


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(QueryError, match="line 1"):
        read_samples(tmp_path / "x.jsonl")

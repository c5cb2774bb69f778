"""The embedded model's own sets: answers agree with the labels, splits stay pure."""

import shutil

import pytest

from demonstrator.convert import convert, main
from napari_pathreason.errors import QueryError
from napari_pathreason.training import read_samples


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


def test_what_is_trained_on_is_drawn_again_in_other_crops(labelled, converted, tmp_path, few):
    convert([labelled], tmp_path / "again", times=2)
    convert([labelled], tmp_path / "next", seed=1)

    def lines(folder, split):
        samples = read_samples(folder / f"{split}.jsonl")
        samples = [s for s in samples if s.source not in ("blood_windows", "nuclei_fields")]
        return [s.model_dump_json(include={"region", "question", "answer"}) for s in samples]

    again = lines(tmp_path / "again", "train")
    assert again == lines(converted, "train") + lines(tmp_path / "next", "train")
    for split in ("val", "test"):
        assert lines(tmp_path / "again", split) == lines(converted, split)


def test_windows_of_smears_show_cells_whose_middle_they_hold(labelled, tmp_path, few):
    convert([labelled], tmp_path, times=2)
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


def test_the_command_says_what_it_did(labelled, tmp_path, few, capsys):
    words = [str(labelled), "-o", str(tmp_path / "out"), "--times", "2"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{labelled.name}: train: ")
    samples = read_samples(tmp_path / "out/train.jsonl")
    assert f"train: {len(samples):,} samples" in told


def test_a_folder_of_something_else_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "holds none of lymph_node, lung, blood" in told
    assert not (tmp_path / "out").exists()


def test_several_folders_become_one_set(labelled, converted, tmp_path, few):
    """Samples of one folder follow those of the other, in the order in which they are named."""
    for name in ("lung", "blood"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).symlink_to(labelled / name)
    done = convert([tmp_path / "lung", tmp_path / "blood"], tmp_path / "out")
    assert done.kinds == ("lung", "blood")
    sources = [s.source for s in read_samples(tmp_path / "out/val.jsonl")]
    whole = [s.source for s in read_samples(converted / "val.jsonl")]
    wanted = ("lung", "blood", "blood_stitched")
    assert sources == [source for source in whole if source in wanted]


def test_what_is_amiss_is_said(labelled, tmp_path, few):
    root = shutil.copytree(labelled, tmp_path / "data")
    table = root / "lymph_node/labels.csv"
    _cut(root / "lung/images/0.png")
    notes = "\n".join(convert([root], tmp_path / "o").notes)
    assert "1 pictures cannot be read and were left out (lung/images/0.png)" in notes
    assert "questions show a picture that cannot be read and were left out" in notes
    shown = [s.image for s in read_samples(tmp_path / "o/train.jsonl")]
    assert not any(isinstance(name, str) and "lung/images/0.png" in name for name in shown)
    whole = table.read_text()
    for old, new, told in (
        ("train", "training", r"lymph_node/labels\.csv, line 2: split is train, val or test"),
        (",tumour", ",Tumour", r"'Tumour' is none of tumour, no tumour"),
    ):
        table.write_text(whole.replace(old, new))
        with pytest.raises(QueryError, match=told):
            convert([root], tmp_path / "o")
    table.write_text(whole)
    _cut(root / "nuclei/mask/0.png")
    with pytest.raises(QueryError, match=r"nuclei/mask/0\.png cannot be read; copy the folder"):
        convert([root], tmp_path / "o")


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"image": "a.png"}\n')
    with pytest.raises(QueryError, match="line 1"):
        read_samples(tmp_path / "x.jsonl")


def _cut(path):
    """Leave half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])

"""Names of splits: every known one is taken wherever a split is published, others are refused."""

import csv
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import Options, convert, split_of

FAMILIES = {
    "train": ("train", "training", "Training", "trn", "tr", "TRAIN_SET", "train2017", "images_tr"),
    "val": ("val", "valid", "Validation", "validate", "dev", "development", "tuning", "val_data"),
    "test": ("test", "Testing", "tst", "ts", "te", "holdout", "hold-out", "held_out", "Test Set"),
}
SPELLED = [(name, split) for split, names in FAMILIES.items() for name in names]


def _fill(folder, save, names=("benign", "malignant"), count=3):
    for name in names:
        for number in range(count):
            save(folder / name / f"{number}.png", (32, 32))


def _rows(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _lines(out, split):
    return len((out / f"{split}.jsonl").read_text().splitlines())


@pytest.mark.parametrize(
    ("name", "split"), [*SPELLED, ("imagesTr", "train"), ("TestSet", "test"), ("valImages", "val")]
)
def test_a_spelling_means_its_split(name, split):
    assert split_of(name) == split


@given(st.sampled_from(SPELLED), st.integers(0, 2**16))
def test_letter_case_does_not_matter(spelled, bits):
    name, split = spelled
    changed = "".join(c.upper() if bits >> i & 1 else c.lower() for i, c in enumerate(name))
    assert split_of(changed) == split


@pytest.mark.parametrize(
    "name",
    ["", "eval", "trainval", "train_val", "fold1", "test1", "images", "tissue", "Té"],
)
def test_what_could_mean_something_else_is_no_split(name):
    assert split_of(name) is None


def test_the_issue_training_and_test(tmp_path, save, capsys):
    _fill(tmp_path / "mine/training", save, count=20)
    _fill(tmp_path / "mine/test", save)
    out = tmp_path / "o"
    assert main(["data", "convert", str(tmp_path / "mine"), "-o", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("folders: train: 36 samples, val: 4 samples, test: 6 samples\n")
    assert "no val was published: a tenth of train became it" in told


@pytest.mark.parametrize("name", FAMILIES["val"])
def test_no_spelling_of_validation_is_dropped(tmp_path, run, save, name):
    for split in ("train", name, "test"):
        _fill(tmp_path / "mine" / split, save)
    done = run(tmp_path / "mine")
    assert [len(samples) for samples in done.samples.values()] == [6, 6, 6]
    assert done.notes == ""
    assert all(f"/{name}/" in image for image in done.images("val"))


@pytest.mark.parametrize("name", ["exam", "extra", "eval", "test1"])
def test_a_folder_beside_splits_is_refused_by_name(tmp_path, save, capsys, name):
    for split in ("train", "test", name):
        _fill(tmp_path / "mine" / split, save)
    assert main(["data", "convert", str(tmp_path / "mine"), "-o", str(tmp_path / "o")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{name} in mine lies beside test and train" in told
    assert "validation, dev" in told
    assert not (tmp_path / "o").exists()


def test_folders_of_splits_that_are_all_unknown_are_no_classes(tmp_path, save):
    for split in ("exercise", "exam"):
        _fill(tmp_path / "mine" / split, save)
    with pytest.raises(QueryError, match=r"two folders deep \(exam and exercise, then"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_splits_may_lie_below_classes(tmp_path, run, save):
    for name in ("benign", "malignant"):
        _fill(tmp_path / "mine" / name, save, ("Training", "validation", "holdout"))
    done = run(tmp_path / "mine")
    assert [len(samples) for samples in done.samples.values()] == [6, 6, 6]
    assert {s.answer for s in done.all} == {"benign", "malignant"}
    _fill(tmp_path / "mine/benign", save, ("exam",))
    with pytest.raises(QueryError, match="exam in mine is no name"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_a_split_without_classes_is_refused(tmp_path, save):
    for split in ("training", "testing"):
        for number in range(3):
            save(tmp_path / "mine" / split / f"{number}.png")
    with pytest.raises(QueryError, match=r"testing in mine has the name of a split .*without"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_pictures_deeper_than_their_class_are_refused(tmp_path, save):
    _fill(tmp_path / "mine", save)
    save(tmp_path / "mine/benign/patient 1/0.png")
    with pytest.raises(QueryError, match=r"deeper than its classes, in benign/patient 1"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_a_split_that_is_converted_by_itself_stays_one(tmp_path, run, save):
    _fill(tmp_path / "data/test", save)
    with pytest.raises(QueryError, match=r"no samples for train .*test is the name of a split"):
        convert(tmp_path / "data/test", tmp_path / "o")
    done = run(tmp_path / "data/test", splits=("test",))
    assert [len(samples) for samples in done.samples.values()] == [0, 0, 6]
    _fill(tmp_path / "data/train", save, count=20)
    both = run([tmp_path / "data/train", tmp_path / "data/test"], out="both")
    assert [len(samples) for samples in both.samples.values()] == [36, 4, 6]
    assert {image.split("/")[-3] for image in both.images("test")} == {"test"}
    assert {image.split("/")[-3] for image in both.images("val")} == {"train"}


@pytest.mark.parametrize("column", ["split", "Split", "set", "subset", "Partition"])
def test_a_column_of_a_table_takes_every_spelling(tmp_path, run, save, column):
    rows = []
    for number, (name, _) in enumerate(SPELLED):
        save(tmp_path / f"{number}.png", (32, 32))
        rows.append((f"{number}.png", ("x", "y")[number % 2], name))
    _rows(tmp_path / "labels.csv", ("image", "label", column), *rows)
    done = run(tmp_path)
    counts = [len(samples) for samples in done.samples.values()]
    assert counts == [len(names) for names in FAMILIES.values()]


def test_an_unknown_split_of_a_table_is_refused_by_name(tmp_path, save):
    save(tmp_path / "a.png")
    _rows(tmp_path / "labels.csv", ("image", "label", "split"), ("a.png", "x", "exam"))
    with pytest.raises(QueryError, match=r"line 2: split is train, val or test, and 'exam' is no"):
        convert(tmp_path, tmp_path / "o")


def test_tables_of_one_split_each_are_read_together(tmp_path, run, save):
    for folder, names in (
        ("files", [f"{name}.csv" for name in ("training", "valid", "holdout")]),
        ("folders", [f"{name}/labels.csv" for name in ("training", "valid", "holdout")]),
    ):
        for number, name in enumerate(names):
            path = tmp_path / folder / name
            save(path.parent / f"{number}.png", (32, 32))
            save(path.parent / f"{number}b.png", (32, 32))
            _rows(path, ("image", "label"), (f"{number}.png", "x"), (f"{number}b.png", "y"))
        done = run(tmp_path / folder, out=f"of {folder}")
        assert [len(samples) for samples in done.samples.values()] == [2, 2, 2]
        assert {s.choices for s in done.all} == {("x", "y")}
        assert all(image.rpartition("/")[2][0] == "2" for image in done.images("test"))
    alone = run(tmp_path / "files/holdout.csv", out="alone", splits=("test",))
    assert "holdout.csv is the name of a split: all of it is test" in alone.notes
    assert len(alone.samples["test"]) == 2


@pytest.mark.parametrize(
    "names",
    [
        ("x_train.json", "x_validation.json", "x_holdout.jsonl"),
        ("Training/a.json", "dev/b.json", "testing/c.jsonl"),
    ],
)
def test_files_and_folders_of_chats_take_every_spelling(tmp_path, run, save, names):
    for number, name in enumerate(names):
        path = tmp_path / "chats" / name
        save(path.parent / f"{number}.png")
        record = {
            "messages": [{"role": "user", "content": "Which? (A) one (B) two"}],
            "images": [f"{number}.png"],
            "solution": "(A) one",
        }
        path.write_text(json.dumps(record if path.suffix == ".jsonl" else [record]))
    done = run(tmp_path / "chats")
    assert done.kind == "messages"
    assert [len(samples) for samples in done.samples.values()] == [1, 1, 1]


def test_a_file_that_names_two_splits_is_refused(tmp_path, save):
    save(tmp_path / "a.png")
    record = {"messages": [{"role": "user", "content": "?"}], "images": ["a.png"], "solution": "x"}
    (tmp_path / "train_and_test.json").write_text(json.dumps([record]))
    with pytest.raises(QueryError, match="names the splits test and train; rename it"):
        convert(tmp_path, tmp_path / "o", kind="messages")


def test_archives_take_every_spelling_and_refuse_others(tmp_path, run):
    def shard(name, number):
        file = io.BytesIO()
        Image.fromarray(np.full((40, 40, 3), 30 * number, np.uint8)).save(file, "PNG")
        table = {"image": [{"bytes": file.getvalue(), "path": None}]}
        table |= {"question": ["what is it?"], "answer": ["a gland"]}
        path = tmp_path / f"vqa/data/{name}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(table), path)

    for number, name in enumerate(("training", "dev", "testing")):
        shard(name, number)
    done = run(tmp_path / "vqa")
    assert done.kind == "pathvqa"
    assert [len(samples) for samples in done.samples.values()] == [1, 1, 1]
    shard("exam", 4)
    with pytest.raises(QueryError, match="'exam' is no name of a split"):
        convert(tmp_path / "vqa", tmp_path / "o")


def test_pathmmu_with_an_unknown_split_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "data.json").write_text(json.dumps({"Atlas": {"val": [], "exam": []}}))
    with pytest.raises(QueryError, match=r"Atlas in data\.json: 'exam' is no name of a split"):
        convert(tmp_path, tmp_path / "o", Options())

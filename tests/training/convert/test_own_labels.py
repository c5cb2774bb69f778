"""A lab's own tables and folders, and how a layout is told from another."""

import csv

import pytest
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import KINDS, Options, convert


def _table(folder, *rows):
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_a_table_of_labels(labelled, run):
    done = run(labelled / "lung", question="What is it?")
    assert done.kind == "table"
    assert len(done.all) == 15
    sample = done.samples["train"][0]
    assert sample.question == "What is it?"
    assert sample.choices == ("adenocarcinoma", "normal", "squamous cell carcinoma")


def test_a_table_of_questions_regions_and_boxes(tmp_path, run, save):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, (200, 100))
    _table(
        tmp_path,
        ("image", "region", "question", "choices", "answer", "boxes", "task", "split"),
        ("a.png", "10 20 80 64", "Is it dense?", "yes | no", "no", "", "", "train"),
        ("a.png", "", "How many?", "", "3", "", "", "train"),
        ("a.png", "10 0 150 100", "", "gland", "", "[[20, 10, 60, 50]]", "", "train"),
        ("b.png", "", "Find glands.", "gland|duct", "", "[]", "", "test"),
        (
            "b.png",
            "",
            "",
            "",
            "",
            '[{"bbox_2d": [1, 2, 3, 4], "label": "duct"}]',
            "detection",
            "test",
        ),
    )
    done = run(tmp_path, splits=("train", "test"))
    dense, many, gland = done.samples["train"]
    assert (dense.task, dense.region, dense.choices) == ("vqa", (10, 20, 80, 64), ("yes", "no"))
    assert (many.task, many.answer, many.choices) == ("vqa", "3", ())
    assert [(box.label, box.corners) for box in gland.boxes] == [("gland", (20, 10, 60, 50))]
    assert (gland.task, gland.region) == ("detection", (10, 0, 150, 100))
    none, duct = done.samples["test"]
    assert (none.task, none.boxes, none.choices) == ("detection", (), ("gland", "duct"))
    assert duct.boxes[0].label == "duct"
    assert [s.topic.partition(": ")[2] for s in (dense, gland, duct)] == [
        "questions",
        "boxes",
        "boxes",
    ]
    same = run(tmp_path / "labels.csv", out="same", splits=("train", "test"))
    assert same.samples == done.samples


@pytest.mark.parametrize("column", ["group", "patient", "slide"])
def test_what_belongs_together_stays_together(tmp_path, run, save, column):
    rows = []
    for i in range(40):
        save(tmp_path / f"{i}.png", (32, 32))
        rows.append((f"{i}.png", ("x", "y")[i % 2], f"p{i // 4}"))
    _table(tmp_path, ("image", "label", column), *rows)
    done = run(tmp_path)
    assert done.notes == ""
    patient = {name: group for name, _, group in rows}
    sides = [{patient[i.rpartition("/")[2]] for i in done.images(s)} for s in done.samples]
    assert [len(side) for side in sides] == [8, 1, 1]
    assert len(sides[0] | sides[1] | sides[2]) == 10
    assert run(tmp_path, seed=1, out="b").images("test") != done.images("test")
    assert run(tmp_path, out="c").samples == done.samples


def test_a_group_goes_where_its_published_pictures_are(tmp_path, run, save):
    for i in range(6):
        save(tmp_path / f"{i}.png", (32, 32))
    _table(
        tmp_path,
        ("image", "label", "patient", "split"),
        *((f"{i}.png", "x", f"p{i // 2}", ("test", "", "", "", "", "")[i]) for i in range(6)),
    )
    done = run(tmp_path)
    assert {"0.png", "1.png"} <= {i.rpartition("/")[2] for i in done.images("test")}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((("image", "tag"), ("a.png", "x")), "needs the columns image and label"),
        ((("image", "label"), ("", "x")), "line 2: a picture is not in the folder"),
        ((("image", "label"), ("gone.png", "x")), r"line 2: gone\.png is not in the folder"),
        ((("image", "label", "region"), ("a.png", "x", "1 2 3")), "line 2: a region is x y w h"),
        ((("image", "boxes"), ("a.png", "1 2 3 4")), "line 2: boxes are JSON"),
        ((("image", "label", "split"), ("a.png", "x", "exam")), "line 2: split is train"),
        ((("image", "answer"), ("a.png", "x")), "line 2: .*vqa needs a question"),
        (
            (("image", "question", "choices", "answer"), ("a.png", "q", "a|b", "c")),
            "line 2: the answer 'c' is none of a, b",
        ),
        (
            (("image", "label", "patient"), ("a.png", "x", "1"), ("a.png", "y", "2")),
            "line 3: .*one split and group",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, save, rows, told):
    save(tmp_path / "a.png")
    _table(tmp_path, *rows)
    with pytest.raises(QueryError, match=told):
        convert(tmp_path, tmp_path / "o")


def test_a_table_in_another_encoding_names_the_remedy(tmp_path):
    (tmp_path / "labels.csv").write_bytes("image,label\na.png,früh\n".encode("latin-1"))
    with pytest.raises(QueryError, match=r"labels\.csv cannot be read; save it as CSV in UTF-8"):
        convert(tmp_path, tmp_path / "o")


def test_folders_of_classes_with_and_without_splits(tmp_path, run, save):
    for name in ("high_grade", "low_grade"):
        for i in range(20):
            save(tmp_path / "plain" / name / f"{i}.png", (32, 32))
            split = ("train", "valid", "test")[min(2, i // 8)]
            save(tmp_path / "split" / split / name / f"{i}.png", (32, 32))
    plain = run(tmp_path / "plain", question="Which grade?", out="p")
    assert plain.kind == "folders"
    assert "dealt picture by picture" in plain.notes
    assert all(plain.samples.values())
    split = run(tmp_path / "split", out="s")
    assert split.notes == ""
    assert [len(split.images(s)) for s in split.samples] == [16, 16, 8]
    for sample in plain.all + split.all:
        assert sample.choices == ("high grade", "low grade")
        assert sample.answer.replace(" ", "_") == sample.image.split("/")[-2]


def test_an_unknown_layout_names_the_known_ones(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(QueryError, match="no layout that is known") as error:
        convert(tmp_path, tmp_path / "out")
    assert all(name in str(error.value) for name in KINDS)
    assert "\n" not in str(error.value)
    with pytest.raises(QueryError, match="there is no kind pcam"):
        convert(tmp_path, tmp_path / "out", Options(), "pcam")
    for kind in ("", *KINDS):
        with pytest.raises(QueryError, match="is not there"):
            convert(tmp_path / "gone", tmp_path / "out", kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_does_not_fit_is_refused_in_one_line(tmp_path, kind):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    for source in (tmp_path / "empty", tmp_path / "notes.txt"):
        with pytest.raises(QueryError) as error:
            convert(source, tmp_path / "out", kind=kind)
        assert "\n" not in str(error.value)


def test_a_layout_that_could_be_two_asks(tmp_path, save):
    save(tmp_path / "VALSET1_UKK/TUMOR/tumor.0.jpg")
    (tmp_path / "Grade.csv").write_text("name,patient ID, grade (GlaS)\n")
    with pytest.raises(QueryError, match="could be glas or esca; say which with --kind"):
        convert(tmp_path, tmp_path / "out")


def test_several_folders_become_one_set(labelled, tmp_path, run, save):
    for name in ("benign", "malignant"):
        for i in range(6):
            save(tmp_path / "more" / name / f"{i}.png", (32, 32))
    done = run([labelled / "lung", tmp_path / "more"])
    assert done.kind == "table + folders"
    assert done.notes.startswith("folders: dealt picture by picture")
    for samples in done.samples.values():
        assert {s.source for s in samples} == {"lung", "more"}
    assert len(done.all) == 15 + 12

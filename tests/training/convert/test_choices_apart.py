"""Choices that are one after case and blanks are refused by name; signs keep them apart."""

import csv
import json

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import whole_choice
from napari_pathreason.training.convert import convert, refuse_alike_choices
from napari_pathreason.training.convert.sets import chosen

ALIKE = [
    ("Tumour", " tumour "),
    ("no tumour", "No_Tumour"),
    ("low  grade", "low grade"),
    ("a_b", "a b"),
]
APART = [("<1%", ">=1%"), ("3+4", "4+3"), ("1", "1+"), ("grade 1", "grade 10"), ("-", "+")]


def _table(folder, save, *rows):
    folder.mkdir(exist_ok=True)
    for name in dict.fromkeys(row[0] for row in rows[1:]):
        save(folder / name, (32, 32))
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.mark.parametrize("pair", ALIKE)
def test_labels_of_a_table(tmp_path, save, capsys, pair):
    rows = [(f"{i}.png", pair[i % 2]) for i in range(8)]
    folder = _table(tmp_path / "mine", save, ("image", "label"), *rows)
    assert main(["data", "convert", str(folder), "-o", str(tmp_path / "o")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for label, line in zip(pair, (2, 3), strict=True):
        assert f"{label!r} (labels.csv, line {line})" in told
    assert "one after case and blanks" in told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("pair", APART)
def test_labels_that_differ_by_signs_are_kept(tmp_path, save, run, pair):
    rows = [(f"{i}.png", pair[i % 2]) for i in range(8)]
    done = run(_table(tmp_path / "mine", save, ("image", "label"), *rows))
    assert {s.choices for s in done.all} == {tuple(sorted(pair))}
    assert {s.answer for s in done.all} == set(pair)


@pytest.mark.parametrize("choices", ["Yes|no|yes", "yes|no|yes", "a b|a_b", "Yes | yes"])
def test_choices_of_a_row_name_the_row(tmp_path, save, choices):
    folder = _table(
        tmp_path / "mine",
        save,
        ("image", "question", "choices", "answer"),
        ("a.png", "Is it?", choices, "no"),
    )
    with pytest.raises(QueryError, match=r"labels\.csv, line 2: the choices .* are one after case"):
        convert(folder, tmp_path / "o")


def test_labels_of_boxes(tmp_path, save):
    box = {"bbox_2d": [1, 2, 9, 9]}
    rows = [
        (f"{number}.png", json.dumps([box | {"label": name}]))
        for number, name in enumerate(("Gland", "gland"))
    ]
    folder = _table(tmp_path / "mine", save, ("image", "boxes"), *rows)
    with pytest.raises(QueryError, match=r"labels of boxes 'Gland' .*line 2.* and 'gland'"):
        convert(folder, tmp_path / "o")


@pytest.mark.parametrize(
    "pair", [("Tumour", "tumour"), ("a_b", "a b"), ("low  grade", "Low grade")]
)
def test_class_folders_name_both(tmp_path, save, pair):
    for split, names in (("train", (pair[0], "normal")), ("test", (pair[1], "normal"))):
        for name in names:
            save(tmp_path / "mine" / split / name / "0.png")
    with pytest.raises(QueryError, match="class folders") as error:
        convert(tmp_path / "mine", tmp_path / "o")
    assert f"{pair[0]!r} (train/{pair[0]})" in str(error.value)
    assert f"{pair[1]!r} (test/{pair[1]})" in str(error.value)


def test_options_of_a_chat_name_the_record(tmp_path, save):
    save(tmp_path / "a.png")
    questions = ("Which? (A) benign (B) malignant", "Which? (A) Benign (B) benign.")
    records = [
        {"messages": [{"role": "user", "content": q}], "images": ["a.png"], "solution": "(A)"}
        for q in questions
    ]
    (tmp_path / "chats.json").write_text(json.dumps(records))
    with pytest.raises(
        QueryError, match=r"chats\.json, record 2: the choices 'Benign' and 'benign'"
    ):
        convert(tmp_path / "chats.json", tmp_path / "o")


@pytest.mark.parametrize("pair", APART)
def test_an_answer_of_a_chat_is_the_option_that_it_spells(pair):
    asked = f"Which? (A) {pair[0]} (B) {pair[1]}"
    marked = [f"({mark}) {answer}" for mark, answer in zip("AB", pair, strict=True)]
    assert [chosen(answer, pair, asked) for answer in pair] == list(pair)
    assert [chosen(answer, pair, asked) for answer in marked] == list(pair)
    assert chosen(f"(B) {pair[0]}", pair, asked) == ""


SIGNS = st.text("ab12<>=+-/%. _", min_size=1, max_size=6).filter(str.strip)


@given(st.lists(SIGNS, min_size=2, max_size=5, unique=True))
def test_choices_are_apart_or_named(labels):
    keys = {" ".join(label.replace("_", " ").split()) for label in labels}
    if len(keys) < len(labels):
        with pytest.raises(QueryError, match="are one after case and blanks"):
            refuse_alike_choices("here", labels)
        return
    refuse_alike_choices("here", labels)
    for label in labels:
        assert whole_choice(f"  {label.upper()} ", labels) == label

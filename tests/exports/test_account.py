import csv
from datetime import UTC, datetime

from napari_pathreason.exports import write_account
from napari_pathreason.types import Query

TIME = datetime(2026, 3, 1, 12, 30, 5, 999, tzinfo=UTC)


def test_a_row_for_each_answer(make_result, tmp_path):
    results = [make_result(), make_result(query=Query("vqa", "=1+1\nHow many?", ("a", "b")))]
    assert write_account(tmp_path / "a.csv", [(TIME, one) for one in results]) == 2
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert first["time"] == "2026-03-01T12:30:05+00:00"
    spent = ("tokens", "allocator_tokens", "native_picture", "native_windows", "saved_tokens")
    assert [int(first[name]) for name in spent] == [60, 2, 1024, 1024, 962]
    assert [first[name] for name in ("policy", "windows", "unread")] == ["one_view", "0", "0"]
    assert first["budget"] == "64"
    assert first["seconds"] == "0.1"
    assert (first["reliability"], first["reasons"]) == ("reliable", "")
    assert second["question"] == "'=1+1 How many?"
    assert second["choices"] == "a, b"


def test_windows_are_counted(make_windowed, make_result, tmp_path):
    results = [make_windowed(), make_result(views=None, readings=())]  # the second of a slide run
    write_account(tmp_path / "a.csv", [(TIME, one) for one in results])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert [first[name] for name in ("policy", "windows", "unread")] == ["again", "5", "3"]
    assert (first["native_picture"], first["native_windows"]) == ("775", "768")
    assert [second[name] for name in ("policy", "windows", "unread")] == ["", "", ""]


def test_no_answer_gives_the_head_alone(tmp_path):
    assert write_account(tmp_path / "a.csv", []) == 0
    assert (tmp_path / "a.csv").read_text().count("\n") == 1

"""Figures go between the marks of a page, and nowhere else."""

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training.evaluation import FIGURES, RELIABILITY, fill, made_by, marks

BEGIN, END = marks(FIGURES)


def test_only_what_stands_between_the_marks_changes(tmp_path):
    page = tmp_path / "card.md"
    page.write_text(f"# Card\n\n{BEGIN}\nold\n{END}\n\nWords.\n")
    fill(page, "new")
    once = page.read_text()
    assert once == f"# Card\n\n{BEGIN}\n\nnew\n\n{END}\n\nWords.\n"
    fill(page, "new")
    assert page.read_text() == once


@pytest.mark.parametrize("text", ["Words.", f"{BEGIN} words", f"{END} words {BEGIN}"])
def test_a_page_without_marks_is_left_alone(tmp_path, text):
    page = tmp_path / "card.md"
    page.write_text(text)
    with pytest.raises(QueryError, match="no marks"):
        fill(page, "new")
    assert page.read_text() == text


def test_a_new_page_is_the_figures(tmp_path):
    fill(tmp_path / "docs" / "new.md", "figures")
    assert (tmp_path / "docs" / "new.md").read_text() == "figures\n"


def test_a_page_may_have_several_marks(tmp_path):
    page = tmp_path / "page.md"
    begin, end = marks(RELIABILITY)
    page.write_text(f"{BEGIN}\nold\n{END}\n\nWords.\n\n{begin}\nold\n{end}\n")
    fill(page, "new", RELIABILITY)
    assert page.read_text() == f"{BEGIN}\nold\n{END}\n\nWords.\n\n{begin}\n\nnew\n\n{end}\n"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("pathreason evaluate '/a/my models/m' --budgets 4", "pathreason evaluate m --budgets 4"),
        ("train lab 'my set' -o 'runs/my run'", "train lab 'my set' -o 'my run'"),
        (
            "--set model.start=/a/b/tiny --set a=1e-3",
            "--set model.start=tiny --set a=1e-3",
        ),
        ("--set 'sft.budgets={4: 1}'", "--set 'sft.budgets={4: 1}'"),
        ("--question 'Is it G1/G2 or G3?'", "--question 'Is it G1/G2 or G3?'"),
    ],
)
def test_a_command_names_no_folder_and_can_be_typed_again(typed, told, tmp_path, monkeypatch):
    (tmp_path / "runs/my run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert made_by(typed)["command"] == told

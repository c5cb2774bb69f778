"""What is refused before anything is spent."""

import pytest

from napari_pathreason.engine import check_query
from napari_pathreason.errors import QueryError
from napari_pathreason.types import Query


@pytest.mark.parametrize(
    ("question", "options", "says"),
    [
        ("a\udcff?", (), "no text"),
        ("Is it?", ("yes", "\ud800"), "no text"),
        ("x" * 3_000_000, (), "3,000,000 characters; write at most 20,000"),
        ("Is it?", ("y" * 15_000, "n" * 15_000), "30,006 characters"),
    ],
)
def test_words_that_no_model_reads_are_refused(question: str, options: tuple, says: str):
    with pytest.raises(QueryError, match=says):
        check_query(Query("vqa", question, options), 64)


def test_a_long_question_is_a_question():
    check_query(Query("vqa", "Is it? " * 2_000, ("yes", "no")), 64)

"""Whatever an error quotes, it is one short line that steers no terminal."""

import pickle

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import LINE, STEERING, ModelError, PathreasonError


@given(st.text())
def test_an_error_is_one_line(quoted):
    line = str(ModelError(f"the model has {quoted} in config.json; fetch it again"))
    assert not STEERING.search(line)
    assert len(line.splitlines()) == 1
    assert line.startswith("the model has ")
    assert line.endswith(" in config.json; fetch it again")


def test_what_is_quoted_without_end_is_cut_and_the_remedy_stays():
    line = str(ModelError(f"the model has {'x' * 10**6} in config.json; fetch it again"))
    assert len(line) < LINE
    assert line.startswith("the model has xxx")
    assert line.endswith("xxx in config.json; fetch it again")


@pytest.mark.parametrize("kind", PathreasonError.__subclasses__())
def test_an_error_of_another_process_is_the_same(kind):
    again = pickle.loads(pickle.dumps(kind("one\ntwo")))
    assert type(again) is kind
    assert str(again) == "one\N{REPLACEMENT CHARACTER}two"

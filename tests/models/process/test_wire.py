import io

import pytest

from napari_pathreason.errors import ModelError, OutOfMemoryError, RegionError
from napari_pathreason.models.process import Failure, Piece, Wire


def test_values_arrive_whole_and_in_order():
    pipe = io.BytesIO()
    for text in ("a", "µ", ""):
        Wire(io.BytesIO(), pipe).send(Piece(3, text))
    pipe.seek(0)
    wire = Wire(pipe, io.BytesIO())
    assert [wire.receive() for _ in range(3)] == [Piece(3, "a"), Piece(3, "µ"), Piece(3, "")]
    with pytest.raises(EOFError):
        wire.receive()


@pytest.mark.parametrize("cut", [1, 10, -1])
def test_half_a_value_is_the_end(cut):
    pipe = io.BytesIO()
    Wire(io.BytesIO(), pipe).send(Piece(1, "some text"))
    wire = Wire(io.BytesIO(pipe.getvalue()[:cut]), io.BytesIO())
    with pytest.raises(EOFError):
        wire.receive()


@pytest.mark.parametrize("kind", [ModelError, OutOfMemoryError, RegionError])
def test_errors_for_users_keep_class_and_words(kind):
    error = Failure.of(4, kind("do this")).error()
    assert type(error) is kind
    assert str(error) == "do this"


@pytest.mark.parametrize("inner", [ValueError("first\nsecond"), KeyError(), RuntimeError("")])
def test_other_errors_become_one_line(inner):
    error = Failure.of(4, inner).error()
    assert type(error) is ModelError
    assert type(inner).__name__ in str(error)
    assert "second" not in str(error)
    assert "\n" not in str(error)

import math

import pytest
from hypothesis import example, given, strategies as st
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as reference

from napari_pathreason.tokens import smart_resize

cells = st.sampled_from([28, 32])
sides = st.integers(1, 20_000)
budgets = st.integers(1, 20_000)


@given(sides, sides, cells, budgets)
@example(28 * 40, 28, 28, 4)  # thin at the target scale: the reference gives a side of zero
@example(32 * 3, 32 * 3, 32, 9)
def test_sides_are_whole_cells_within_the_budget(height, width, token_px, budget):
    h, w = smart_resize(height, width, token_px, 0, budget * token_px * token_px)
    assert h >= token_px
    assert w >= token_px
    assert h % token_px == w % token_px == 0
    assert h * w <= budget * token_px * token_px


@given(sides, sides, cells, st.integers(0, 500), budgets)
@example(100, 100, 28, 0, 1)
@example(28 * 5 + 14, 28 * 6 + 14, 28, 0, 20_000)  # sides that end in half a cell
def test_equals_transformers_where_that_one_is_right(height, width, token_px, least, most):
    area = token_px * token_px
    if least > most:
        least, most = most, least
    try:
        theirs = reference(height, width, token_px, least * area, max(most, 1) * area)
    except ValueError:  # it refuses pictures that are more than 200 times as long as wide
        assert max(height, width) / min(height, width) > 200
        return
    if min(theirs) >= token_px and theirs[0] * theirs[1] <= max(most, 1) * area:
        assert smart_resize(height, width, token_px, least * area, max(most, 1) * area) == theirs


@given(sides, sides, cells)
def test_a_picture_within_the_budget_only_snaps_to_cells(height, width, token_px):
    h, w = smart_resize(height, width, token_px, 0, 10**12)
    assert abs(h - height) <= token_px / 2 or h == token_px
    assert abs(w - width) <= token_px / 2 or w == token_px


@given(st.integers(64, 5000), st.integers(64, 5000), cells, st.integers(16, 1024))
def test_the_shape_is_kept_as_far_as_cells_allow(height, width, token_px, budget):
    h, w = smart_resize(height, width, token_px, 0, budget * token_px * token_px)
    if h == token_px or w == token_px:
        return  # a side cannot be thinner than a cell
    # each side is off by less than one cell, so the ratio by no more than this
    slack = (1 + token_px / h) * (1 + token_px / w)
    assert 1 / slack <= (h / w) / (height / width) <= slack


@pytest.mark.parametrize(
    ("height", "width", "token_px", "budget", "size"),
    [
        (4096, 4096, 28, 256, (448, 448)),  # the example of the design
        (4096, 4096, 32, 256, (512, 512)),
        (224, 224, 28, 1024, (224, 224)),
        (1120, 28, 28, 4, (112, 28)),
        (28, 1120, 28, 4, (28, 112)),
        (2240, 56, 28, 3, (84, 28)),
    ],
)
def test_worked_examples(height, width, token_px, budget, size):
    assert smart_resize(height, width, token_px, 0, budget * token_px * token_px) == size


def test_the_reference_really_breaks_where_ours_departs():
    theirs = reference(1120, 28, 28, 0, 4 * 28 * 28)
    ours = smart_resize(1120, 28, 28, 0, 4 * 28 * 28)
    assert min(theirs) < 28 or math.prod(theirs) > 4 * 28 * 28
    assert ours == (112, 28)

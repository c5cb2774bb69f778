import math
from dataclasses import replace

import pytest
from hypothesis import example, given, strategies as st

from napari_pathreason.budgets import (
    BUDGET_GRID,
    budget_of,
    flops,
    native_tokens,
    parse_budget,
    plan,
    smart_resize,
    snap,
    token_px_of,
)
from napari_pathreason.engine import view_of
from napari_pathreason.errors import QueryError, RegionError
from napari_pathreason.geometry import Region
from napari_pathreason.types import ModelDims

try:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as reference
except ModuleNotFoundError:  # its name before 5.2
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as reference

token_sides = st.sampled_from([28, 32])
region_sides = st.integers(32, 100_000)
budgets = st.sampled_from(BUDGET_GRID) | st.integers(1, 5000)
sides = st.integers(1, 20_000)


@given(region_sides, region_sides, token_sides, budgets)
def test_realised_never_exceeds_requested_or_native(width, height, token_px, budget):
    made = plan(Region(5, 7, width, height), budget, token_px)
    assert 1 <= made.tokens <= min(budget, made.native)
    assert made.size == (made.grid[0] * token_px, made.grid[1] * token_px)
    assert made.requested == budget


@given(st.integers(32, 6000), st.integers(32, 6000), token_sides, st.none() | st.integers(1, 2000))
@example(495, 555, 32, 64)  # 56 tokens, and read at 56 it would have 49
def test_a_view_is_had_again_from_its_budget(width, height, token_px, budget):
    view = view_of(Region(5, 7, width, height), budget, token_px, "window")
    assert token_px_of(view) == token_px
    assert view_of(view.region, budget_of(view), token_px, "window") == view
    assert budget is None or view.tokens <= budget_of(view) <= max(budget, view.tokens)


@given(region_sides, region_sides, token_sides, budgets | st.none())
@example(145, 6545, 32, 1024)  # one token below what rounding both sides up would take
def test_a_plan_never_enlarges_beyond_what_rounding_does(width, height, token_px, budget):
    made = plan(Region(0, 0, width, height), budget, token_px)
    # whole tokens add up to half a one a side; as Qwen's processors have it, a budget just below
    # the sides so rounded spreads what they add in area over both
    spread = math.sqrt(made.native * token_px**2 / (width * height))
    assert made.size[0] <= max(width + token_px / 2, width * spread)
    assert made.size[1] <= max(height + token_px / 2, height * spread)


@given(region_sides, region_sides, token_sides)
def test_native_is_the_region_in_whole_tokens(width, height, token_px):
    region = Region(0, 0, width, height)
    made = plan(region, None, token_px)
    assert made.requested is None
    assert made.tokens == made.native == native_tokens(region, token_px)


@given(region_sides, region_sides, token_sides)
def test_a_higher_budget_never_gives_fewer_tokens(width, height, token_px):
    tokens = [plan(Region(0, 0, width, height), budget, token_px).tokens for budget in BUDGET_GRID]
    assert tokens == sorted(tokens)


@given(st.integers(300, 20_000), st.integers(300, 20_000), st.sampled_from(BUDGET_GRID[2:]))
def test_most_of_a_budget_is_used_where_the_region_has_it(width, height, budget):
    if max(width, height) > 3 * min(width, height):
        return
    made = plan(Region(0, 0, width, height), budget, 28)
    assert made.tokens >= 0.4 * min(budget, made.native)


@pytest.mark.parametrize(("width", "height"), [(27, 500), (500, 27), (1, 1)])
def test_a_region_thinner_than_a_token_is_refused(width, height):
    with pytest.raises(RegionError, match="mark a larger one"):
        plan(Region(0, 0, width, height), 64, 28)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("auto", "auto"), (" Native ", "native"), ("64", 64), (256, 256), ("100", 100)],
)
def test_budgets_are_read(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-4", "6.5", "many", 0, "²", "9" * 5000])
def test_other_budgets_are_refused(text):
    with pytest.raises(QueryError, match="give auto, native or a number") as error:
        parse_budget(text)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("number", "native", "budget"),
    [
        (64, 1000, 64),
        (127, 1000, 64),
        (1, 1000, 4),
        (2000, 5000, 1024),
        (999, 1000, 512),
        (1000, 1000, None),
        (10**9, 5000, None),
        (64, 64, None),
        (63, 64, 32),
        (3, 4, None),
        (1, 1, None),
    ],
)
def test_a_number_gets_the_highest_budget_below_it(number, native, budget):
    assert snap(number, native) == budget


def test_no_budget_asks_for_more_than_was_written_but_the_lowest():
    for number in range(1, 3000, 7):
        budget = snap(number, 2000)
        assert (2000 if budget is None else budget) <= max(number, BUDGET_GRID[0])


@given(sides, sides, token_sides, st.integers(1, 20_000))
@example(28 * 40, 28, 28, 4)  # thin at the target scale: the reference gives a side of zero
@example(32 * 3, 32 * 3, 32, 9)
def test_sides_are_whole_tokens_within_the_budget(height, width, token_px, budget):
    h, w = smart_resize(height, width, token_px, 0, budget * token_px * token_px)
    assert h >= token_px
    assert w >= token_px
    assert h % token_px == w % token_px == 0
    assert h * w <= budget * token_px * token_px


@given(sides, sides, token_sides, st.integers(0, 500), st.integers(1, 20_000))
@example(100, 100, 28, 0, 1)
@example(28 * 5 + 14, 28 * 6 + 14, 28, 0, 20_000)  # sides that end in half a token
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


@given(sides, sides, token_sides)
def test_a_picture_within_the_budget_only_snaps_to_tokens(height, width, token_px):
    h, w = smart_resize(height, width, token_px, 0, 10**12)
    assert abs(h - height) <= token_px / 2 or h == token_px
    assert abs(w - width) <= token_px / 2 or w == token_px


@given(st.integers(64, 5000), st.integers(64, 5000), token_sides, st.integers(16, 1024))
def test_the_shape_is_kept_as_far_as_tokens_allow(height, width, token_px, budget):
    h, w = smart_resize(height, width, token_px, 0, budget * token_px * token_px)
    if h == token_px or w == token_px:
        return  # a side cannot be thinner than a token
    # each side is off by less than one token, so the ratio by no more than this
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


SMALL = ModelDims(
    patch=2,
    merge=2,
    vision_depth=1,
    vision_hidden=4,
    vision_mlp=8,
    text_depth=1,
    text_hidden=6,
    text_mlp=10,
    text_heads=2,
    text_kv_heads=1,
    head_dim=3,
    vocabulary=20,
)
# one visual token is 4 patches
# patches: q, k, v, out 4*4*4 = 64; mlp 2*4*8 = 64; scores and values 2*4*4 = 32 -> 160 each
# patch embedding: 3 channels * 2 frames * 2*2 px * 4 = 96 each
# merger: 16*16 + 16*6 = 352 a token
ENCODER = 2 * (4 * (160 + 96) + 352)
# text: q and out 2*6*6 = 72; k and v 2*6*3 = 36; gated mlp 3*6*10 = 180 -> 288 a position
# causal attention: scores and values, 2 * width 6 * pairs; head 6*20 = 120
PREFILL_4 = 2 * (4 * 288 + 2 * 6 * (1 + 2 + 3 + 4) + 120)


@pytest.mark.parametrize(
    ("visual", "text", "new", "worked"),
    [
        (1, 3, 1, ENCODER + PREFILL_4),
        (0, 4, 1, PREFILL_4),
        # each further token: one position, its look back on 5 and 6 keys, and the head
        (0, 4, 3, PREFILL_4 + 2 * (2 * 288 + 2 * 6 * (5 + 6) + 2 * 120)),
    ],
)
def test_against_values_worked_by_hand(visual, text, new, worked):
    assert flops(SMALL, visual, text, new) == worked


def test_a_gated_encoder_has_one_more_matrix():
    gated = flops(replace(SMALL, vision_gated=True), 1, 3, 1)
    assert gated - flops(SMALL, 1, 3, 1) == 2 * 4 * 4 * 8


counts = st.integers(0, 5000)


@given(counts, counts, st.integers(1, 500), st.integers(1, 100))
def test_more_of_anything_costs_more(visual, text, new, more):
    cost = flops(SMALL, visual, text, new)
    assert flops(SMALL, visual + more, text, new) > cost
    assert flops(SMALL, visual, text + more, new) > cost
    assert flops(SMALL, visual, text, new + more) > cost

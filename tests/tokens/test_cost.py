from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tokens import flops
from napari_pathreason.types import ModelDims

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

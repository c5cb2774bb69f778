"""What heads would write of a visual token is what their layer adds where they look at it."""

from types import SimpleNamespace

import pytest
import torch

from demonstrator.multi_task_model import CORNERS, corners_due, read_corners, reading_heads
from napari_pathreason.errors import QueryError
from tests.support import byte_tokenizer

WIDTH = 64


def _text(heads, groups):
    from transformers import Qwen3VLTextConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel

    torch.manual_seed(0)
    config = Qwen3VLTextConfig(
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=8,
        vocab_size=len(byte_tokenizer()),
    )
    config._attn_implementation = "eager"
    text = Qwen3VLTextModel(config).eval().requires_grad_(False)
    torch.nn.init.uniform_(text.norm.weight)
    return text


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (8, 4), (8, 2), (4, 1)])
def test_a_head_that_looks_at_one_token_alone_adds_what_is_read_off_it(heads, groups):
    text = _text(heads, groups)
    attention = text.layers[0].self_attn
    hidden, words = torch.randn(5, WIDTH), torch.randn(11, WIDTH)
    read = read_corners(attention, text.norm, hidden, words)
    assert read.shape == (5, CORNERS, 11)
    rotary = torch.ones(1, 5, 8), torch.zeros(1, 5, 8)
    alone = torch.full((1, 1, 5, 5), -torch.inf)
    alone[..., 3] = 0  # whichever token writes, it sees the fourth
    every = attention.o_proj.weight.clone()
    for corner, head in enumerate(range(heads)[reading_heads(attention)]):
        attention.o_proj.weight.zero_()
        own = slice(8 * head, 8 * head + 8)
        attention.o_proj.weight[:, own] = every[:, own]
        added = attention(hidden[None], rotary, alone)[0][0, 0]
        written = (text.norm(added) @ words.T).log_softmax(dim=-1)
        torch.testing.assert_close(read[3, corner], written)


def test_corners_have_heads_of_as_many_groups_as_there_are():
    heads = {
        (h, g): list(range(h)[reading_heads(_text(h, g).layers[0].self_attn)])
        for h, g in ((4, 4), (8, 4), (8, 8))
    }
    assert heads == {(4, 4): [0, 1, 2, 3], (8, 4): [0, 2, 4, 6], (8, 8): [0, 2, 4, 6]}
    with pytest.raises(QueryError, match=r"readout_weight.* multiple of 4"):
        reading_heads(_text(6, 2).layers[0].self_attn)


def test_corners_are_due_in_turn_and_counts_are_none():
    sigma = torch.tensor([[0, 0, 8, 8, 0, 8, 8, 0, 8, 0.5]])
    step = torch.tensor([[1, 1, 10, 10, 1, 10, 10, 1, 10, 0]])
    due = corners_due(SimpleNamespace(sigma=sigma, step=step))
    assert due.tolist() == [[-1, 0, 1, -1, 2, 3, -1, 0, -1]]

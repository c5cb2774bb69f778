"""Places get room of their own in a vision encoder, and what it tells of pictures stays."""

from types import SimpleNamespace

import pytest
import torch

from demonstrator.codes import write_place_code
from demonstrator.dense import place_targets
from napari_pathreason.errors import QueryError

SIDE, WIDTH, TOKEN, SINES, FEW = 16, 192, 96, 32, 48


def _encoder(token=TOKEN):
    """Of a stream and tokens of which most directions carry little, as in a trained encoder."""
    from transformers import Qwen3VLConfig
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

    config = Qwen3VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": WIDTH,
            "intermediate_size": 192,
            "num_heads": 2,
            "out_hidden_size": token,
            "patch_size": 4,
            "num_position_embeddings": SIDE * SIDE,
            "deepstack_visual_indexes": [],
        }
    ).vision_config
    torch.manual_seed(0)
    encoder = Qwen3VLVisionModel(config).eval().requires_grad_(False)
    for layer in (
        encoder.patch_embed.proj,
        *(block.attn.proj for block in encoder.blocks),
        *(block.mlp.linear_fc2 for block in encoder.blocks),
        encoder.merger.linear_fc2,
    ):
        size = len(layer.weight)
        few = torch.randn(size, FEW) @ torch.randn(FEW, size) / size
        layer.weight.copy_((few @ torch.randn(size, layer.weight[0].numel())).view_as(layer.weight))
        layer.weight *= 0.5
    encoder.merger.linear_fc2.weight[:, : 2 * SINES] = 0  # units that nothing is made of
    encoder.merger.norm.weight.uniform_(0.4, 1.5)
    encoder.merger.norm.bias.normal_()
    return encoder


def _pictures(grids):
    return [
        SimpleNamespace(
            pixel_values=torch.randn(rows * columns, 3 * 2 * 4 * 4),
            image_grid_thw=torch.tensor([[1, rows, columns]]),
        )
        for rows, columns in grids
    ]


def _tokens(encoder, pictures):
    return torch.cat([encoder(p.pixel_values, grid_thw=p.image_grid_thw)[1] for p in pictures])


def _places(grids):
    """(tokens, 2): (x, y) of each token in shares of the picture."""
    views = [SimpleNamespace(grid=(columns // 2, rows // 2)) for rows, columns in grids]
    return torch.cat([torch.from_numpy(place_targets(view)) for view in views])


def _error(tokens, places, learnt):
    """Mean error of a place fitted linearly to the first tokens, on the others."""
    tokens = torch.cat([tokens, torch.ones(len(tokens), 1)], dim=1).double()
    fit = torch.linalg.lstsq(tokens[:learnt], places[:learnt].double(), driver="gelsd").solution
    return float((tokens[learnt:] @ fit - places[learnt:]).abs().mean())


@pytest.fixture(scope="module")
def before_and_after():
    grids = [(24, 32)] * 6
    encoder, pictures = _encoder(), _pictures(grids)
    before = _tokens(encoder, pictures)
    write_place_code(encoder, pictures)
    return before, _tokens(encoder, pictures), _places(grids), encoder


def test_a_token_tells_its_place_far_more_closely(before_and_after):
    before, after, places, _ = before_and_after
    learnt = len(places) * 2 // 3
    faint, clear = (_error(tokens, places, learnt) for tokens in (before, after))
    assert clear < 0.02 < 0.06 < faint


def test_what_a_token_tells_of_the_picture_stays(before_and_after):
    before, after, _, encoder = before_and_after
    code = torch.linalg.qr(encoder.merger.linear_fc2.weight[:, :SINES]).Q
    changed = (after - before) @ (torch.eye(TOKEN) - code @ code.T)
    assert changed.norm() < 0.2 * (before - before.mean(0)).norm()


@pytest.mark.parametrize("grid", [(8, 8), (30, 14)])
def test_a_place_is_told_on_grids_that_were_not_seen(grid):
    encoder, pictures, places = _encoder(), _pictures([grid] * 12), _places([grid] * 12)
    learnt = len(places) * 3 // 4
    faint = _error(_tokens(encoder, pictures), places, learnt)
    write_place_code(encoder, _pictures([(16, 16), (24, 32)]))
    assert _error(_tokens(encoder, pictures), places, learnt) < faint / 8


def test_an_encoder_without_room_is_refused():
    with pytest.raises(QueryError, match="takes 32 directions"):
        write_place_code(_encoder(token=SINES - 8), _pictures([(8, 8)]))


def test_an_encoder_without_position_embeddings_is_refused():
    with pytest.raises(QueryError, match="Qwen3-VL"):
        write_place_code(torch.nn.Linear(1, 1), [])

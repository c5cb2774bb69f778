"""Where the language model attends is what its layer computes, and is taught by shared area."""

import math

import numpy as np
import pytest
import torch

from demonstrator.dense import GroundedQuestion, Labels, collate_dense
from demonstrator.evidence import target_pieces
from demonstrator.losses import NUMBERS, attention_loss, routing_loss, total_loss
from demonstrator.multi_task_model import attention_of, record_inputs
from napari_pathreason.models import NORMALISATION, read_dims
from napari_pathreason.training.samples import Sample, View
from tests.support import byte_tokenizer, tiny_config

TOKENIZER = byte_tokenizer()
BOX = ("tumour", (0.5, 0.0, 1.0, 0.5))


def _view(columns, rows, boxes=(), known=()):
    pixels = np.random.default_rng(1).integers(0, 255, (32 * rows, 32 * columns, 3), np.uint8)
    size = pixels.shape[1::-1]
    return View(pixels, (columns, rows), "", boxes, boxes, boxes, (), known, None, size)


def _batch(view, task="detection"):
    sample = Sample(image="a.png", task=task, question="Where?")
    dims = read_dims(tiny_config("qwen3_vl", TOKENIZER).to_dict())
    asked = [[GroundedQuestion(sample, view, target_pieces(sample, view, 10))]]
    return collate_dense(asked, TOKENIZER, dims, NORMALISATION["qwen3_vl"], 10, Labels())


@pytest.mark.parametrize("heads", [slice(None), slice(None, None, 2), slice(1, 3)])
def test_it_is_the_attention_of_the_layer(heads):
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    config = tiny_config("qwen3_vl", TOKENIZER)
    config._attn_implementation = "eager"
    model = AutoModelForImageTextToText.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    batch = _batch(_view(2, 3, (BOX,), ("tumour",)))
    attention = model.model.language_model.layers[-2].self_attn
    wanted = batch.labels != -100
    causal = torch.ones(1, *2 * [batch.labels.shape[1]], dtype=torch.bool).tril()
    with torch.no_grad(), record_inputs(attention) as inputs:
        said = model(
            input_ids=batch.input_ids,
            mm_token_type_ids=batch.mm_token_type_ids,
            pixel_values=batch.pixel_values,
            image_grid_thw=batch.image_grid_thw,
            output_attentions=True,
        )
        found = attention_of(attention, inputs, wanted, causal, heads)[0]
    weights = said.attentions[-2][0, heads, wanted[0]]
    torch.testing.assert_close(found.exp(), weights.transpose(0, 1), atol=1e-5, rtol=1e-3)
    assert not attention._forward_pre_hooks


def test_the_numbers_of_a_box_speak_of_it():
    view = _view(4, 4, (BOX,), ("tumour",))
    batch = _batch(view)
    pieces = target_pieces(Sample(image="a.png", task="detection", question="?"), view, 10)
    target = "".join(piece.text for piece in pieces)
    corners = batch.grounding[0][batch.labels[0] != -100][:-1]
    for number in ("500,0", "0,1000", "1000,500"):
        at = target.index(number)
        assert corners[at].tolist() == pytest.approx(BOX[1])
    silent = "".join(x for x, c in zip(target, corners, strict=True) if c[2] == 0)
    assert silent == '<think></think><answer>[,,,],"label":"tumour"}]</answer>'
    assert target.endswith('[{"bbox_2d":[500,0,1000,500],"label":"tumour"}]</answer>')


def test_visual_tokens_tile_the_picture():
    batch = _batch(_view(4, 3))
    cells = batch.token_corners[0][batch.mm_token_type_ids[0] == 1]
    area = (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])
    assert area.sum().item() == pytest.approx(1)
    assert cells[0].tolist() == pytest.approx([0, 0, 1 / 4, 1 / 3])
    assert batch.token_corners[0][batch.mm_token_type_ids[0] == 0].abs().sum() == 0


def test_attention_loss_by_hand():
    cells = torch.tensor([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    looked = torch.tensor([[[0.5, 0.25], [0.25, 0.25]]]).log()  # a quarter and half lie elsewhere
    right = attention_loss(looked[:, :1], cells, torch.tensor([[0.5, 0.2, 0.9, 0.4]]))
    assert right.item() == pytest.approx(math.log(4))
    left = attention_loss(looked, cells, torch.tensor([[0.0, 0.0, 0.5, 1.0]]))
    assert left.item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    both = attention_loss(looked[:, 1:], cells, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert both.item() == pytest.approx(math.log(4) - math.log(2))
    assert attention_loss(looked[:0], cells, torch.zeros(0, 4)).item() == 0


def test_routing_loss_by_hand():
    cells = torch.tensor([[0, 0, 0, 0], [0, 0, 0.5, 1], [0.5, 0, 1, 1]])
    shown = torch.tensor([False, True, True])
    looked = torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [1, 1e-9, 1e-9], [1, 1e-9, 1e-9]])
    right = torch.tensor([[0.5, 0.0, 1.0, 1.0]])

    def loss(due):
        return routing_loss(looked[None].log(), torch.tensor([due]), cells, shown, right).item()

    assert loss(0) == pytest.approx(math.log(4) + math.log(2) / 3)
    assert loss(1) == pytest.approx(math.log(4) + math.log(4) / 3)
    none = routing_loss(looked[None][:0].log(), torch.zeros(0, dtype=int), cells, shown, right[:0])
    assert none.item() == 0


def test_total_loss_falls_towards_the_total_and_leaves_unknown_ones_out():
    known = torch.tensor([[True, False]])
    totals = torch.tensor([[20.0, 0.0]])

    def loss(at, other=0):
        away = (torch.arange(NUMBERS) - torch.tensor([[at], [other]])).abs()
        return total_loss((-away / 3.0).log_softmax(dim=1)[None], totals, known).item()

    assert loss(20) < loss(25) < loss(40) < loss(100)
    assert loss(25, other=900) == loss(25)
    nothing = torch.zeros_like(known)
    assert total_loss(torch.zeros(1, 2, NUMBERS), totals, nothing).item() == 0

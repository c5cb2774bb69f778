"""Draws, losses, recipes, logs, tokenizer: each against values worked out by hand."""

import functools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_pathreason._errors import QueryError
from napari_pathreason.training import load_recipe, read_samples
from napari_pathreason.training._batch import IGNORE
from napari_pathreason.training._draw import Draw
from napari_pathreason.training._log import RunLog
from napari_pathreason.training._losses import box_loss, dense_loss, sft_loss
from napari_pathreason.training._mini import mini_tokenizer
from napari_pathreason.training._recipe import DataRecipe

ROOT = Path(__file__).parents[2]


def test_a_draw_depends_on_seed_step_and_rank_alone(converted):
    samples = read_samples(converted / "train.jsonl")
    data, budgets = DataRecipe(folder="x", weights={"lung": 1, "blood": 0}), {4: 1.0, 16: 1.0}

    def names(seed, step, rank):
        return [
            (s.question, b) for s, b, _ in Draw(samples, data, budgets, seed).batch(step, rank, 8)
        ]

    assert names(0, 3, 0) == names(0, 3, 0)
    assert names(0, 3, 0) != names(0, 4, 0)
    assert names(0, 3, 0) != names(0, 3, 1)
    drawn = [
        s for step in range(30) for s, _, _ in Draw(samples, data, budgets, 0).batch(step, 0, 8)
    ]
    assert not any(s.source == "blood" for s in drawn)
    assert any(s.source == "lung" for s in drawn)


def test_text_loss_by_hand():
    logits = torch.zeros(1, 3, 4)
    logits[0, 1, 2] = math.log(3)
    labels = torch.tensor([[IGNORE, IGNORE, 2]])  # predicted from position 1: 3 / (3 + 3)
    assert sft_loss(logits, labels).item() == pytest.approx(math.log(2))


def test_dense_loss_counts_annotated_classes_only():
    logits, shares = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    known = torch.tensor([[True, False], [True, False]])
    assert dense_loss(logits, shares, known).item() == pytest.approx(math.log(2))
    assert dense_loss(logits, shares, torch.zeros_like(known)).item() == 0.0


def test_box_loss_counts_cells_in_boxes_only():
    predicted, corners = torch.tensor([[0.1, 0.2, 0.3, 0.4], [9.0] * 4]), torch.zeros(2, 4)
    assert box_loss(predicted, corners, torch.tensor([True, False])).item() == pytest.approx(0.25)
    assert box_loss(predicted, corners, torch.tensor([False, False])).item() == 0.0


@pytest.mark.parametrize("name", ["mini-start", "mini"])
def test_the_shipped_recipes_are_valid(name):
    assert load_recipe(ROOT / f"recipes/{name}.yaml").sft.style == "evidence"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("output: x\ndata: {folder: d}\nsft: {stepz: 3}", "stepz"),
        ("output: x\ndata: {folder: d}\nsft: {steps: many}", "steps"),
        ("data: {folder: d}", "output"),
        ("output: [", "not YAML"),
    ],
)
def test_a_wrong_recipe_names_the_key(tmp_path, text, named):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(QueryError, match=named):
        load_recipe(path)


def test_a_resumed_log_drops_what_came_after_the_checkpoint(tmp_path):
    log = RunLog(tmp_path, 0)
    for step in (1, 2, 3):
        losses = {"text": 1.0, "dense": 1.0, "boxes": 1.0}
        losses |= {f"val_{name}": loss for name, loss in losses.items()}
        log.write({"step": step, "lr": 1e-3, **losses})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "te')  # cut off by a kill
    assert [r["step"] for r in RunLog(tmp_path, 2).records()] == [1, 2]
    RunLog(tmp_path, 2).draw()
    assert (tmp_path / "curve.png").stat().st_size > 1000


@functools.cache
def tokenizer():
    return mini_tokenizer(["How many nuclei are there?", "upper left: tumour"] * 20, 1400)


@given(st.text(max_size=40))
def test_any_text_survives_the_tokenizer(text):
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    assert tokenizer().decode(ids) == text or "<|" in text


@given(st.integers(0, 1000))
def test_numbers_and_box_json_are_single_tokens(number):
    assert len(tokenizer()(str(number))["input_ids"]) == 1
    item = json.dumps([{"bbox_2d": [number, 0, 10, 20], "label": "t"}], separators=(",", ":"))
    ids = tokenizer()(f"<think></think><answer>{item}</answer>")["input_ids"]
    assert len(ids) == 13
    assert item in tokenizer().decode(ids)

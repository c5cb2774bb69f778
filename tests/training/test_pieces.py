"""Draws, losses, recipes, logs, tokenizer: each against values worked out by hand."""

import functools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from napari_pathreason.errors import QueryError
from napari_pathreason.training import load_recipe, read_samples
from napari_pathreason.training.model import mini_tokenizer
from napari_pathreason.training.recipe import DataRecipe
from napari_pathreason.training.run import PictureSampler, RunLog
from napari_pathreason.training.samples import Sample
from napari_pathreason.training.supervised import box_loss, count_loss, dense_loss, place_loss

ROOT = Path(__file__).parents[2]


def test_a_draw_depends_on_seed_step_and_rank_alone(converted):
    samples = read_samples(converted / "train.jsonl")
    data, budgets = DataRecipe(folder="x", weights={"lung": 1, "blood": 0}), {4: 1.0, 16: 1.0}

    def names(seed, step, rank):
        drawn = PictureSampler(samples, data, budgets, seed).batch(step, rank, 8, 1000)
        return [(tuple(s.question for s in d.samples), d.budget) for d in drawn]

    assert names(0, 3, 0) == names(0, 3, 0)
    assert names(0, 3, 0) != names(0, 4, 0)
    assert names(0, 3, 0) != names(0, 3, 1)
    draw = PictureSampler(samples, data, budgets, 0)
    drawn = [d.samples[0] for step in range(30) for d in draw.batch(step, 0, 8, 1000)]
    assert not any(s.source == "blood" for s in drawn)
    assert any(s.source == "lung" for s in drawn)


def test_a_draw_asks_several_questions_of_one_picture(converted):
    draw = PictureSampler(
        read_samples(converted / "train.jsonl"), DataRecipe(folder="x", questions=3), {16: 1}, 0
    )
    sizes = set()
    for drawn in draw.batch(0, 0, 40, 10_000):
        assert len({(s.image, s.region) for s in drawn.samples}) == 1
        assert len(set(drawn.samples)) == len(drawn.samples)
        sizes.add(len(drawn.samples))
    assert max(sizes) == 3


@given(st.sampled_from((4, 16, 64, 256)), st.integers(1, 64), st.integers(1, 2000))
def test_a_step_keeps_to_its_visual_tokens(budget, most, tokens):
    sample = Sample(image="a.png", task="vqa", question="?")
    draw = PictureSampler([sample], DataRecipe(folder="x"), {budget: 1.0}, 0)
    pictures = len(draw.batch(0, 0, most, tokens))
    assert 1 <= pictures <= most
    assert pictures == 1 or pictures * budget <= tokens


def test_dense_loss_counts_annotated_classes_only():
    logits, shares = torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [0.5, 1.0]])
    known = torch.tensor([[True, False], [True, False]])
    assert dense_loss(logits, shares, known).item() == pytest.approx(math.log(2), abs=1e-5)
    assert dense_loss(logits, shares, torch.zeros_like(known)).item() == 0.0


def test_box_loss_counts_cells_in_boxes_only():
    words, corners = torch.zeros(2, 4, 101).log_softmax(-1), torch.full((2, 4), 0.5)
    words[1] = -99.0
    even = box_loss(words, corners, torch.tensor([1.0, 0.0])).item()
    assert even == pytest.approx(math.log(101), rel=1e-3)  # the expected coordinate is right
    assert box_loss(words, corners, torch.zeros(2)).item() == 0.0


def test_box_loss_weighs_a_box_of_one_cell_like_one_of_many():
    words, corners = torch.zeros(5, 4, 101).log_softmax(-1), torch.full((5, 4), 0.5)
    corners[0] = 0.0
    alone, many = (box_loss(words[at], corners[at], torch.ones(1)) for at in ([0], [1]))
    share = torch.tensor([1.0, 0.25, 0.25, 0.25, 0.25])
    both = box_loss(words, corners, share)
    assert both.item() == pytest.approx((alone + many).item() / 2, rel=1e-5)
    assert alone > many


def test_count_loss_counts_annotated_classes_only():
    predicted, numbers = torch.tensor([[2.0, 9.0]]), torch.tensor([[1.0, 0.0]])
    assert count_loss(
        predicted, numbers, torch.tensor([[True, False]]), [1]
    ).item() == pytest.approx(0.2)
    assert count_loss(predicted, numbers, torch.tensor([[False, False]]), [1]).item() == 0.0


def test_cells_of_hundreds_weigh_no_more_than_others():
    known = torch.ones(2, 1, dtype=torch.bool)
    many, few = torch.tensor([[300.0], [100.0]]), torch.tensor([[3.0], [1.0]])
    blind = [count_loss(torch.zeros(2, 1), numbers, known, [2]).item() for numbers in (many, few)]
    # means of 200 and 2: (300^2 + 100^2) / 2 / 20201 and (3^2 + 1^2) / 2 / 5
    assert blind == pytest.approx([50_000 / 20_201, 1.0])
    # pictures have means of their own
    apart = count_loss(torch.zeros(4, 1), torch.cat([many, few]), known.repeat(2, 1), [2, 2])
    assert apart.item() == pytest.approx(sum(blind) / 2)


def test_the_best_count_of_cells_adds_up_to_what_is_there():
    numbers = torch.tensor([[0.0], [0.0], [0.0], [3.0]])
    known = torch.ones_like(numbers, dtype=torch.bool)
    guess = torch.tensor(1.0, requires_grad=True)
    for _ in range(300):
        (slope,) = torch.autograd.grad(count_loss(guess.expand(4, 1), numbers, known, [4]), guess)
        guess = (guess - 0.3 * slope).detach().requires_grad_()
    assert guess.item() == pytest.approx(numbers.mean().item(), abs=1e-3)


@given(st.floats(0, 1), st.floats(0, 1))
def test_place_loss_is_less_where_the_place_is_said(x, y):
    said = torch.full((1, 2, 101), 1e-3)
    said[0, 0, round(100 * x)] = said[0, 1, round(100 * y)] = 1.0
    words = said.log().log_softmax(-1)
    right, wrong = torch.tensor([[x, y]]), torch.tensor([[(x + 0.5) % 1, y]])
    assert place_loss(words, right) < place_loss(words, wrong)


def test_the_shipped_recipe_is_valid():
    assert load_recipe(ROOT / "recipes/mini.yaml").sft.style == "evidence"


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
    log = RunLog(tmp_path)
    log.begin(0)
    for step in (1, 2, 3):
        losses = dict.fromkeys(("text", "cells", "boxes", "counts", "places"), 1.0)
        losses |= {f"val_{name}": loss for name, loss in losses.items()}
        log.write({"step": step, "lr": 1e-3, **losses})
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "te')  # cut off by a kill
    log.begin(2)
    assert [r["step"] for r in log.records()] == [1, 2]
    log.draw()
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

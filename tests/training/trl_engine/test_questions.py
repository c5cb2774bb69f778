"""What TRL is handed: the questions that the own loop would draw, asked as `ask` asks them."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from napari_pathreason import models
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.grpo import Actor, build_prompts
from napari_pathreason.training.objectives import IGNORE, LanguageModelObjective
from napari_pathreason.training.recipe import DataRecipe, SFTRecipe
from napari_pathreason.training.run import PictureSampler
from napari_pathreason.training.samples import (
    Augmentation,
    Pictures,
    SampleView,
    read_samples,
    read_views,
)
from napari_pathreason.training.trl_engine import Collator, Drawing, Questions, load_start
from napari_pathreason.types import Prompt

pytest.importorskip("trl", reason="the optional engine; pip install 'napari-pathreason[trl]'")
pytestmark = pytest.mark.filterwarnings("ignore")

BUDGETS = {4: 1, 16: 1}


@given(
    batch=st.integers(1, 6),
    parts=st.integers(1, 3),
    processes=st.integers(1, 3),
    data=st.data(),
)
def test_each_row_has_a_place_of_its_own(batch, parts, processes, data):
    whole = batch * parts
    piece = data.draw(st.sampled_from([n for n in range(1, whole + 1) if whole % n == 0]))
    drawing = Drawing(batch, parts, processes, piece)
    rows = drawing.rows(2)
    places = [drawing.place(row) for row in range(rows)]
    assert rows == 2 * whole * processes
    assert set(places) == {
        (at, rank, place)
        for at in range(2 * parts)
        for rank in range(processes)
        for place in range(batch)
    }
    assert len(set(places)) == rows
    # a trainer gives each process a piece in turn, and a step is as many pieces as fill it
    for row, (at, rank, _) in enumerate(places):
        assert rank == row // piece % processes
        assert at // parts == row // (whole * processes)


@pytest.fixture
def questions(checkpoint, converted):
    """Rows of a family in batches of 3 on two processes, and the start that they are for."""

    def make(family, augmentation=None, target=None):
        start = load_start(str(checkpoint(family)), None, 0)
        samples = read_samples(converted / "train.jsonl")
        drawing = Drawing(3, 1, 2, 3)
        pictures = Pictures(converted)
        own = Questions(
            *(samples, DataRecipe(folder="x"), BUDGETS, 5, drawing, pictures, start),
            *("relative", augmentation, target),
        )
        return own, start, samples, pictures

    return make


def test_rows_are_what_the_own_loop_draws(questions):
    change = Augmentation()
    own, start, samples, pictures = questions("qwen3_vl", change)
    sampler = PictureSampler(samples, DataRecipe(folder="x", questions=1), BUDGETS, 5)
    rows = own.rows(12)
    seen = set()
    for number in range(12):
        row, (block, place) = rows[number], divmod(number, 3)
        picture = sampler.batch(block // 2, block % 2, 3, 10**9)[place]
        token_px = start.info.dims.token_px
        (view,) = read_views(
            picture.samples, pictures, picture.budget, token_px, change, picture.rng
        )
        assert row["sample"] == picture.samples[0]
        assert row["budget"] == picture.budget
        assert [np.array(one).tolist() for one in row["images"]] == [view.pixels.tolist()]
        seen.add(row["budget"])
    assert seen == set(BUDGETS)
    assert rows[[4, 4, 5]]["sample"] == [rows[4]["sample"]] * 2 + [rows[5]["sample"]]


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_a_batch_is_the_own_loops(questions, family):
    objective = LanguageModelObjective(SFTRecipe())
    own, start, *_ = questions(family, target=lambda *one: objective.target(*one))
    objective.attach(start.model, start.processor.tokenizer)
    rows = [own.read(number) for number in range(3)]
    batch = Collator(start)(rows)
    for place, row in enumerate(rows):
        alone = objective.collate([[(row["sample"], row["view"])]])
        inside = batch["attention_mask"][place].bool()
        assert torch.equal(batch["input_ids"][place][inside], alone.input_ids[0])
        assert torch.equal(batch["labels"][place][inside], alone.labels[0])
        assert torch.equal(batch["mm_token_type_ids"][place][inside], alone.mm_token_type_ids[0])
        assert (batch["labels"][place][~inside] == IGNORE).all()
    whole = objective.collate([[(row["sample"], row["view"])] for row in rows])
    assert torch.equal(batch["image_grid_thw"], whole.image_grid_thw)
    assert torch.allclose(batch["pixel_values"], whole.pixel_values, atol=1e-6)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_several_pictures_stand_in_one_prompt(checkpoint, converted, family):
    views = [{"region": (0, 0, 96, 96), "caption": "Left."}, {"region": (96, 64, 128, 96)}]
    samples = [
        one.model_copy(update={"views": tuple(map(SampleView.model_validate, views))})
        for one in read_samples(converted / "train.jsonl")
        if one.source == "lung"
    ]
    start = load_start(str(checkpoint(family)), None, 0)
    objective = LanguageModelObjective(SFTRecipe())
    objective.attach(start.model, start.processor.tokenizer)
    own = Questions(
        *(samples, DataRecipe(folder="x"), BUDGETS, 5, Drawing(2, 1, 1, 2), Pictures(converted)),
        *(start, "relative", None, objective.target),
    )
    rows = [own.read(number) for number in range(2)]
    assert [len(row["images"]) for row in rows] == [2, 2]
    batch = Collator(start)(rows)
    whole = objective.collate([[(row["sample"], row["view"])] for row in rows])
    for place, row in enumerate(whole.input_ids):
        inside = batch["attention_mask"][place].bool()
        assert torch.equal(batch["input_ids"][place][inside], row[: int(inside.sum())])
    assert torch.equal(batch["image_grid_thw"], whole.image_grid_thw)
    assert torch.allclose(batch["pixel_values"], whole.pixel_values, atol=1e-6)


def test_other_families_are_asked_as_their_performer_asks(questions):
    own, start, *_ = questions("gemma3", target=lambda sample, view: "<answer>yes</answer>")
    performer = models.GeneratePerformer(start.model, start.processor, start.info)
    rows = [own.read(number) for number in range(2)]
    batch = Collator(start)(rows)
    for place, row in enumerate(rows):
        messages = TASKS[row["sample"].task].messages(row["sample"].query)
        alone = performer.inputs([Prompt(row["view"].pictures, messages)])
        inside = batch["attention_mask"][place].bool()
        learnt = batch["labels"][place] != IGNORE
        assert torch.equal(batch["input_ids"][place][inside & ~learnt], alone["input_ids"][0])
        assert torch.allclose(batch["pixel_values"][place], alone["pixel_values"][0])
        text = start.processor.tokenizer.decode(batch["input_ids"][place][learnt])
        assert text == "<answer>yes</answer><eos>"


def test_completions_end_where_the_own_loops_do(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("qwen3_vl"), tmp_path / "base")
    for name, key, value in (
        ("generation_config.json", "eos_token_id", 257),
        ("tokenizer_config.json", "eos_token", "<|endoftext|>"),
    ):
        settings = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**settings, key: value}))
    start = load_start(str(folder), None, 0)
    assert start.processor.tokenizer.eos_token_id == 257
    assert start.model.generation_config.eos_token_id == [256, 257]  # the end of a turn as well


def test_control_tokens_in_a_question_stay_words(questions):
    _, start, *_ = questions("gemma3")
    messages = [{"role": "user", "content": [{"type": "text", "text": "<image_soft_token>?"}]}]
    assert start.defused(messages)[0]["content"][0]["text"] == "< image_soft_token>?"


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_the_same_completions_have_the_own_loops_gradients(questions, family):
    own, start, *_ = questions(family, target=lambda sample, view: "<answer>yes</answer>" * 2)
    model, tokenizer = start.model, start.processor.tokenizer
    rows = [own.read(number) for number in (0, 3)]  # of two batches: prompts of two lengths
    batch = Collator(start)(rows)
    labels = batch.pop("labels")
    learnt = labels != IGNORE
    assert batch["attention_mask"][:, 0].sum() == 1  # one of them is padded
    weights = torch.tensor([1.0, -2.0])[:, None]

    def gradients(log_p):
        model.zero_grad()
        (weights * log_p).sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    logits = model(**batch).logits.float().log_softmax(-1)[:, :-1]
    chosen = logits.gather(2, labels[:, 1:].clamp(min=0)[..., None])[..., 0]
    theirs = chosen[learnt[:, 1:]].view(2, -1)
    actor = Actor(model, [])
    asked = [[(row["sample"], row["view"])] for row in rows]
    normalisation = models.NORMALISATION[start.info.family]
    prompts = build_prompts(asked, tokenizer, start.info.dims, normalisation)
    tokens = labels[learnt].view(2, -1)
    ours = actor(prompts, tokens, torch.ones_like(tokens, dtype=torch.bool), 1).log_p
    assert torch.allclose(ours, theirs, atol=1e-4)
    mine, other = gradients(ours), gradients(theirs)
    largest = max(float(gradient.abs().max()) for gradient in mine.values())
    for name, gradient in mine.items():
        assert (gradient - other[name]).abs().max() < 1e-4 * largest, name

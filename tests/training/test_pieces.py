"""Draws, losses, recipes, logs, tokenizer: each against values worked out by hand."""

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import QueryError
from napari_pathreason.training import load_recipe, read_samples
from napari_pathreason.training.recipe import DataRecipe
from napari_pathreason.training.run import PictureSampler, RunLog
from napari_pathreason.training.samples import Sample


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
    log.draw({name: name for name in losses})
    assert (tmp_path / "curve.png").stat().st_size > 1000

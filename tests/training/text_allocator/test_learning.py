"""An allocator that writes: it learns which number pays, on the performer's weights, and serves."""

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_pathreason.budgets import flops
from napari_pathreason.engine import Job, ask
from napari_pathreason.models import (
    BUDGETS,
    AllocatorNet,
    PolicyAllocator,
    TextAllocator,
    load_models,
    load_performer,
    save_allocator,
    write_merged,
)
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import read_samples, write_samples
from napari_pathreason.training.allocator import (
    Scored,
    in_turn,
    make_room,
    text_identity,
    train_allocator,
)
from napari_pathreason.training.model import LEARNING, start_second_lora
from napari_pathreason.training.run import fingerprint
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Request

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _said(performer, pixels, query):
    messages = TASKS[query.task].messages(query)
    settings = GenerationSettings(max_new_tokens=6)
    pieces = performer.generate(Prompt((pixels,), messages), settings, Event())
    return next(piece.text for piece in pieces if isinstance(piece, Completion))


@pytest.mark.slow
def test_the_number_that_pays_is_learnt_and_served_beside_the_performer(
    family, converted, tmp_path, digits, one_budget_pays, make_recipe, copy_of, records_of
):
    folder = copy_of(family, tmp_path)
    torch.manual_seed(0)
    save_allocator(folder, PolicyAllocator(AllocatorNet().eval()))  # to be replaced
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    recipe = make_recipe(folder, converted, tmp_path / "run")
    sample = read_samples(converted / "val.jsonl")[0]
    side = {"qwen3_vl": 64, "qwen2_5_vl": 56}[family]  # four visual tokens
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    said = _said(load_performer(folder, "cpu"), pixels, sample.query)
    assert train_allocator(recipe) == folder

    rewards = [record["reward"] for record in records_of(recipe.output)]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.25
    assert records_of(recipe.output)[-1]["val_score"] > 0

    # the second adapter alone has moved, all of it; the performer's files are as they were
    changed = {"allocator", "allocator.json", "allocator.safetensors"}
    now = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    assert {n: b for n, b in now.items() if n not in changed} == {
        n: b for n, b in before.items() if n not in changed
    }
    assert not (folder / "allocator.safetensors").exists()
    matrices = load_file(folder / "allocator/adapter_model.safetensors")
    assert matrices
    assert not [n for n in matrices if n.endswith("lora_B.weight") and not matrices[n].any()]
    assert str(tmp_path) not in (folder / "allocator/adapter_config.json").read_text()

    # both speak from one model, each as it should, and the account holds what the look cost
    models = load_models(folder, "cpu")
    assert isinstance(models.allocator, TextAllocator)
    assert models.allocator.writer.model is models.performer.model
    assert _said(models.performer, pixels, sample.query) == said
    given = models.allocator.allocate(pixels, sample.query, 400, "balanced")
    assert given.budget == 32
    assert given.source == "policy"
    assert given.probabilities == tuple(float(budget == 32) for budget in BUDGETS)
    assert _said(models.performer, pixels, sample.query) == said
    again = load_models(write_merged(folder, tmp_path / "merged"), "cpu")
    assert again.allocator.allocate(pixels, sample.query, 400, "balanced") == given
    assert _said(again.performer, pixels, sample.query) == said

    pictures = Pictures(converted)
    with slide_from_arrays([pictures.picture(sample)], "sample") as slide:
        job = Job(
            slide,
            Request(
                pictures.region(sample), sample.query, "auto", GenerationSettings(max_new_tokens=6)
            ),
        )
        result = ask(job, models.performer, models.allocator)
    tokens, dims = result.tokens, models.performer.info.dims
    assert 0 < tokens.allocator <= 4
    words = tokens.prompt_tokens - tokens.realised
    alone = flops(dims, tokens.realised, words, tokens.new_tokens)
    assert tokens.flops == alone + result.allocation.flops
    assert result.allocation.flops > flops(dims, tokens.allocator, 100, 2)


@pytest.mark.slow
def test_a_run_that_was_killed_equals_an_undisturbed_one(
    converted, tmp_path, digits, one_budget_pays, dies_at, make_recipe, copy_of, records_of
):
    def learnt(name, **changes):
        folder = copy_of("qwen3_vl", tmp_path / name)
        return folder, make_recipe(
            folder, converted, tmp_path / name / "run", steps=4, checkpoint_every=2, **changes
        )

    folder, recipe = learnt("whole")
    whole = load_file(train_allocator(recipe) / "allocator/adapter_model.safetensors")
    folder, recipe = learnt("cut")

    with dies_at(4):  # two after the last checkpoint
        train_allocator(recipe)
    assert not (folder / "allocator").exists()
    cut = load_file(train_allocator(recipe) / "allocator/adapter_model.safetensors")
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert [record["step"] for record in records_of(recipe.output)] == [1, 2, 3, 4]


def test_a_run_names_the_data_that_it_read(
    converted, tmp_path, digits, one_budget_pays, monkeypatch, make_recipe, copy_of
):
    """Also where they were replaced while the performer was asked about them."""
    train, read = converted / "train.jsonl", fingerprint(converted)
    samples = train.read_bytes()

    def start(*args):
        write_samples(train, read_samples(train)[1:])
        return start_second_lora(*args)

    place = "napari_pathreason.training.allocator._writing.start_second_lora"
    monkeypatch.setattr(place, start)
    folder = copy_of("qwen3_vl", tmp_path / "model")
    try:
        train_allocator(make_recipe(folder, converted, tmp_path / "run", steps=1))
        record = json.loads((tmp_path / "run/allocator/text/run.json").read_text())
        assert record["data_sha256"] == read != fingerprint(converted)
    finally:
        train.write_bytes(samples)


def test_another_price_or_performer_is_another_run_and_takes_the_old_state_away(
    tmp_path, make_recipe
):
    recipe = make_recipe("x", "y", tmp_path)
    tables = tuple(Path(f"scores-{split}-old.jsonl") for split in ("train", "val"))
    newer = tuple(Path(f"scores-{split}-new.jsonl") for split in ("train", "val"))
    of = text_identity(recipe, tables)
    longer = recipe.allocator.text.model_copy(update={"steps": 99, "stop_after": 7})
    on = {"text": longer, "entropy": 3.0}  # the head's entropy is no matter here
    went_on = recipe.model_copy(update={"allocator": recipe.allocator.model_copy(update=on)})
    assert text_identity(went_on, tables) == of
    lambdas = {"lambdas": {"low": 0.8, "balanced": 2.0, "high": 0.05}}
    dearer = recipe.model_copy(update={"allocator": recipe.allocator.model_copy(update=lambdas)})
    assert len({of, text_identity(dearer, tables), text_identity(recipe, newer)}) == 3
    make_room(tmp_path, of)
    (tmp_path / "checkpoint").mkdir()
    make_room(tmp_path, of)
    assert (tmp_path / "checkpoint").is_dir()
    make_room(tmp_path, text_identity(dearer, tables))
    assert not (tmp_path / "checkpoint").exists()


def test_the_performer_is_asked_ten_times_less_than_numbers_are_written(
    converted, tmp_path, monkeypatch, digits, make_recipe, copy_of, records_of
):
    asked = []

    class Counting:
        def __init__(self, samples, *args):
            self.samples = samples

        def windows(self, questions, sizes):
            return [questions]

        def ask(self, indexes, budget):
            asked.extend((id(self.samples), at, budget) for at in indexes)
            return [Scored(0.5, budget or 400, 1.0, 400, 2.0) for _ in indexes]

    monkeypatch.setattr("napari_pathreason.training.allocator._tables.Evaluator", Counting)
    monkeypatch.setattr(
        "napari_pathreason.training.allocator._tables.pick",
        lambda samples, each, _: [s for s in samples if s.source == "lung"][:2],
    )
    folder = copy_of("qwen3_vl", tmp_path)
    recipe = make_recipe(
        folder, converted, tmp_path / "run", num_generations=32, steps=3, batch_size=4
    )
    train_allocator(recipe)
    last = records_of(recipe.output)[-1]
    assert len(asked) == len(set(asked))  # never one question at one budget twice
    train = len(asked) // 2  # the other half is validation's
    assert last["performer_calls"] == train
    assert last["rollouts"] == 3 * 4 * 32
    assert last["rollouts"] >= 10 * len(asked)
    train_allocator(recipe)
    assert len(asked) == 2 * train  # finished: nobody is asked anew


def test_each_question_comes_before_any_comes_again():
    steps = [in_turn(5, 0, first, 2) for first in range(0, 20, 2)]
    seen = [place for step in steps for place in step]
    epochs = [seen[at : at + 5] for at in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert seen != [place for first in range(0, 20, 2) for place in in_turn(5, 1, first, 2)]


def test_the_learning_adapter_is_new_and_the_performers_is_in_the_weights(performers, make_recipe):
    recipe = make_recipe(performers / "qwen3_vl", "x", "y")
    model, _ = start_second_lora(str(performers / "qwen3_vl"), recipe.lora, 0)
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert all(f".{LEARNING}." in name for name in learning)
    assert all(not p.any() for n, p in learning.items() if "lora_B" in n)
    merged = load_performer(performers / "qwen3_vl", "cpu").model
    plain = {n: p for n, p in model.named_parameters() if not p.requires_grad}
    for name, parameter in merged.named_parameters():
        own = name if name in plain else name.replace(".weight", ".base_layer.weight")
        own = own if own in plain else name.replace(".bias", ".base_layer.bias")
        assert torch.equal(parameter, plain[own])

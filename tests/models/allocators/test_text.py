"""A second adapter beside the performer's weights: who speaks, and what is told of it."""

import json
import shutil
from threading import Event, Thread

import numpy as np
import pytest
import torch

from napari_pathreason.engine import Job, ask
from napari_pathreason.errors import ModelError
from napari_pathreason.geometry import Region
from napari_pathreason.models import (
    VISION_TOKENS,
    AllocatorNet,
    PolicyAllocator,
    TextAllocator,
    TextForm,
    load_models,
    load_performer,
    save_allocator,
    save_text_allocator,
)
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Query, Request
from tests.support import byte_tokenizer

QUERY = Query("vqa", "Which tissue is it?", ("lung", "colon"))
FORM = TextForm(overview=16, max_completion_length=5, effort="balanced")


@pytest.fixture(scope="module")
def beside(checkpoints, tmp_path_factory):
    """A performer with an untrained allocator that speaks quite differently."""
    from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model

    folder = tmp_path_factory.mktemp("beside") / "model"
    shutil.copytree(checkpoints["qwen3_vl"], folder)
    model = load_performer(folder, "cpu").model
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj", "qkv"], inference_mode=True)
    torch.manual_seed(0)
    inject_adapter_in_model(config, model, "default")
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    matrices = get_peft_model_state_dict(model, adapter_name="default")
    save_text_allocator(folder, FORM, config, matrices)
    return folder


@pytest.fixture
def mine(beside, tmp_path):
    """The same, to be spoilt."""
    return shutil.copytree(beside, tmp_path / "model")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)


def _say(performer, pixels, cancel=None):
    settings = GenerationSettings(max_new_tokens=12)
    prompt = Prompt((pixels,), TASKS["vqa"].messages(QUERY))
    return performer.generate(prompt, settings, cancel or Event())


def _text(pieces):
    return next(piece.text for piece in pieces if isinstance(piece, Completion))


def test_text_without_a_number_falls_back_and_says_so(beside, pixels, monkeypatch):
    digits = [token for token in byte_tokenizer().get_vocab() if token.isdecimal()]
    monkeypatch.setattr(
        "napari_pathreason.models._performer.VISION_TOKENS", (*VISION_TOKENS, *digits)
    )
    models = load_models(beside, "cpu")
    assert isinstance(models.allocator, TextAllocator)
    assert models.allocator.overview_budget == 16
    given = models.allocator.allocate(pixels, QUERY, 5000, "balanced")
    assert (given.budget, given.source, given.probabilities) == (256, "fixed", None)
    assert given.tokens_spent == 16
    assert given.flops > 0
    with slide_from_arrays([np.full((256, 256, 3), 200, np.uint8)], "plain") as slide:
        job = Job(
            slide,
            Request(
                Region(0, 0, 256, 256),
                QUERY,
                settings=GenerationSettings(max_new_tokens=2),
                effort="high",
            ),
        )
        result = ask(job, models.performer, models.allocator)
    assert any("wrote no number" in line and "native size" in line for line in result.warnings)
    (line,) = [line for line in result.warnings if "one effort" in line]
    assert "balanced was taken in place of high" in line
    assert result.tokens.allocator == 16
    with pytest.raises(ModelError, match="choose a number"):
        models.allocator.allocate(None, QUERY, 5000, "low")


def test_neither_speaker_hears_the_other_between_two_tokens(beside, pixels):
    models = load_models(beside, "cpu")
    alone = _text(_say(load_performer(beside, "cpu"), pixels))
    writing = _text(_say(models.allocator.writer, pixels))
    assert writing != alone
    pieces = _say(models.performer, pixels)
    heard = [next(pieces) for _ in range(2)]
    assert _text(_say(models.allocator.writer, pixels)) == writing
    assert _text([*heard, *pieces]) == alone

    told = {}
    threads = [
        Thread(target=lambda n=n, s=s: told.update({n: _text(_say(s, pixels))}))
        for n, s in enumerate([models.performer, models.allocator.writer] * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [told[n] for n in range(4)] == [alone, writing] * 2
    prompts = [Prompt((pixels,), TASKS["vqa"].messages(QUERY))] * 2
    settings = GenerationSettings(max_new_tokens=12)
    both = models.performer.generate_batch(prompts, settings, Event())
    assert [one.text for one in both] == [alone] * 2


def test_a_folder_holds_one_allocator(mine, beside):
    save_allocator(mine, PolicyAllocator(AllocatorNet().eval()))
    assert isinstance(load_models(mine, "cpu").allocator, PolicyAllocator)
    assert not (mine / "allocator").exists()


def test_what_is_wrong_with_it_is_named(mine):
    metadata_json = json.loads((mine / "allocator.json").read_text())
    for spoilt in ({"effort": "much"}, {"overview": 0}, {"max_completion_length": "many"}):
        (mine / "allocator.json").write_text(json.dumps(metadata_json | spoilt))
        with pytest.raises(ModelError, match="train the allocator again"):
            load_models(mine, "cpu")
    (mine / "allocator.json").write_text(json.dumps(metadata_json))
    (mine / "allocator/adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError, match="fetch the whole model"):
        load_models(mine, "cpu")
    shutil.rmtree(mine / "allocator")
    with pytest.raises(ModelError, match="fetch the whole model"):
        load_models(mine, "cpu")
    (mine / "allocator.json").unlink()
    assert load_models(mine, "cpu").allocator.overview_budget == 0

"""A new small model: of given sizes, with embeddings that start in order."""

import copy
import functools
import json

import pytest
import torch
from hypothesis import given, strategies as st
from safetensors.torch import load_file

from demonstrator.codes import tell_tokens
from demonstrator.new_model import Sizes, main, new_model, new_tokenizer
from napari_pathreason.errors import QueryError
from napari_pathreason.models import load_models, prompt_ids, read_dims
from napari_pathreason.training import read_samples

SIZES = Sizes(vocabulary=1600, vision_depth=1, vision_hidden=128, vision_heads=4, text_depth=2)


@pytest.fixture(scope="module")
def started(specimens):
    return new_model(read_samples(specimens / "train.jsonl"), SIZES)


def test_it_has_the_sizes_that_are_asked_for(started):
    model, tokenizer = started
    dims = read_dims(model.config.to_dict())
    assert (dims.vision_depth, dims.text_depth) == (1, 2)
    assert dims.token_px == 32
    assert dims.text_hidden == SIZES.text_hidden
    assert dims.vocabulary >= len(tokenizer)


def test_numbers_near_in_value_are_near_in_the_embedding(started):
    model, tokenizer = started
    ids = tokenizer.convert_tokens_to_ids(["500", "510", "900"])
    half = model.get_input_embeddings().weight[ids].detach()[:, :128]
    near, far = torch.cosine_similarity(half[:1], half[1:])
    assert near > far + 0.1


def test_places_near_on_the_picture_are_near_in_the_embedding(started):
    model, _ = started
    places = model.model.visual.pos_embed.weight.detach().view(16, 16, -1)
    here, beside, across = places[4, 4], places[4, 5], places[12, 12]
    near = torch.cosine_similarity(here, beside, dim=0)
    assert near > torch.cosine_similarity(here, across, dim=0) + 0.1


def test_the_command_writes_a_checkpoint_that_loads(specimens, tmp_path, capsys):
    sizes = "--vocabulary 1600 --vision-depth 1 --text-depth 2 --deepstack 0".split()
    for run in ("a", "b"):
        assert main([str(specimens / "train.jsonl"), "-o", str(tmp_path / run), *sizes]) == 0
    a, b = (load_file(tmp_path / run / "model.safetensors") for run in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    info = load_models(tmp_path / "a", "cpu").performer.info
    assert (info.name, info.dims.vision_depth, info.metadata) == ("a", 1, None)
    made_of = json.loads((tmp_path / "a/new_model.json").read_text())
    assert (made_of["seed"], made_of["sizes"]["vocabulary"]) == (0, 1600)
    assert len(made_of["samples_sha256"]) == 64
    other = [str(specimens / "train.jsonl"), "-o", str(tmp_path / "c"), *sizes, "--seed", "1"]
    assert main(other) == 0
    c = load_file(tmp_path / "c/model.safetensors")
    assert not all(torch.equal(a[name], c[name]) for name in a)
    with pytest.raises(SystemExit, match="1"):
        main([*other, "--dinov2", str(tmp_path / "none.pt")])
    assert "python -m demonstrator.fetch" in capsys.readouterr().err


def test_a_prompt_tells_how_many_visual_tokens_there_are(started):
    _, plain = started
    telling = copy.deepcopy(plain)
    telling.chat_template = tell_tokens(plain.chat_template)
    asked = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]}
    ]
    words = telling.convert_ids_to_tokens(prompt_ids(telling, asked, [54]))
    assert words[words.index("<|vision_end|>") + 1] == "54"
    assert "54" not in plain.convert_ids_to_tokens(prompt_ids(plain, asked, [54]))
    for each in (telling, plain):  # as transformers alone renders it
        text = each.apply_chat_template(asked, tokenize=False)
        assert "<|image_pad|><|vision_end|>How many?" in text


def test_each_of_several_pictures_tells_its_own(started):
    _, plain = started
    telling = copy.deepcopy(plain)
    telling.chat_template = tell_tokens(plain.chat_template)
    parts = [{"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}]
    words = telling.convert_ids_to_tokens(
        prompt_ids(telling, [{"role": "user", "content": parts}], [54, 7])
    )
    ends = [at for at, word in enumerate(words) if word == "<|vision_end|>"]
    assert [words[at + 1] for at in ends] == ["54", "7"]


def test_telling_is_said_once_and_needs_a_picture_in_the_template():
    once = tell_tokens("<|vision_end|>{{ text }}")
    assert tell_tokens(once) == once
    with pytest.raises(QueryError, match="vision_end"):
        tell_tokens("{{ text }}")


@functools.cache
def tokenizer():
    return new_tokenizer(["How many nuclei are there?", "upper left: tumour"] * 20, 1400)


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

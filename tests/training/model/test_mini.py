"""A new small model: sized by its recipe, with embeddings that start in order."""

import pytest
import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.models import prompt_ids, read_dims
from napari_pathreason.training import read_samples
from napari_pathreason.training.model import start_model, tell_tokens


@pytest.fixture(scope="module")
def started(converted, tmp_path_factory):
    from napari_pathreason.training.recipe import Recipe

    recipe = Recipe.model_validate(
        {
            "output": str(tmp_path_factory.mktemp("run")),
            "data": {"folder": str(converted)},
            "model": {"vision_depth": 1, "deepstack": [0], "text_depth": 2, "vocabulary": 1600},
        }
    )
    return recipe, *start_model(recipe, read_samples(converted / "train.jsonl"))


def test_the_recipe_decides_the_sizes(started):
    recipe, model, tokenizer = started
    dims = read_dims(model.config.to_dict())
    assert (dims.vision_depth, dims.text_depth) == (1, 2)
    assert dims.token_px == 32
    assert dims.text_hidden == recipe.model.text_hidden
    assert dims.vocabulary >= len(tokenizer)


def test_numbers_near_in_value_are_near_in_the_embedding(started):
    _, model, tokenizer = started
    ids = tokenizer.convert_tokens_to_ids(["500", "510", "900"])
    half = model.get_input_embeddings().weight[ids].detach()[:, :128]
    near, far = torch.cosine_similarity(half[:1], half[1:])
    assert near > far + 0.1


def test_places_near_on_the_picture_are_near_in_the_embedding(started):
    _, model, _ = started
    places = model.model.visual.pos_embed.weight.detach().view(16, 16, -1)
    here, beside, across = places[4, 4], places[4, 5], places[12, 12]
    near = torch.cosine_similarity(here, beside, dim=0)
    assert near > torch.cosine_similarity(here, across, dim=0) + 0.1


def test_a_second_start_takes_the_tokenizer_of_the_first(started):
    recipe, model, tokenizer = started
    again, same = start_model(recipe, [])
    assert same.get_vocab() == tokenizer.get_vocab()
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_a_prompt_tells_how_many_visual_tokens_there_are(started):
    recipe, _, _ = started
    telling = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"tell_tokens": True})}
    )
    _, tokenizer = start_model(telling, [])
    asked = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]}
    ]
    words = tokenizer.convert_ids_to_tokens(prompt_ids(tokenizer, asked, 54))
    assert words[words.index("<|vision_end|>") + 1] == "54"
    plain = start_model(recipe, [])[1]
    assert "54" not in plain.convert_ids_to_tokens(prompt_ids(plain, asked, 54))
    for each in (tokenizer, plain):  # as transformers alone renders it
        text = each.apply_chat_template(asked, tokenize=False)
        assert "<|image_pad|><|vision_end|>How many?" in text


def test_telling_is_said_once_and_needs_a_picture_in_the_template():
    once = tell_tokens("<|vision_end|>{{ text }}")
    assert tell_tokens(once) == once
    with pytest.raises(QueryError, match="vision_end"):
        tell_tokens("{{ text }}")

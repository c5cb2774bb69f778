"""Families beyond the two that all other tests use: read and decoded as transformers does."""

import threading

import numpy as np
import pytest

from napari_pathreason.engine import to_boxes, to_detections
from napari_pathreason.errors import ModelError
from napari_pathreason.geometry import Region
from napari_pathreason.models import (
    FAMILIES,
    VISION_TOKENS,
    build_inputs,
    family_of,
    load_performer,
    read_dims,
)
from napari_pathreason.types import AnswerBox, Completion, GenerationSettings, Prompt
from tests.support import make_tiny_checkpoint

OTHERS = ("qwen2_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")


@pytest.fixture(scope="module", params=OTHERS)
def performer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("families") / request.param
    return load_performer(make_tiny_checkpoint(folder, request.param), "cpu")


def asked(performer, sizes, words="How many nuclei?", seed=0):
    token_px = performer.info.dims.token_px
    rng = np.random.default_rng(seed)
    pictures = tuple(
        rng.integers(0, 256, (rows * token_px, columns * token_px, 3), dtype=np.uint8)
        for rows, columns in sizes
    )
    parts = [{"type": "image"} for _ in sizes]
    return Prompt(
        pictures, [{"role": "user", "content": [*parts, {"type": "text", "text": words}]}]
    )


def answer(performer, prompt, settings):
    *_, last = performer.generate(prompt, settings, threading.Event())
    assert isinstance(last, Completion)
    return last


def test_one_table_holds_what_differs():
    decoded = {family.model_type for family in FAMILIES.values() if family.loader == "decoder"}
    assert decoded == {"qwen3_vl", "qwen2_5_vl", *OTHERS}
    for model_type, family in FAMILIES.items():
        assert family.model_type == model_type
        assert family.token_px > 0
        assert family.bounds is None or 0 < family.bounds[0] <= family.bounds[1]


@pytest.mark.parametrize(
    ("model_type", "remedy"),
    [
        ("internvl_chat", "-HF"),
        ("hulumed_qwen3", "serve it with vLLM"),
        ("bert", "Qwen3-VL"),
        (None, "Qwen3-VL"),
        (["qwen3_vl"], "Qwen3-VL"),
    ],
)
def test_a_family_that_does_not_load_is_refused_with_a_remedy(model_type, remedy):
    with pytest.raises(ModelError, match="of the family") as caught:
        family_of(model_type, "mine")
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


MEDGEMMA = {
    "model_type": "gemma3",
    "mm_tokens_per_image": 256,
    "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34},
    "vision_config": {
        "hidden_size": 1152,
        "image_size": 896,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "patch_size": 14,
    },
}
"""As the released config has it: what is the default of transformers is left out."""


def test_released_configs_leave_out_what_is_known():
    dims = read_dims(MEDGEMMA)
    assert (dims.patch, dims.merge, dims.token_px) == (14, 4, 56)
    assert (dims.text_heads, dims.text_kv_heads, dims.head_dim) == (8, 4, 256)
    assert dims.vocabulary == 262208


@pytest.mark.parametrize("model_type", ["gemma3", "gemma4", "idefics3", "smolvlm"])
def test_what_is_left_out_is_the_default_of_transformers(model_type):
    import transformers

    config = transformers.CONFIG_MAPPING[model_type]
    vision = {"gemma4": transformers.Gemma4VisionConfig()}.get(model_type)
    whole = (config() if vision is None else config(vision_config=vision)).to_dict()
    assert read_dims({"model_type": model_type, "text_config": {}, "vision_config": {}}) == (
        read_dims(whole)
    )


@pytest.mark.parametrize("sizes", [[(3, 5)], [(2, 3), (4, 1)]])
def test_greedy_text_equals_that_of_transformers_own_generate(performer, sizes):
    prompt = asked(performer, sizes)
    inputs = build_inputs(performer.tokenizer, performer.info.dims, prompt, performer.normalisation)
    suppressed = performer.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    theirs = performer.model.generate(
        **inputs, max_new_tokens=24, do_sample=False, suppress_tokens=suppressed
    )[0, inputs["input_ids"].shape[1] :]
    ours = answer(performer, prompt, GenerationSettings(max_new_tokens=24))
    assert ours.text == performer.tokenizer.decode(theirs, skip_special_tokens=True)
    assert ours.visual_tokens == sum(rows * columns for rows, columns in sizes)
    assert len(set(theirs.tolist())) > 1  # else equality would say little


def test_token_counts_are_those_of_the_familys_image_processor(performer):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    dims = performer.info.dims
    processor = Qwen2VLImageProcessorPil(
        patch_size=dims.patch, merge_size=dims.merge, min_pixels=1, max_pixels=1 << 24
    )
    prompt = asked(performer, [(3, 5), (1, 2)])
    grid = processor(list(prompt.pictures), return_tensors="np")["image_grid_thw"]
    done = answer(performer, prompt, GenerationSettings(max_new_tokens=1))
    assert done.visual_tokens == (grid.prod(axis=1) // dims.merge**2).sum()


@pytest.mark.parametrize("temperature", [0, 1])
def test_answers_in_a_batch_are_those_of_each_by_itself(performer, temperature):
    prompts = [
        asked(performer, [(2, 3)]),
        asked(performer, [(1, 2)], "Why?", 1),
        asked(performer, [(2, 3)], seed=2),
    ]
    settings = GenerationSettings(max_new_tokens=24, temperature=temperature, seed=3)
    together = performer.generate_batch(prompts, settings, threading.Event())
    alone = [answer(performer, prompt, settings) for prompt in prompts]
    assert [one.text for one in together] == [one.text for one in alone]
    assert [one.new_tokens for one in together] == [one.new_tokens for one in alone]
    assert len({one.text for one in alone}) > 1


def test_boxes_with_y_first_lie_where_the_same_boxes_with_x_first_do():
    region = Region(100, 200, 2000, 1000)
    x_first = AnswerBox("a", 100, 200, 300, 900)
    y_first = AnswerBox("a", 200, 100, 900, 300)
    placed = to_detections([x_first], region, (64, 32), "relative")
    assert placed == to_detections([y_first], region, (64, 32), "relative_yx")
    (back,) = to_boxes(placed, region, (64, 32), "relative_yx")
    assert (back.x1, back.y1, back.x2, back.y2) == pytest.approx((200, 100, 900, 300))

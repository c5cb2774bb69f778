"""Files of checkpoints that are damaged, out of range or hostile: one line, before much is made."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import napari_pathreason
from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    Normalisation,
    load_models,
    load_performer,
    load_tokenizer,
    patchify,
    read_info,
)

SOURCE = Path(napari_pathreason.__file__).parent


def change(path: Path, **values) -> None:
    """Set keys of a json file; those of a section by ``section__key``."""
    whole = json.loads(path.read_text())
    for key, value in values.items():
        *sections, last = key.split("__")
        place = whole
        for section in sections:
            place = place[section]
        place[last] = value
    path.write_text(json.dumps(whole))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_models(folder, "cpu")
    line = str(caught.value)
    assert "\n" not in line
    assert str(folder) not in line
    return line


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"text_config__num_attention_heads": 0, "text_config__head_dim": None}, "make no sense"),
        ({"text_config__num_attention_heads": 0}, "0 as text_heads"),
        ({"text_config__num_attention_heads": -4}, "-4 as text_heads"),
        ({"text_config__num_hidden_layers": 1_000_000}, "1000000 as text_depth"),
        ({"vision_config__depth": 2**40}, "as vision_depth"),
        ({"text_config__hidden_size": "64"}, "64 as text_hidden"),
        ({"text_config__hidden_size": 64.5}, "64.5 as text_hidden"),
        ({"text_config__vocab_size": None}, "None as vocabulary"),
        ({"text_config__vocab_size": 2**60}, "as vocabulary"),
        ({"vision_config__patch_size": 0}, "0 as patch"),
        ({"vision_config__patch_size": True}, "True as patch"),
        ({"vision_config": None}, "make no sense"),
        ({"vision_config": [1]}, "make no sense"),
        ({"text_config": "none"}, "make no sense"),
        ({"text_config__vocab_size": 5_000_000}, "do not fit its config"),
        ({"text_config__num_hidden_layers": 900}, "do not fit its config"),
        ({"vision_config__num_position_embeddings": 2**40}, "do not fit its config"),
        ({"vision_config__deepstack_visual_indexes": "abc"}, "fetch the whole model"),
        ({"text_config__rope_parameters": 3}, "fetch the whole model"),
    ],
)
def test_sizes_of_a_config_that_no_model_has(copy, values, named):
    change(copy / "config.json", **values)
    assert named in refusal(copy)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_mean", None),
        ("image_mean", [0.5, 0.5]),
        ("image_mean", "0.5"),
        ("image_mean", [0.5, 0.5, float("nan")]),
        ("image_mean", [123.7, 116.3, 103.5]),
        ("image_mean", [-0.5, 0.5, 0.5]),
        ("image_std", [0.0, 0.5, 0.5]),
        ("image_std", [0.5, 0.5, float("inf")]),
        ("image_std", [58.4, 57.1, 57.4]),
        ("image_std", [True, 0.5, 0.5]),
        ("rescale_factor", 0),
        ("rescale_factor", -1 / 255),
        ("rescale_factor", float("nan")),
        ("rescale_factor", "0.1"),
        ("do_normalize", "no"),
        ("do_rescale", 0),
        ("patch_size", 0),
        ("patch_size", 14),
        ("merge_size", 3),
        ("temporal_patch_size", -1),
        ("size", {"longest_edge": 0}),
        ("max_pixels", 2**60),
        ("min_pixels", 1.5),
    ],
)
def test_values_of_a_preprocessor_that_cannot_be(copy, key, value):
    change(copy / "preprocessor_config.json", **{key: value})
    line = refusal(copy)
    assert key in line
    with pytest.raises(ModelError, match=key):  # known without weights
        read_info(copy, "it")


def test_switches_and_factor_of_a_preprocessor_are_honoured(copy):
    path = copy / "preprocessor_config.json"
    usual = load_performer(copy, "cpu").normalisation
    change(path, rescale_factor=0.002)
    assert load_performer(copy, "cpu").normalisation == Normalisation(usual.mean, usual.std, 0.002)
    change(path, do_rescale=False, image_mean=[120.0] * 3, image_std=[60.0] * 3)
    assert load_performer(copy, "cpu").normalisation == Normalisation((120,) * 3, (60,) * 3, 1)
    change(path, do_rescale=True, rescale_factor=None, do_normalize=False, image_mean=None)
    assert load_performer(copy, "cpu").normalisation == Normalisation((0,) * 3, (1,) * 3, 1 / 255)


@settings(max_examples=20, deadline=None)
@given(
    rescale=st.none() | st.floats(1e-3, 1),
    normalize=st.booleans(),
    shares=st.lists(st.floats(0.05, 1), min_size=6, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_pixels_are_those_of_transformers_own_processor(rescale, normalize, shares, seed):
    from transformers import Qwen2VLImageProcessorPil

    scale = 1.0 if rescale is None else rescale
    values = [255 * scale * share for share in shares]
    own = Normalisation((0.0,) * 3, (1.0,) * 3, scale)
    if normalize:
        own = Normalisation(tuple(values[:3]), tuple(values[3:]), scale)
    processor = Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        image_mean=values[:3],
        image_std=values[3:],
        do_normalize=normalize,
        do_rescale=rescale is not None,
        rescale_factor=scale,
        do_resize=False,
    )
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    theirs = processor(pixels, return_tensors="pt")["pixel_values"]
    ours, _ = patchify(pixels, 16, 2, own)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [{}, {"chat_template": None}, {"chat_template": 3}])
def test_a_template_file_without_a_template(copy, value):
    (copy / "chat_template.json").write_text(json.dumps(value))
    assert "chat_template.json of the model copy holds no chat template" in refusal(copy)


GROWING = "{% set ns = namespace(s='aaaa') %}{% for i in range(60) %}{% set ns.s = X %}{% endfor %}"
TWICE = "{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}"


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{{ 'a' * 10**10 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ 'a' | center(10000000000) }}",
        "{{ 'a'.ljust(10000000000) }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ '{:10000000000d}'.format(1) }}",
        "{{ lipsum(n=100000) }}",
        "{{ strftime_now('%Y') }}{{ 'a' * 10**10 }}",
        GROWING.replace("X", "ns.s ~ ns.s"),
        GROWING.replace("X", "ns.s + ns.s"),
        GROWING.replace("X", "ns.s | replace('a', ns.s)"),
        GROWING.replace("X", "[ns.s, ns.s] | join"),
        GROWING.replace("X", "'%s%s' % (ns.s, ns.s)"),
        GROWING.replace("= X %}", "%}{{ ns.s }}{{ ns.s }}{% endset %}"),
        "{% macro f(n) %}" + TWICE + "{% endmacro %}{{ f(60) }}",
        "{#" + "x" * 2**20 + "#}",
    ],
)
@pytest.mark.slow
def test_a_template_that_does_not_end_is_refused_before_it_is_used(copy, text, monkeypatch):
    def used(*_, **__):
        raise AssertionError("transformers was given it")

    info = read_info(copy, "it")
    (copy / "chat_template.jinja").write_text(text)
    monkeypatch.setattr("transformers.PreTrainedTokenizerBase.apply_chat_template", used)
    with pytest.raises(ModelError, match="chat template of the model it") as caught:
        load_tokenizer(copy, info)
    assert "does not end, or makes too much" in str(caught.value)


def test_a_template_that_marks_answers_loads(copy):
    template = (copy / "chat_template.jinja").read_text()
    marked = "{% generation %}" + template + "{% endgeneration %}{% break %}"
    (copy / "chat_template.jinja").write_text("{% for x in [1] %}" + marked + "{% endfor %}")
    load_performer(copy, "cpu")


@pytest.mark.parametrize("place", ["../outside.safetensors", "/etc/passwd", "x.bin", 3, None])
def test_weights_elsewhere_than_in_the_folder(copy, place):
    index = {"metadata": {}, "weight_map": {"a": place}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json of the model copy is damaged" in refusal(copy)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_json_that_is_nested_without_end(copy, file):
    (copy / file).write_text('{"a": ' * 100_000)
    assert f"{file} of the model copy is damaged" in refusal(copy)


def test_all_files_of_checkpoints_go_through_one_door():
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr == "from_pretrained":
                found.add(path.relative_to(SOURCE).as_posix())
            if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is False
    assert found == {"models/_pretrained.py"}

"""Files of checkpoints that are damaged, out of range or hostile: one line, before much is made."""

import ast
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import load_file, save_file

import napari_pathreason
from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    Normalisation,
    load_models,
    load_performer,
    load_tokenizer,
    patchify,
    read_info,
    stop_ids,
)
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import GenerationSettings, Prompt, Query
from tests.support.other_checkpoints import make_other_checkpoint

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


def spoil(folder: Path, part: str, made) -> None:
    """Put what ``made`` makes of them in the place of the weights whose names hold ``part``."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in [name for name in weights if part in name]:
        weights[name] = made(weights[name])
    save_file(weights, path, {"format": "pt"})


PICTURE = np.zeros((64, 64, 3), np.uint8)


def answer(folder: Path, question: str = "Is there tumour?") -> str:
    """What a model writes first of all."""
    query = Query("vqa", question, ("yes", "no"))
    prompt = Prompt((PICTURE,), TASKS["vqa"].messages(query))
    performer = load_performer(folder, "cpu")
    *_, completion = performer.generate(prompt, GenerationSettings(3), threading.Event())
    return completion.text


@pytest.mark.parametrize(
    ("part", "made"),
    [
        ("q_proj", lambda weight: torch.full_like(weight, torch.nan)),
        ("visual.patch_embed", lambda weight: torch.full_like(weight, torch.inf)),
        ("gate_proj", lambda weight: torch.full_like(weight, 1e38)),
    ],
)
def test_weights_that_give_no_numbers_give_no_answer(copy, part, made):
    spoil(copy, part, made)
    with pytest.raises(ModelError, match="is no number") as caught:
        answer(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("theta", [0, float("nan")])
def test_a_config_that_gives_no_numbers_gives_no_answer(copy, theta):
    change(copy / "config.json", text_config__rope_parameters__rope_theta=theta)
    with pytest.raises(ModelError, match="is no number"):
        answer(copy)


@pytest.mark.parametrize(
    ("made", "named"),
    [
        (lambda weight: (weight * 10).to(torch.int8), "as I8"),
        (lambda weight: weight > 0, "as BOOL"),
        (lambda weight: weight.to(torch.complex64), "as C64"),
        (lambda weight: weight.to(torch.float8_e4m3fn), "as F8_E4M3"),
        (lambda weight: (weight * 10).long(), "as I64"),
    ],
)
def test_weights_that_were_packed_and_nobody_says_how(copy, made, named):
    spoil(copy, "q_proj.weight", made)
    line = refusal(copy)
    assert "q_proj.weight" in line
    assert named in line


def test_weights_beside_an_index_of_others(copy):
    shutil.copy(copy / "model.safetensors", copy / "model-00001-of-00001.safetensors")
    names = load_file(copy / "model.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "both model.safetensors and an index of other weight files" in refusal(copy)
    (copy / "model.safetensors").unlink()
    load_performer(copy, "cpu")


@pytest.mark.parametrize("wish", ["flash_attention_2", "owner/kernels", "none", 3])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_how_a_config_wishes_to_attend_is_no_part_of_the_model(checkpoints, copy, key, wish):
    change(copy / "config.json", **{key: wish, f"text_config__{key}": wish})
    assert answer(copy) == answer(checkpoints["qwen3_vl"])
    assert load_performer(copy, "cpu").model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("taken", [[7], [-1], 3, [True], [0.0]])
def test_layers_that_are_not_there(copy, taken):
    change(copy / "config.json", vision_config__deepstack_visual_indexes=taken)
    assert "deepstack_visual_indexes in config.json" in refusal(copy)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"temporal_patch_size": 1}, "temporal_patch_size"),
        ({"min_pixels": 10**6, "max_pixels": 4}, "min_pixels"),
        ({"size": {"shortest_edge": 9, "longest_edge": 8}}, "shortest_edge"),
    ],
)
def test_values_of_a_preprocessor_that_contradict_others(copy, values, named):
    change(copy / "preprocessor_config.json", **values)
    assert named in refusal(copy)


NESTED = {
    "image_processor": {
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.9, 0.8, 0.7],
        "patch_size": 16,
    }
}


@pytest.mark.parametrize(
    "files",
    [
        {"preprocessor_config.json": {"do_normalize": False}},
        {"preprocessor_config.json": {"patch_size": 16}},
        {"preprocessor_config.json": {"image_mean": [0.5] * 3, "patch_size": 16}},
        {"processor_config.json": NESTED},
        {"processor_config.json": {"image_processor": None}},
        {"processor_config.json": NESTED, "preprocessor_config.json": None},
    ],
)
def test_files_of_a_preprocessor_are_read_as_transformers_reads_them(copy, files):
    from transformers import Qwen2VLImageProcessorPil

    for file, values in files.items():
        if values is None:
            (copy / file).unlink()
        else:
            (copy / file).write_text(json.dumps(values))
    theirs = Qwen2VLImageProcessorPil.from_pretrained(copy, do_resize=False, patch_size=16)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    own, _ = patchify(pixels, 16, 2, load_performer(copy, "cpu").normalisation)
    values = theirs(pixels, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(own, values, rtol=1e-5, atol=1e-5)


LONG = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 20}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalizer", LONG | {"content": "a" * 200_000}),
        ("normalizer", {"type": "Sequence", "normalizers": [LONG, LONG, LONG]}),
        ("normalizer", {"type": "Prepend", "prepend": "a" * 100_000}),
        ("decoder", LONG | {"content": "a" * 200_000}),
    ],
)
def test_a_tokenizer_that_lengthens_what_it_reads(copy, key, value):
    change(copy / "tokenizer.json", **{key: value})
    assert "makes far more of a text than it is" in refusal(copy)


def test_a_tokenizer_that_gives_up(copy):
    """Its library panics, which is no `Exception`."""
    pattern = {"Regex": "(([a-z ])+.)+[A-Z]([a-z ])+$"}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    usual = json.loads((copy / "tokenizer.json").read_text())["pre_tokenizer"]
    both = {"type": "Sequence", "pretokenizers": [split, usual]}
    change(copy / "tokenizer.json", pre_tokenizer=both)
    with pytest.raises(ModelError, match="tokenizer fails at this text") as caught:
        answer(copy, "is there any tumour in the upper part of this picture " * 4)
    assert "\n" not in str(caught.value)


def test_an_end_that_is_also_the_unknown_word_ends_an_answer(copy):
    change(copy / "tokenizer_config.json", unk_token="<|im_end|>")
    performer = load_performer(copy, "cpu")
    end = performer.tokenizer.eos_token_id
    assert performer.tokenizer.unk_token_id == end
    assert stop_ids(performer.model, performer.tokenizer) == {end}


def test_a_tokenizer_without_video_answers_about_pictures(checkpoints, copy):
    values = json.loads((copy / "tokenizer.json").read_text())
    values["added_tokens"] = [
        token for token in values["added_tokens"] if token["content"] != "<|video_pad|>"
    ]
    (copy / "tokenizer.json").write_text(json.dumps(values))
    path = copy / "tokenizer_config.json"
    kept = json.loads(path.read_text())
    for key in ("additional_special_tokens", "extra_special_tokens"):
        if key in kept:
            kept[key] = [token for token in kept[key] if token != "<|video_pad|>"]
    path.write_text(json.dumps(kept))
    assert load_performer(copy, "cpu").tokenizer.convert_tokens_to_ids("<|video_pad|>") is None
    assert answer(copy) == answer(checkpoints["qwen3_vl"])


@pytest.mark.parametrize(
    "values",
    [
        {"dtype": "foo"},
        {"quantization_config": 3},
        {"image_token_id": True},
        {"id2label": {"x": 1}},
    ],
)
def test_a_config_is_named_where_it_is_the_cause(copy, values):
    change(copy / "config.json", **values)
    assert "config.json of the model copy cannot be read" in refusal(copy)


def test_a_size_of_half_a_character(copy):
    change(copy / "config.json", text_config__hidden_size="\ud800")
    assert "text_hidden" in refusal(copy)


def test_weights_that_were_packed_in_a_way_that_nobody_knows(copy):
    change(copy / "config.json", quantization_config={"quant_method": "foo"})
    load_performer(copy, "cpu")  # plain all the same
    spoil(copy, "q_proj.weight", lambda weight: (weight * 10).to(torch.int8))
    assert "q_proj.weight as I8" in refusal(copy)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A checkpoint that transformers' own processor prepares and its `generate` answers for."""
    return make_other_checkpoint(tmp_path_factory.mktemp("other") / "gemma3", "gemma3")


@pytest.fixture
def other(prepared, tmp_path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_beams", 4),
        ("num_beams", 10**6),
        ("repetition_penalty", 5.0),
        ("no_repeat_ngram_size", 1),
        ("suppress_tokens", [*range(200)]),
        ("sequence_bias", [[[5], 10.0]]),
        ("stop_strings", ["a"]),
        ("guidance_scale", 3.0),
        ("max_time", 1e-4),
        ("penalty_alpha", 0.6),
        ("forced_eos_token_id", 7),
    ],
)
def test_how_its_author_would_sample_is_not_read(prepared, other, key, value):
    change(other / "generation_config.json", **{key: value})
    assert answer(other) == answer(prepared)


@pytest.mark.parametrize(
    ("file", "values", "says"),
    [
        ("preprocessor_config.json", {"resample": 99}, "cannot be read"),
        ("preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor"}, "be read"),
        ("processor_config.json", {"image_seq_length": 10**9}, "must be from 0 to 10,000"),
        ("processor_config.json", {"chat_template": "{{ 1 / 0 }}"}, "chat template of the model"),
        ("processor_config.json", {"chat_template": 3}, "holds no chat template"),
        ("config.json", {"mm_tokens_per_image": 15}, "make no sense"),
        ("config.json", {"mm_tokens_per_image": 9}, "make no sense"),
    ],
)
def test_files_of_a_processor_that_cannot_be(other, file, values, says):
    change(other / file, **values)
    with pytest.raises(ModelError, match=says) as caught:
        answer(other)
    assert "\n" not in str(caught.value)


def test_a_template_of_the_processors_own_file(prepared, other):
    template = (other / "chat_template.jinja").read_text()
    (other / "chat_template.jinja").unlink()
    change(other / "processor_config.json", chat_template=template)
    assert answer(other) == answer(prepared)


def test_a_template_that_fails_at_a_question(copy):
    path = copy / "chat_template.jinja"
    refuses = "{% if messages | length > 1 %}{{ raise_exception('no') }}{% endif %}"
    path.write_text(path.read_text() + refuses)
    with pytest.raises(ModelError, match="the model's chat template cannot be read") as caught:
        answer(copy)
    assert "\n" not in str(caught.value)


def test_a_tensor_that_stands_in_two_files(copy):
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    halves = {"a.safetensors": {}, "b.safetensors": {}}
    for number, (name, weight) in enumerate(weights.items()):
        halves[["a.safetensors", "b.safetensors"][number % 2]][name] = weight
    places = {name: file for file, half in halves.items() for name in half}
    index = {"metadata": {}, "weight_map": places}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    for file, half in halves.items():
        save_file(half, copy / file, {"format": "pt"})
    load_performer(copy, "cpu")
    twice = next(iter(halves["b.safetensors"]))
    halves["a.safetensors"][twice] = halves["b.safetensors"][twice] + 1
    save_file(halves["a.safetensors"], copy / "a.safetensors", {"format": "pt"})
    assert f"{twice} of the model copy stands in a.safetensors and in b.safetensors" in (
        refusal(copy)
    )


@pytest.mark.parametrize(
    ("name", "shown"),
    [("", "it"), ("a\nb", "a\ufffdb"), ("a\x1b[31m", "a\ufffd[31m"), ("x" * 10**6, "x" * 200)],
)
def test_a_name_is_shown_in_one_line(copy, name, shown):
    (copy / "pathreason.json").write_text(json.dumps({"name": name}))
    assert read_info(copy, "it").name == shown


@pytest.mark.parametrize("key", ["labels", "tissues", "zoom_labels"])
def test_a_label_without_end(copy, key):
    (copy / "pathreason.json").write_text(json.dumps({"format_version": 1, key: ["x" * 10**6]}))
    assert f"{key} in pathreason.json of the model copy must be a list of texts" in refusal(copy)

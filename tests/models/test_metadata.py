"""What a checkpoint says of its training: written, read, damaged, and not taken from a base."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors.torch import load_file, save_file

from napari_pathreason.errors import ModelError
from napari_pathreason.files import plain_text
from napari_pathreason.models import (
    CALIBRATION,
    METADATA,
    find_checkpoint,
    load_performer,
    read_info,
    write_merged,
    write_metadata,
)
from napari_pathreason.types import Metadata, Query, Topic

KIDNEY = Metadata(
    topics=(
        Topic(
            "user",
            "choice",
            frozenset({"glomerulus", "tubule"}),
            Query("subtyping", "What is this?", ("glomerulus", "tubule")),
        ),
    ),
    labels=("glomerulus",),
    tissues=("kidney",),
    mpp=(0.25, 4.0),
    max_visual_tokens=256,
    zoom_labels=("glomerulus",),
)

texts = st.text(max_size=12)
names = st.lists(texts, max_size=3).map(tuple)
queries = st.builds(Query, st.sampled_from(["vqa", "subtyping", "detection"]), texts, names)
forms = st.sampled_from(["choice", "yes/no", "count", "boxes", "free text"])
topics = st.builds(Topic, texts, forms, st.frozensets(texts, max_size=3), queries)
scales = st.floats(1e-3, 1e3)
metadata = st.builds(
    Metadata,
    topics=st.lists(topics, max_size=3).map(tuple),
    labels=names,
    tissues=names,
    mpp=st.none() | st.tuples(scales, scales).map(sorted).map(tuple),
    max_visual_tokens=st.none() | st.integers(1, 1 << 20),
    zoom_labels=names,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=texts, told=metadata, space=st.sampled_from([None, "relative", "resized"]))
def test_what_is_written_is_read(copy, name, told, space):
    write_metadata(copy, name, told, space)
    info = read_info(copy, "by folder")
    assert (info.name, info.metadata) == (plain_text(name) or "by folder", told)
    assert info.box_space == (space or "relative")
    assert not list(copy.glob("*.partial"))


def test_a_performer_tells_it(copy):
    write_metadata(copy, "mine", KIDNEY, "resized")
    info = load_performer(copy, "cpu").info
    assert (info.name, info.box_space, info.metadata) == ("mine", "resized", KIDNEY)
    assert (info.zoom_labels, info.max_visual_tokens) == (("glomerulus",), 256)
    assert KIDNEY.forms == ("choice",)


@pytest.mark.parametrize(
    "metadata_json",
    [
        {},
        {"name": "foreign"},
        {"name": "foreign", "box_space": "resized", "scores": {"anything": "else"}},
        {"name": "foreign", "tissues": ["lung"], "any_tissue_terms": ["nuclei"]},
    ],
)
def test_a_file_without_a_format_version_says_nothing_of_the_training(copy, metadata_json):
    (copy / METADATA).write_text(json.dumps(metadata_json))
    info = read_info(copy, "by folder")
    assert (info.name, info.metadata) == (metadata_json.get("name", "by folder"), None)
    assert info.box_space == metadata_json.get("box_space", "relative")


def test_a_model_without_metadata_can_be_named(copy):
    write_metadata(copy, "mine", None)
    assert (read_info(copy, "x").name, read_info(copy, "x").metadata) == ("mine", None)


TOPIC = {
    "name": "a",
    "form": "count",
    "words": ["cells"],
    "example": {"task": "vqa", "question": "How many cells?", "options": []},
}


@pytest.mark.parametrize(
    ("metadata_json", "message"),
    [
        ({"name": 3}, "must be a text"),
        ({"box_space": "level0"}, "relative, resized, relative_yx"),
        ({"format_version": 0}, "format_version"),
        ({"format_version": "1"}, "format_version"),
        ({"format_version": True}, "format_version"),
        ({"format_version": None}, "format_version"),
        ({"format_version": 2}, "install a newer napari-pathreason"),
        ({"tissues": "lung"}, "list of texts"),
        ({"labels": [1]}, "list of texts"),
        ({"zoom_labels": None}, "list of texts"),
        ({"mpp": 0.5}, "least and the most"),
        ({"mpp": [4, 0.25]}, "least and the most"),
        ({"mpp": [0, 1]}, "least and the most"),
        ({"mpp": [0.5, "1"]}, "least and the most"),
        ({"mpp": [1, 10**400]}, "least and the most"),
        ({"mpp": [True, 2]}, "least and the most"),
        ({"max_visual_tokens": 0}, "a number of visual tokens"),
        ({"max_visual_tokens": True}, "a number of visual tokens"),
        ({"max_visual_tokens": 1.5}, "a number of visual tokens"),
        ({"topics": {}}, "must be a list"),
        ({"topics": ["count"]}, "a topic"),
        ({"topics": [TOPIC | {"form": "essay"}]}, "a topic"),
        ({"topics": [TOPIC | {"words": "cells"}]}, "a topic"),
        ({"topics": [TOPIC | {"words": [1]}]}, "a topic"),
        ({"topics": [TOPIC | {"example": "How many?"}]}, "a topic"),
        ({"topics": [TOPIC | {"example": {"task": "grading"}}]}, "a topic"),
        ({"topics": [{key: TOPIC[key] for key in ("name", "form", "words")}]}, "a topic"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(copy, metadata_json, message):
    (copy / METADATA).write_text(json.dumps({"format_version": 1} | metadata_json))
    with pytest.raises(ModelError, match=message) as caught:
        read_info(copy, "mine")
    assert METADATA in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_file_is_named(copy, text):
    (copy / METADATA).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match="damaged"):
        load_performer(copy, "cpu")


def test_the_model_that_ships_says_what_it_was_trained_on():
    folder, name = find_checkpoint("embedded")
    metadata = read_info(folder, name).metadata
    assert set(metadata.zoom_labels) <= set(metadata.labels)
    assert {topic.form for topic in metadata.topics} == {"choice", "yes/no", "count", "boxes"}
    assert all(topic.words for topic in metadata.topics)


@pytest.fixture
def foreign(checkpoints, tmp_path):
    """An adapter that peft wrote, without a config, on a base that tells of its own training."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3VLForConditionalGeneration

    base = tmp_path / "base"
    shutil.copytree(checkpoints["qwen3_vl"], base)
    model = Qwen3VLForConditionalGeneration.from_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "foreign")
    write_metadata(base, "the base", KIDNEY)
    scale = {"temperature": 2, "offset": 0, "rationale": False}
    (base / CALIBRATION).write_text(json.dumps(dict.fromkeys(("choice", "open", "box"), scale)))
    weights = load_file(base / "model.safetensors")
    save_file({"a": next(iter(weights.values()))}, base / "allocator.safetensors")
    (base / "allocator.json").write_text("{}")
    return tmp_path / "foreign"


def test_what_a_base_was_trained_on_is_not_what_an_adapter_was(foreign, tmp_path):
    for folder in (foreign, write_merged(foreign, tmp_path / "merged")):
        info = load_performer(folder, "cpu").info
        assert (info.name, info.metadata, info.calibration) == (folder.name, None, None)
    merged = {file.name for file in (tmp_path / "merged").iterdir()}
    assert not merged & {METADATA, CALIBRATION, "allocator.json", "allocator.safetensors"}
    assert "tokenizer.json" in merged


def test_a_merged_model_says_what_its_adapter_did(foreign, tmp_path):
    write_metadata(foreign, "adapted", KIDNEY, "relative")
    info = load_performer(write_merged(foreign, tmp_path / "merged"), "cpu").info
    assert (info.name, info.metadata) == ("adapted", KIDNEY)

"""What a model says of its training: built from recipe and samples, written by calibrate."""

import json
from collections import Counter

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import QueryError
from napari_pathreason.models import METADATA, metadata_of, read_metadata, write_metadata
from napari_pathreason.tasks import examples, form_of, untrained, words_of_query
from napari_pathreason.training import Recipe, Sample, load_recipe
from napari_pathreason.training.run import build_metadata, describe_checkpoint, model_name
from napari_pathreason.types import Metadata


def _recipe(**parts):
    return Recipe.model_validate({"output": "runs/kidney", "data": {"folder": "data"}} | parts)


def _sample(question="", choices=(), answer="", task="vqa", **parts):
    given = {"image": "a.png", "task": task, "question": question, "answer": answer}
    return Sample.model_validate(given | {"choices": choices} | parts)


KIDNEY = [
    _sample("What is this?", ("glomerulus", "tubule"), "tubule", "subtyping"),
    _sample("Which structure is shown?", ("glomerulus", "tubule"), "tubule", "subtyping"),
    _sample("Which structure is shown?", ("glomerulus", "tubule"), "glomerulus", "subtyping"),
    _sample("How many glomeruli are there?", answer="3", topic="number of glomeruli"),
    _sample(task="detection", choices=("glomerulus",), topic="boxes of glomerulus"),
    _sample("Is there a tumour?", ("yes", "no", "cannot tell"), "cannot tell", topic="cannot tell"),
]


def test_topics_are_those_of_the_samples():
    found = build_metadata(_recipe(), KIDNEY, {16: 1, 64: 2, 256: 0})
    assert [(t.name, t.form) for t in found.topics] == [
        ("user", "choice"),
        ("number of glomeruli", "count"),
        ("boxes of glomerulus", "boxes"),
    ]
    assert found.topics[0].words == {"glomerulus", "tubule", "structure"}
    assert found.topics[0].example == KIDNEY[1].query  # the one that is asked most
    assert found.labels == ("glomerulus",)
    assert found.max_visual_tokens == 64
    assert (found.tissues, found.mpp, found.zoom_labels) == ((), None, ())
    assert not any(untrained(query, found) for query in examples(found))


def test_a_question_without_an_answer_is_none_that_was_trained_on():
    found = build_metadata(_recipe(), KIDNEY, {16: 1})
    assert "tumour" in untrained(KIDNEY[-1].query, found)


def test_what_the_recipe_states_is_told():
    stated = {"tissues": ["kidney"], "mpp": [0.5, 2], "zoom_labels": ["glomerulus"], "name": "mine"}
    recipe = _recipe(metadata=stated)
    found = build_metadata(recipe, KIDNEY, {16: 1}, held=512)
    assert (found.tissues, found.mpp) == (("kidney",), (0.5, 2.0))
    assert (found.zoom_labels, found.max_visual_tokens) == (("glomerulus",), 512)
    assert (model_name(recipe), model_name(_recipe())) == ("mine", "kidney")
    assert model_name(_recipe(output=".")) != ""


def test_a_source_that_is_never_drawn_is_not_told():
    lung = _sample("Is it lung?", ("yes", "no"), "yes", source="lung")
    data = {"folder": "data", "weights": {"lung": 0}}
    found = build_metadata(_recipe(data=data), [*KIDNEY, lung], {16: 1})
    assert found == build_metadata(_recipe(), KIDNEY, {16: 1})


def test_a_zoom_label_that_no_box_is_asked_of_is_named():
    recipe = _recipe(metadata={"zoom_labels": ["glomerulus", "platelet"]})
    with pytest.raises(QueryError, match="names platelet, but training asks boxes of: glomerulus"):
        build_metadata(recipe, KIDNEY, {16: 1})
    with pytest.raises(QueryError, match="boxes of: nothing"):
        build_metadata(recipe, KIDNEY[:2], {16: 1})


samples = st.lists(
    st.builds(
        _sample,
        st.sampled_from(["", "Is there a vessel?", "How many vessels?", "Which one?", "Name it."]),
        st.sampled_from([(), ("yes", "no"), ("vessel", "tubule"), ("tubule",)]),
        st.sampled_from(["", "yes", "3", "unknown", "I cannot tell"]),
        st.sampled_from(["vqa", "subtyping", "detection"]),
        topic=st.sampled_from(["", "a", "b"]),
    ),
    max_size=12,
)


@given(samples)
def test_each_answerable_sample_is_in_one_topic(drawn):
    found = build_metadata(_recipe(), drawn, {16: 1})
    held = {(topic.name, topic.form): topic for topic in found.topics}
    assert len(held) == len(found.topics)
    asked = Counter()
    for sample in drawn:
        if sample.answer in ("unknown", "I cannot tell"):
            continue
        topic = held[sample.kind, form_of(sample.query)]
        assert words_of_query(sample.query) <= topic.words
        asked[sample.kind, topic.form, sample.query] += 1
    for (name, form), topic in held.items():
        most = max(n for (kind, of, _), n in asked.items() if (kind, of) == (name, form))
        assert asked[name, form, topic.example] == most


def _told(folder):
    card = read_metadata(folder, "x")
    return card.get("name"), metadata_of(card, "x"), card.get("box_space")


def test_a_checkpoint_that_says_nothing_is_described_by_samples(tmp_path):
    describe_checkpoint(tmp_path, "Qwen/Qwen3-VL-2B-Instruct", KIDNEY)
    name, found, space = _told(tmp_path)
    built = build_metadata(_recipe(), KIDNEY, {})
    assert (name, found, space) == ("Qwen/Qwen3-VL-2B-Instruct", built, None)
    assert found.max_visual_tokens is None
    before = (tmp_path / METADATA).read_bytes()
    describe_checkpoint(tmp_path, "x", KIDNEY[:1])  # it says what it was trained on
    assert (tmp_path / METADATA).read_bytes() == before


def test_a_foreign_files_name_and_box_space_stay(tmp_path):
    (tmp_path / METADATA).write_text(json.dumps({"name": "foreign", "box_space": "resized"}))
    describe_checkpoint(tmp_path, "folder", KIDNEY)
    name, found, space = _told(tmp_path)
    assert (name, space) == ("foreign", "resized")
    assert found.labels == ("glomerulus",)


def test_a_recipe_refreshes_what_comes_of_samples_and_keeps_what_was_stated(tmp_path):
    known = Metadata((), ("old",), ("kidney",), (0.25, 1.0), 484, ("glomerulus",))
    write_metadata(tmp_path, "begun", known, "relative")
    describe_checkpoint(tmp_path, "x", KIDNEY, _recipe())
    name, found, space = _told(tmp_path)
    assert (name, space) == ("begun", "relative")
    assert found.labels == ("glomerulus",)
    assert found.topics == build_metadata(_recipe(), KIDNEY, {}).topics
    assert (found.tissues, found.mpp) == (("kidney",), (0.25, 1.0))
    assert (found.max_visual_tokens, found.zoom_labels) == (484, ("glomerulus",))
    stated = {"name": "mine", "tissues": ["human kidney"], "mpp": [0.5, 2]}
    describe_checkpoint(tmp_path, "x", KIDNEY, _recipe(metadata=stated))
    name, found, _ = _told(tmp_path)
    assert (name, found.tissues, found.mpp) == ("mine", ("human kidney",), (0.5, 2.0))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{mpp: [2, 0.5]}", r"metadata\.mpp: give the least and the most"),
        ("{mpp: [0, 1]}", r"metadata\.mpp\.0"),
        ("{mpp: [0.5, .inf]}", r"metadata\.mpp"),
        ("{mpp: 0.5}", r"metadata\.mpp"),
        ("{tissues: kidney}", r"metadata\.tissues"),
        ("{name: ''}", r"metadata\.name"),
        ("{closer: [platelet]}", r"metadata\.closer"),
    ],
)
def test_a_wrong_statement_of_a_recipe_is_named(tmp_path, section, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"output: x\ndata: {{folder: y}}\nmetadata: {section}\n")
    with pytest.raises(QueryError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)

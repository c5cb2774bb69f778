"""What can be said of a question before it is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.engine import foreseen
from napari_pathreason.errors import ModelError
from napari_pathreason.types import (
    Calibration,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    Topic,
)
from napari_pathreason.viewer import (
    Session,
    foresee,
    largest_offered,
    outlook,
    why_not_offered,
    why_windows,
)

YES_NO = ("yes", "no")
COUNT = Query("vqa", "Count the nuclei.")
DENSE = Query("vqa", "How dense are the nuclei?", ("sparse", "dense"))
TUMOUR = Query("vqa", "Is there tumour?", YES_NO)
FIND = Query("detection", "", ("tumour",))
TOPICS = (
    Topic("tumour in a tile", "yes/no", frozenset({"tumour"}), TUMOUR),
    Topic("number of nuclei", "count", frozenset({"nuclei"}), COUNT),
    Topic("dense nuclei", "choice", frozenset({"nuclei", "dense", "sparse"}), DENSE),
    Topic("boxes of tumour", "boxes", frozenset({"tumour"}), FIND),
)
MODEL = ModelInfo(
    "small",
    "qwen3_vl",
    "relative",
    ModelDims(*[1] * 12),
    calibration=Calibration(),
    metadata=Metadata(TOPICS, ("tumour", "white cell")),
)


def test_where_no_question_is_alike_those_of_the_same_task_go_first() -> None:
    boxes_first = replace(MODEL, metadata=Metadata((TOPICS[3], *TOPICS[:3]), ("tumour",)))
    offered = outlook(Query("vqa", "Is there necrosis?", YES_NO), boxes_first).examples
    assert [one.task for one in offered] == ["vqa", "vqa", "vqa", "detection"][: len(offered)]
    assert len(offered) > 1


def test_a_question_of_the_training_is_said_to_be_one() -> None:
    forecast = outlook(COUNT, MODEL)
    assert (forecast.level, forecast.text, forecast.examples) == (
        "reliable",
        "Trained on questions like this.",
        (),
    )


def test_another_question_would_be_a_guess_and_others_are_offered() -> None:
    forecast = outlook(Query("vqa", "Is there necrosis?", YES_NO), MODEL)
    assert forecast.level == "none"
    assert forecast.text == "Not trained on: necrosis. An answer would be a guess."
    assert forecast.lead == "It can answer:"
    assert set(forecast.names) <= {
        "Is there tumour?",
        "Count the nuclei.",
        DENSE.question,
        "Find: tumour",
    }
    assert len(forecast.examples) == 3


def test_questions_about_the_same_are_offered_first() -> None:
    forecast = outlook(Query("vqa", "How large are the nuclei?"), MODEL)
    assert forecast.text.startswith("Not trained on: large.")
    assert set(forecast.examples[:2]) == {COUNT, DENSE}


def test_a_question_without_its_choices_gets_those_of_training() -> None:
    forecast = outlook(Query("vqa", "Dense nuclei or sparse?"), MODEL)
    assert forecast.text == "Trained on questions like this."
    kinds = replace(DENSE, options=("packed", "loose"))
    metadata = MODEL.metadata
    assert metadata is not None
    (topic,) = (one for one in metadata.topics if one.example == DENSE)
    two = replace(metadata, topics=(*metadata.topics, replace(topic, example=kinds)))
    forecast = outlook(Query("vqa", "Dense nuclei or sparse?"), replace(MODEL, metadata=two))
    assert forecast.text.startswith("The question needs its choices: sparse, dense.")
    assert forecast.examples[0] == DENSE


def test_labels_that_it_cannot_look_for_are_named_with_those_that_it_can() -> None:
    forecast = outlook(Query("detection", "", ("tumours", "mitosis")), MODEL)
    assert (forecast.level, forecast.text) == ("none", "Cannot look for mitosis.")
    assert forecast.lead == "It can look for:"
    assert forecast.names == ("tumour", "white cell")
    assert "Not trained on: mitosis." in forecast.detail
    blind = replace(MODEL, metadata=Metadata(TOPICS[1:3]))
    forecast = outlook(FIND, blind)
    assert forecast.text == "Cannot look for tumour. It was not trained to draw boxes."


@pytest.mark.parametrize("task", ["vqa", "subtyping", "detection"])
def test_nothing_is_judged_before_anything_is_written(task: Any) -> None:
    forecast = outlook(Query(task, " " if task == "vqa" else ""), MODEL)
    assert (forecast.level, forecast.text) == (None, "")
    assert forecast.examples


def test_a_model_that_says_nothing_is_uncertain_at_best() -> None:
    silent = replace(MODEL, metadata=None)
    forecast = outlook(COUNT, silent)
    assert forecast.level == "uncertain"
    assert forecast.text == "Uncertain at best: this model does not say what it was trained on."
    assert outlook(Query("vqa"), silent).examples == ()
    unmeasured = outlook(COUNT, replace(MODEL, calibration=None))
    assert "nobody has measured how reliable this model is" in unmeasured.text


def test_of_a_model_that_is_not_here_nothing_is_known_yet() -> None:
    forecast = outlook(COUNT, None)
    assert forecast.level is None
    assert forecast.text == "What this model was trained on is known once it has answered."


def test_damage_is_told_and_nothing_is_loaded() -> None:
    def damaged(model: str) -> ModelInfo:
        raise ModelError(f"config.json of the model {model} is damaged; fetch it again")

    def load(*_: Any) -> Any:
        raise AssertionError("a model was loaded")

    session = Session(load, damaged)
    forecast, info = foresee(session, COUNT, "mine")
    assert info is None
    assert (forecast.level, forecast.text) == (
        "none",
        "Config.json of the model mine is damaged; fetch it again.",
    )
    session.known_models["mine"] = MODEL  # what is loaded counts, not what lies there now
    assert foresee(session, COUNT, "mine") == (outlook(COUNT, MODEL), MODEL)


@given(
    st.text(max_size=40),
    st.lists(st.text(max_size=8), max_size=3),
    st.sampled_from(["vqa", "detection"]),
)
def test_whatever_is_written_gets_the_level_that_its_answer_can_have(
    words: str, options: list[str], task: Any
) -> None:
    query = Query(task, words, tuple(options))
    forecast = outlook(query, MODEL)
    assert forecast.level in (None, foreseen(query, MODEL).level)
    assert len(forecast.names) == len(forecast.examples)
    for example in forecast.examples:  # what is offered is no guess
        if example.task != "detection" or example.options == ("tumour",):
            assert foreseen(example, MODEL).level == "reliable"


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_no_larger_budget_is_offered_than_replies_hold_at(most: int, native: int) -> None:
    offered = [budget for budget in BUDGET_GRID if not why_not_offered(budget, most, native)]
    assert offered == [budget for budget in BUDGET_GRID if budget <= most]
    assert bool(why_not_offered("native", most, native)) is (native > most)
    assert why_not_offered("auto", most, native) == ""
    assert all(not why_not_offered(budget, None, native) for budget in (*BUDGET_GRID, "native"))
    if offered:
        assert largest_offered(most) == offered[-1]


def test_what_is_not_offered_says_why() -> None:
    assert why_not_offered(1024, 512) == ("more than the 512 up to which this model's replies hold")
    assert why_not_offered("native", 512, 1024) == (
        "native size is 1,024 visual tokens, more than the 512 up to which this model's replies "
        "hold; mark a smaller region"
    )


def test_what_is_more_than_one_picture_holds_is_read_as_windows() -> None:
    assert why_windows(512, 512) == why_windows(4096, None) == ""
    beyond = "more than the 512 up to which replies about one picture hold"
    assert why_windows(513, 512) == f"{beyond}: read as windows"
    assert why_windows(513, 512, one_picture=True) == f"{beyond}: choose another way to read it"

"""What speaks against an answer, and that it is told before the answer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason import QueryError
from napari_pathreason.engine import Job, ask, foreseen, result_to_dict
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import words_of_query
from napari_pathreason.types import (
    Calibration,
    Completion,
    Metadata,
    ModelInfo,
    OODScore,
    Query,
    Request,
    Topic,
)

from .conftest import DIMS

REGION = Region(880, 680, 340, 240)
GLASS = Region(0, 0, 320, 320)
LESION = Query("detection", options=("lesion",))
DARK = Query("vqa", "Is there a dark spot?", ("yes", "no"))
NUMBER = Query("vqa", "How many dark spots are there?")
KNOWN = OODScore(0.5, ("dots",))


def topic(name, form, query):
    return Topic(name, form, words_of_query(query), query)


METADATA = Metadata(
    (
        topic("lesions", "boxes", LESION),
        topic("dark or not", "yes/no", DARK),
        topic("number of spots", "count", NUMBER),
    ),
    labels=("lesion",),
)
INFO = ModelInfo(
    "finder",
    "qwen3_vl",
    "relative",
    DIMS,
    calibration=Calibration(least=0.4),
    metadata=METADATA,
)


@pytest.fixture
def assessed(slide, allocator, performer, monkeypatch):
    """Ask a model that says what it was trained on, and is calibrated; the reliability."""

    def assess(
        query=LESION,
        text=None,
        info=INFO,
        region=REGION,
        budget=64,
        ood=KNOWN,
        confidence=None,
        finish="stop",
        policy="auto",
    ):
        performer.text, performer.finish = text, finish
        monkeypatch.setattr(type(performer), "info", property(lambda self: info))
        made = performer._completion

        def seen(pixels, written, ending) -> Completion:
            return replace(made(pixels, written, ending), ood=ood)

        performer._completion = seen
        if confidence is not None:
            monkeypatch.setattr(
                "napari_pathreason.engine._reading.confidence",
                lambda *_: type("Sure", (), {"answer": confidence, "boxes": ()})(),
            )
        try:
            return ask(
                Job(slide, Request(region, query, budget, policy=policy)), performer, allocator
            )
        finally:
            performer._completion = made

    return assess


def reply(text):
    return f"<think>seen</think><answer>{text}</answer>"


def test_nothing_to_doubt(assessed):
    result = assessed()
    assert result.reliability.level == "reliable"
    assert result.reliability.reasons == ()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (Query("vqa", "Is there necrosis?", ("yes", "no")), "not trained on: necrosis"),
        (Query("vqa", "Are there spongiotic keratinocytes?"), "spongiotic, keratinocytes"),
        (Query("vqa", "How many mitoses are there?"), "not trained on: mitoses"),
        (Query("vqa", "What tissue is this?"), "names nothing that the model was trained on"),
        (Query("vqa", "Grade this"), "not trained on: Grade"),
        (Query("vqa", "How many lesions are there?"), "with a number about: lesions"),
        (Query("vqa", "Is there a lesion?"), "with yes or no about: lesion"),
    ],
)
def test_what_was_not_trained_on_has_no_reliable_answer(assessed, query, reason):
    result = assessed(query, reply("no"))
    assert result.reliability.level == "none"
    assert reason in result.reliability.reasons[0]
    assert foreseen(query, INFO).reasons[0] == result.reliability.reasons[0]


@pytest.mark.parametrize(
    "query",
    [
        DARK,
        Query("vqa", "is this SPOT dark", ("Yes", "No")),
        Query("vqa", "Do you see dark spots?"),
        Query("vqa", "Number of dark spots?"),
        LESION,
        Query("detection", "Mark every lesion.", ("Lesions",)),
    ],
)
def test_other_words_around_what_was_trained_on_change_nothing(query):
    assert foreseen(query, INFO).level == "reliable"


def test_yes_or_no_is_asked_with_the_choices_that_training_had(assessed):
    assert assessed(Query("vqa", "Is there a dark spot?"), reply("yes")).query == DARK


def test_a_label_that_was_not_trained_on_is_refused(assessed, slide):
    with pytest.raises(QueryError, match="cannot look for mitosis; it can look for: lesion"):
        assessed(Query("detection", options=("lesion", "mitosis")))
    assert not slide.reads
    assert foreseen(Query("detection", options=("mitosis",)), INFO).reasons[0] == (
        "cannot look for mitosis"
    )


@pytest.mark.parametrize(
    ("query", "text", "finish"),
    [
        (LESION, reply('[{"bbox_2d": [1,'), "length"),
        (LESION, "lorem ipsum", "stop"),
        (DARK, reply("purple"), "stop"),
        (DARK, "", "stop"),
        (NUMBER, reply("a few"), "stop"),
        (NUMBER, reply('[{"bbox_2d":[0,0,670,1000],"label":"tumour"}]'), "stop"),
    ],
)
def test_a_reply_that_cannot_be_read_is_no_answer(assessed, query, text, finish):
    result = assessed(query, text, finish=finish)
    assert result.reliability.level == "none"
    assert result.reliability.reasons == ("the model's reply could not be read",)
    assert (result.answer.text, result.detections) == ("", ())
    assert result_to_dict(result)["reply"] == text


def test_a_model_may_say_that_it_cannot_tell(assessed):
    query = replace(DARK, options=("yes", "no", "cannot tell"))
    assert (
        "says that it cannot tell" in assessed(query, reply("cannot tell")).reliability.reasons[0]
    )


def test_glass(assessed):
    result = assessed(region=GLASS)
    assert result.reliability.level == "none"
    assert "almost no tissue" in result.reliability.reasons[0]


@pytest.mark.parametrize(
    ("against", "said"), [(("dots", "lines"), " (dots and lines)"), (("a", "b", "c"), "")]
)
def test_a_picture_unlike_the_training_images(assessed, against, said):
    result = assessed(ood=OODScore(1.1, against, "the stain differs"))
    assert result.reliability.level == "none"
    assert result.reliability.reasons == (f"unlike the training images{said}: the stain differs",)
    assert result_to_dict(result)["ood"]["is_ood"] is True


@pytest.mark.parametrize(
    ("comparable", "reason"), [(6, "too few visual tokens to compare"), (None, "could not be")]
)
def test_a_picture_that_could_not_be_compared(assessed, comparable, reason):
    result = assessed(ood=None, info=replace(INFO, comparable=comparable))
    assert result.reliability.level == "uncertain"
    assert reason in result.reliability.reasons[0]


@pytest.mark.parametrize(("side", "tokens"), [(512, 9), (96, 9), (64, 4)])
def test_an_allocator_leaves_enough_to_compare_where_there_is_as_much(
    assessed, allocator, side, tokens
):
    allocator.budget = 4
    info = replace(INFO, comparable=6)
    result = assessed(info=info, region=Region(880, 680, side, side), budget="auto")
    assert result.tokens.realised >= tokens
    assert assessed(info=INFO, budget="auto").tokens.realised <= 4
    assert assessed(info=info, budget=4).tokens.realised <= 4  # a user's own choice stays


@pytest.mark.parametrize(
    ("share", "level"), [(0.0, "reliable"), (0.12, "uncertain"), (0.8, "none")]
)
def test_unreadable_parts(assessed, slide, share, level):
    slide.unreadable = share
    result = assessed()
    assert result.reliability.level == level
    assert [f"{share:.0%}"[:-1] in line for line in result.warnings] == [True] * (share > 0)


@pytest.mark.parametrize(("query", "text"), [(LESION, None), (DARK, reply("yes"))])
def test_low_confidence(assessed, query, text):
    assert assessed(query, text, confidence=0.4).reliability.level == "reliable"
    result = assessed(query, text, confidence=0.39)
    assert result.reliability.level == "uncertain"
    assert "low confidence" in result.reliability.reasons[0]


def test_an_answer_of_unknown_confidence_is_uncertain(assessed):
    result = assessed(DARK, reply("yes"))
    assert result.reliability.reasons == ("the model tells no confidence",)


@pytest.mark.parametrize(
    ("budget", "mpp", "told"),
    [
        (64, 0.5, None),
        (4, 0.5, "coarser"),
        (64, 0.02, "finer"),
        (4, None, None),
    ],
)
def test_scales_that_the_model_was_not_trained_on(assessed, slide, budget, mpp, told):
    slide.mpp = None if mpp is None else (mpp, mpp)
    info = replace(INFO, metadata=replace(METADATA, mpp=(0.3, 1.0)))
    reliability = assessed(info=info, budget=budget).reliability
    if told is None:
        assert reliability.level == "reliable"
    else:
        assert reliability.level == "uncertain"
        assert f"{told} than the training images (0.3 to 1 µm per pixel)" in reliability.reasons[0]


def test_a_model_of_which_nothing_is_known_is_at_best_uncertain(assessed):
    bare = replace(INFO, calibration=None, metadata=None)
    result = assessed(info=bare, ood=None)
    assert result.reliability.level == "uncertain"
    assert result.reliability.reasons == (
        "this model does not say what it was trained on",
        "nobody has measured how reliable this model is; `pathreason calibrate` does",
    )


def test_the_worst_is_said_first(assessed, slide):
    slide.unreadable = 0.1
    result = assessed(
        Query("vqa", "Is there necrosis?", ("yes", "no")), reply("no"), finish="length"
    )
    assert result.reliability.level == "none"
    assert result.reliability.reasons[0] == "not trained on: necrosis"
    assert "the reply was cut off" in result.reliability.reasons


class TestLargerThanReplesHold:
    INFO = replace(INFO, metadata=replace(METADATA, max_visual_tokens=50))

    def test_a_typed_budget_is_refused_with_the_largest_that_works(self, assessed, slide):
        with pytest.raises(QueryError, match="at most 50"):
            assessed(info=self.INFO, budget=64, policy="one_view")
        assert not slide.reads
        assert assessed(info=self.INFO, budget=50).tokens.realised <= 50

    def test_native_size_too(self, assessed):
        with pytest.raises(QueryError, match=r"native size means .* at most 50"):
            assessed(info=self.INFO, budget="native", policy="one_view")

    @pytest.mark.parametrize("budget", [64, 200, "native"])
    def test_more_becomes_windows(self, assessed, slide, budget):
        result = assessed(info=self.INFO, budget=budget)
        windows = [view for view in result.views.views if view.role == "window"]
        assert len(windows) == len(result.readings) > 1
        assert all(view.tokens <= 50 for view in windows)
        assert budget == "native" or result.tokens.realised <= budget

    def test_a_large_budget_on_a_small_region_is_none(self, assessed):
        region = Region(880, 680, 128, 128)
        assert assessed(info=self.INFO, budget=1024, region=region).tokens.realised == 16

    @pytest.mark.parametrize("chosen", [64, None])
    def test_an_allocator_is_held(self, assessed, allocator, chosen):
        allocator.budget = chosen
        result = assessed(info=self.INFO, budget="auto")
        assert (result.allocation.budget, result.allocation.source) == (50, "policy")
        assert result.tokens.realised <= 50


@given(st.lists(st.sampled_from(["uncertain", "none"]), max_size=5))
def test_the_level_is_that_of_the_worst_doubt(levels):
    from napari_pathreason.engine import Doubt, assess

    found = assess([Doubt(level, f"reason {i}") for i, level in enumerate(levels)])
    worst = "none" if "none" in levels else "uncertain" if levels else "reliable"
    assert found.level == worst
    assert len(found.reasons) == len(levels)
    assert [levels[int(reason[-1])] for reason in found.reasons] == sorted(levels)


def test_dark_all_over_counts_as_tissue(assessed, slide, monkeypatch):
    """Only what is white has nothing on it, and black padding."""
    read = slide.read_region

    def dark(region, size):
        image = read(region, size)
        image.pixels[:] = np.uint8(30)
        return image

    monkeypatch.setattr(slide, "read_region", dark)
    assert assessed(region=GLASS).reliability.level == "reliable"

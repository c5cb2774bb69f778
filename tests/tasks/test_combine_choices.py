import pytest
from hypothesis import given, strategies as st

from napari_pathreason.tasks import (
    any_present,
    combine_choices,
    finding_of,
    most_confident,
    states_absence,
)

LUNG = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")
CONFIDENCE = st.one_of(st.none(), st.floats(0, 1))


def test_a_finding_in_one_window_is_one_of_the_region():
    told = any_present([("No.", 0.9), ("yes", 0.6), ("Yes", 0.8), ("", None)])
    assert (told.text, told.confidence, told.support) == ("yes", 0.8, (2, 1))
    assert told.tally == "2 of 4 windows say yes, 1 says no"
    assert told.contradictions == ""


def test_without_a_finding_the_window_most_in_doubt_decides():
    told = any_present([("no", 0.9), ("no", 0.7)], ("Yes", "No"))
    assert (told.text, told.confidence, told.support) == ("No", 0.7, (0, 1))


@pytest.mark.parametrize("other", [("", 0.9), ("cannot tell", 0.9), ("no", None)])
def test_what_is_not_known_is_no_absence(other):
    told = any_present([("no", 0.9), other])
    assert told.text == "no"
    assert told.confidence is None
    assert any_present([("", None), ("", None)]).text == ""


@given(st.lists(st.tuples(st.sampled_from(("yes", "no", "")), CONFIDENCE), min_size=1))
def test_presence_is_the_same_however_windows_are_ordered(answers):
    one, other = any_present(answers), any_present(answers[::-1])
    assert (one.text, one.confidence) == (other.text, other.confidence)
    said = {text for text, _ in answers}
    assert one.text == ("yes" if "yes" in said else "no" if "no" in said else "")
    assert sorted(one.support) == [i for i, (t, _) in enumerate(answers) if t and t == one.text]


@pytest.mark.parametrize(
    ("question", "finding"),
    [
        ("Is there tumour?", "yes"),
        ("Does the picture show a normal gland?", "yes"),
        ("Are normal glands present?", "yes"),
        ("Is there tumour or not?", "yes"),
        ("Is there tumour? Answer yes or no.", "yes"),
        ("Is there any necrosis in the whole region?", "yes"),
        ("Is the tissue normal?", "no"),
        ("Is this a benign lesion?", "no"),
        ("Is it free of tumour?", "no"),
        ("Are the margins negative for carcinoma?", "no"),
        ("Is there no necrosis?", "no"),
        ("Is all of the tissue tumour?", "no"),
    ],
)
def test_a_question_says_which_answer_one_window_decides(question, finding):
    assert finding_of(question) == finding


def test_one_abnormal_window_makes_a_region_abnormal():
    told = any_present([("yes", 0.9), ("no", 0.8)], finding="no")
    assert (told.text, told.confidence, told.support) == ("no", 0.8, (1,))
    assert any_present([("yes", 0.9), ("yes", 0.8)], finding="no").confidence == 0.8


@pytest.mark.parametrize(
    ("choice", "absent"),
    [
        ("none", True),
        ("None of these", True),
        ("normal", True),
        ("Normal lung", True),
        ("benign", True),
        ("no tumour", True),
        ("negative for malignancy", True),
        ("non-neoplastic", True),
        ("tumour-free", True),
        ("mitoses absent", True),
        ("free of tumour", True),
        ("adenocarcinoma", False),
        ("non-small cell carcinoma", False),
        ("not otherwise specified", False),
        ("triple negative", False),
        ("abnormal", False),
        ("nodular melanoma", False),
        ("low grade", False),
    ],
)
def test_choices_that_state_an_absence(choice, absent):
    assert states_absence(choice) is absent


def test_a_negative_beside_its_positive_is_an_absence():
    assert states_absence("ER negative", ("ER positive", "ER negative"))


def test_the_most_confident_window_gives_the_choice():
    answers = [
        *[("adenocarcinoma", 0.7)] * 3,
        *[("squamous cell carcinoma", 0.9)] * 2,
        *[("normal lung", 0.99)] * 11,
    ]
    told = combine_choices(answers, LUNG)
    assert (told.text, told.confidence, told.support) == ("squamous cell carcinoma", 0.9, (3, 4))
    assert told.contradictions == (
        "11 of 16 windows say normal lung, 3 say adenocarcinoma, 2 say squamous cell carcinoma"
    )


def test_an_absence_holds_where_no_window_supports_anything_else():
    told = combine_choices([("normal lung", 0.8), ("normal lung", 0.9)], LUNG)
    assert (told.text, told.confidence, told.support) == ("normal lung", 0.8, (1, 0))
    doubtful = combine_choices([("normal lung", 0.9), ("adenocarcinoma", 0.3)], LUNG)
    assert (doubtful.text, doubtful.confidence) == ("normal lung", 0.7)
    supported = combine_choices([("normal lung", 0.99), ("adenocarcinoma", 0.6)], LUNG)
    assert supported.text == "adenocarcinoma"
    assert supported.contradictions == "", "one window of tumour beside a normal one is no wonder"
    assert combine_choices([("normal lung", 0.9), ("", None)], LUNG).confidence is None


def test_of_equal_strength_more_windows_decide():
    votes = ["adenocarcinoma", "squamous cell carcinoma", "squamous cell carcinoma"]
    for confidence in (None, 0.6):
        told = combine_choices([(vote, confidence) for vote in votes], LUNG)
        assert (told.text, told.confidence) == ("squamous cell carcinoma", confidence)
        assert "2 of 3 windows say squamous cell carcinoma, 1 says adenoc" in told.contradictions


@given(st.lists(st.tuples(st.sampled_from((*LUNG, "", "lymphoma")), CONFIDENCE)))
def test_a_choice_is_one_of_the_options_and_rests_on_the_windows_that_say_it(answers):
    told = combine_choices(answers, LUNG)
    said = [text for text, _ in answers if text in LUNG]
    assert told.text in (said or [""])
    assert sorted(told.support) == [i for i, (t, _) in enumerate(answers) if t and t == told.text]
    if told.text == "normal lung":
        others = [c for t, c in answers if t in LUNG[:2]]
        assert all(c is not None and c < 0.5 for c in others)


def test_free_words_of_the_most_confident_window():
    told = most_confident([("Lung.", 0.5), ("liver", 0.4), ("lung", 0.7), ("", 0.9)])
    assert (told.text, told.confidence, told.support) == ("Lung.", 0.7, (2, 0))
    assert told.contradictions == "2 of 4 windows say Lung., 1 says liver"


DENSITY = ("dense", "sparse", "cannot tell")


def test_what_every_window_tells_of_the_whole_is_voted_on():
    told = combine_choices([("dense", 0.6)] * 3 + [("sparse", 0.9)], DENSITY)
    assert (told.text, told.support, told.contradictions) == ("dense", (0, 1, 2), "")
    assert told.confidence == pytest.approx((3 * 0.6 + 0.1) / 4)
    assert "3 of 4 windows say dense" in told.tally
    surer = combine_choices([("dense", 0.3)] * 2 + [("sparse", 0.9)], DENSITY)
    assert surer.text == "sparse"
    assert combine_choices([("dense", None), ("dense", 0.9)], DENSITY).confidence is None


def test_a_window_that_cannot_tell_has_no_vote_where_another_can():
    told = combine_choices([("cannot tell", 0.99)] * 3 + [("sparse", 0.6)], DENSITY)
    assert (told.text, told.support) == ("sparse", (3,))
    kinds = ("normal", "adenocarcinoma", "cannot tell")
    told = combine_choices([("cannot tell", 0.99), ("adenocarcinoma", 0.6)], kinds)
    assert told.text == "adenocarcinoma"
    nobody = combine_choices([("cannot tell", 0.9)] * 2, DENSITY)
    assert (nobody.text, nobody.confidence) == ("cannot tell", 0.9)

"""What a question is about, and whether a model's training held it."""

import pytest
from hypothesis import given, strategies as st

from napari_pathreason import Metadata, Query, Topic
from napari_pathreason.tasks import (
    abstains,
    as_trained,
    content_words,
    examples,
    form_of,
    unknown_labels,
    untrained,
    words_of_query,
)


def topic(name, *queries):
    words = frozenset().union(*map(words_of_query, queries))
    return Topic(name, form_of(queries[0]), words, queries[0])


GLOMERULI = Query("vqa", "How many glomeruli are there?")
SCLEROSED = Query("vqa", "Is this glomerulus sclerosed?", ("yes", "no"))
PARTS = Query("subtyping", options=("tubule", "vessel", "glomerulus"))
BOXES = Query("detection", options=("glomerulus", "CD3+ cell"))
KIDNEY = Metadata(
    (
        topic("number", GLOMERULI),
        topic("sclerosis", SCLEROSED, Query("vqa", "Do you see sclerosed tufts?", ("yes", "no"))),
        topic("part", PARTS),
        topic("boxes", BOXES),
    ),
    labels=BOXES.options,
)


@pytest.mark.parametrize(
    ("query", "form"),
    [
        (GLOMERULI, "count"),
        (Query("vqa", "Count the vessels"), "count"),
        (Query("vqa", "Number of tubules?"), "count"),
        (SCLEROSED, "yes/no"),
        (Query("vqa", "Tumour?", ("no", "YES", "cannot tell")), "yes/no"),
        (Query("vqa", "Are they dense?"), "yes/no"),
        (Query("vqa", "Is it benign or malignant?"), "free text"),
        (Query("vqa", "What is this?"), "free text"),
        (Query("vqa", "Discount it"), "free text"),
        (Query("vqa", "How many?", ("1-3", "4-9")), "choice"),
        (PARTS, "choice"),
        (BOXES, "boxes"),
    ],
)
def test_the_form_of_an_answer(query, form):
    assert form_of(query) == form


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("How many nuclei are there in this picture?", {"nuclei"}),
        ("Please show me what you see here.", set()),
        ("Is there any necrosis?", {"necrosis"}),
        ("3+4 or 4+3", {"3", "4"}),
        ("Wie viele Zellkerne?", {"wie", "viele", "zellkerne"}),
    ],
)
def test_content_words(text, words):
    assert content_words(text) == words


@pytest.mark.parametrize(
    "query",
    [
        GLOMERULI,
        Query("vqa", "What is the number of Glomeruli in this region?"),
        Query("vqa", "How many glomerulus"),
        Query("vqa", "Are there sclerosed glomeruli here?", ("yes", "no")),
        Query("vqa", "Can you find any sclerosing tuft?"),
        Query("vqa", "Which one?", ("tubules", "vessels")),
        Query("detection", "Mark each glomerulus.", ("glomeruli",)),
        BOXES,
    ],
)
def test_inflection_and_the_frame_of_a_question_do_not_count(query):
    assert untrained(query, KIDNEY) == ""


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (Query("vqa", "Is there necrosis?"), "not trained on: necrosis"),
        (Query("vqa", "Do you notice crescents?"), "not trained on: notice, crescents"),
        (Query("vqa", "Any karyorrhexis?", ("yes", "no")), "not trained on: karyorrhexis"),
        (Query("vqa", "Is it dead?", ("yes", "no")), "not trained on: dead"),
        (Query("subtyping", options=("tubule", "medulla")), "not trained on: medulla"),
        (Query("vqa", "Gibt es Tumor?"), "not trained on: Gibt, es, Tumor"),
        (Query("vqa", "???"), "names nothing"),
        (Query("vqa", "What is this?"), "names nothing"),
        (Query("vqa", "How many vessels?"), "with a number about: vessels"),
        (Query("vqa", "Is this vessel sclerosed?"), "with yes or no about: vessel, sclerosed"),
        (Query("vqa", "Tubule, vessel or glomerulus?"), "needs its choices: tubule, vessel, glom"),
    ],
)
def test_what_the_training_did_not_hold(query, why):
    assert why in untrained(query, KIDNEY)


@given(st.text(alphabet=st.characters(categories=["Ll"]), min_size=5, max_size=12))
def test_any_word_that_was_not_trained_on_counts(word):
    """No list of diseases stands behind it."""
    if content_words(word) and word not in content_words("glomeruli sclerosed tufts cell"):
        why = untrained(Query("vqa", f"Is there {word} in this zzglomerulus?"), KIDNEY)
        assert why.startswith("not trained on: ")
        assert "zzglomerulus" in why


@given(st.text())
def test_any_text_can_be_held_against_a_training(text):
    for query in (Query("vqa", text), Query("vqa", text, (text, "x")), Query("detection", text)):
        assert isinstance(untrained(query, KIDNEY), str)
    assert isinstance(abstains(text), bool)


def test_a_model_without_topics_was_trained_on_nothing():
    assert untrained(GLOMERULI, Metadata()) == "not trained on: glomeruli"
    assert examples(Metadata()) == ()


@pytest.mark.parametrize(
    ("labels", "unknown"),
    [
        (("Glomeruli", "CD3+ cells"), ()),
        (("CD3- cell",), ("CD3- cell",)),
        (("cell",), ("cell",)),
        (("glomerulus", "mitosis", "cast"), ("mitosis", "cast")),
    ],
)
def test_labels_that_a_model_cannot_look_for(labels, unknown):
    assert unknown_labels(Query("detection", options=labels), KIDNEY) == unknown
    assert unknown_labels(Query("vqa", options=labels), KIDNEY) == ()


def test_yes_or_no_gets_the_choices_that_training_showed():
    asked = Query("vqa", "Is this glomerulus sclerosed?")
    assert as_trained(asked, KIDNEY) == SCLEROSED
    assert as_trained(asked, None) == asked
    assert as_trained(GLOMERULI, KIDNEY) == GLOMERULI
    free = Metadata((Topic("any", "yes/no", frozenset({"sclerosed"}), asked),))
    assert as_trained(asked, free) == asked


def test_a_closed_question_in_free_words_gets_the_choices_of_training():
    kinds = Query("subtyping", "Which lung subtype is this?", ("normal", "adenocarcinoma"))
    ducts = Query("vqa", "Which subtype is the duct?", ("in situ", "invasive"))
    lung = Topic("lung", "choice", frozenset({"lung", "subtype"}), kinds)
    breast = Topic("breast", "choice", frozenset({"duct", "subtype"}), ducts)
    known = Metadata((lung, breast))
    asked = Query("vqa", "Which lung subtype do you see?")
    assert as_trained(asked, known).options == ("normal", "adenocarcinoma")
    assert as_trained(asked, known).question == asked.question
    for other in ("Which subtype is this?", "Which liver subtype is this?", "What is this?"):
        assert as_trained(Query("vqa", other), known).options == ()  # of none, or of several


def test_examples_take_turns_by_form():
    assert examples(KIDNEY, 3) == (GLOMERULI, SCLEROSED, PARTS)
    assert len(examples(KIDNEY, 9)) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cannot tell", True),
        ("I cannot determine that from this picture.", True),
        ("Unanswerable", True),
        ("tumour", False),
        ("cannot", False),
        ("", False),
    ],
)
def test_abstention(text, told):
    assert abstains(text) is told

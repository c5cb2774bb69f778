"""Rewards of completions, ours and the paper's, against values worked out by hand."""

import dataclasses

import pytest

from napari_pathreason.training.grpo import RewardBreakdown, ap50, bleu4, score_completion
from napari_pathreason.training.samples import Sample
from napari_pathreason.types import AnswerBox

HALF = ("tumour", (0.0, 0.0, 0.5, 1.0))


@pytest.fixture
def view(one_box):
    """Left half tumour."""
    return one_box(HALF, (2, 2), (64, 64), "upper left")


def _sample(task="vqa", choices=(), question="Where?"):
    return Sample(image="x.png", task=task, question=question, choices=choices)


def _said(answer, rationale="centre left: tumour; lower right: tumour"):
    return f"<think>{rationale}</think><answer>{answer}</answer>"


def test_a_choice_is_right_or_wrong_and_the_rationale_is_checked(view):
    sample = _sample(choices=("upper left", "upper right"))
    right = score_completion(_said("upper left"), sample, view, "task")
    assert right == RewardBreakdown(score=1.0, well_formed=True, words=6, cited=2, confirmed=1)
    assert score_completion(_said("upper right"), sample, view, "task").score == 0.0
    assert right.reward(0.5) == 1.5
    assert dataclasses.replace(right, well_formed=False).reward(0.5) == 1.0


def test_open_answers_by_words_shared_counts_by_error(view):
    assert score_completion(_said("upper left"), _sample(), view, "task").score == 1.0
    assert score_completion(_said("left"), _sample(), view, "task").score == pytest.approx(2 / 3)
    count, asked = dataclasses.replace(view, answer="10"), _sample(question="How many?")
    assert score_completion(_said("8"), asked, count, "task").score == pytest.approx(0.8)
    assert score_completion(_said("8"), _sample(), count, "task").score == 0.0


def test_what_cannot_be_read_earns_nothing_and_is_not_whole(view):
    choices, empty = ("A", "B"), dataclasses.replace(view, answer="A", boxes=())
    for sample in (_sample(choices=choices), _sample(), _sample("detection", ("tumour",))):
        for kind in ("task", "paper"):
            assessed = score_completion(_said(""), sample, empty, kind)
            assert assessed.score == 0.0
        assert not score_completion(_said(""), sample, empty, "task").well_formed
    assert score_completion(_said("a"), _sample(choices=choices), empty, "paper").score == 1.0


def test_boxes_by_matched_overlap_empty_right_where_nothing_is(view):
    sample = _sample("detection", ("tumour",))
    box = '[{"bbox_2d":[0,0,500,800],"label":"tumour"}]'
    assert score_completion(_said(box), sample, view, "task").score == pytest.approx(0.8)
    none = dataclasses.replace(view, boxes=())
    assert score_completion(_said("[]"), sample, none, "task").score == 1.0
    assert score_completion(_said("[]"), sample, none, "paper").score == 0.0
    assert score_completion("[]", sample, none, "task").well_formed is False


def test_evidence_pays_where_it_is_likelier_to_hold_than_not():
    told = RewardBreakdown(score=1.0, well_formed=True, words=9, cited=5, confirmed=3)
    assert told.reward(0.5) == 1.5
    assert told.reward(0.5, 0.9) == pytest.approx(1.5)  # three of five is where nothing is gained
    assert dataclasses.replace(told, confirmed=5).reward(0.0, 0.9) == pytest.approx(1.5)
    assert dataclasses.replace(told, confirmed=0).reward(0.0, 0.9) == pytest.approx(0.25)
    assert dataclasses.replace(told, cited=0, confirmed=0).reward(0.0, 0.9) == 1.0


def test_the_papers_form_asks_for_tags_alone(view):
    sample = _sample(choices=("upper left", "upper right"))
    assert score_completion(_said("nowhere"), sample, view, "paper").well_formed
    assert not score_completion(_said("nowhere"), sample, view, "task").well_formed
    assert not score_completion(_said("upper left") + " so", sample, view, "paper").well_formed


@pytest.mark.parametrize(
    ("said", "meant", "score"),
    [
        ("hair", "hair", 1.0),
        ("hair shaft", "hair shaft", 0.221),
        ("hair", "hair shaft", 0.368),
        ("a hair shaft", "a hair shaft", 0.576),
        ("one two three four five", "one two three four five", 1.0),
        ("nail", "hair", 0.0),
        ("", "hair", 0.0),
    ],
)
def test_bleu_has_the_papers_corners(said, meant, score):
    assert bleu4(said, meant) == pytest.approx(score, abs=5e-4)


def test_ap50_in_listing_order():
    def box(x):
        return AnswerBox("tumour", x, 0, x + 10, 10)

    truth, false = [box(0), box(100)], [box(1000 + 20 * i) for i in range(10)]
    assert ap50([*truth, *false], truth) == 1.0
    assert ap50([*false, *truth], truth) == pytest.approx(1 / 6)
    assert ap50(truth[:1], truth) == 0.5
    assert ap50([truth[0], truth[0]], truth) == 0.5
    assert ap50([], truth) == ap50(truth, []) == 0.0


@pytest.mark.parametrize("kind", ["task", "paper"])
def test_boxes_in_pixels_of_the_picture_score_as_those_of_a_thousand(view, kind):
    sample = _sample("detection", ("tumour",))
    height, width = view.pixels.shape[:2]
    ((label, corners),) = view.boxes
    thousand = [round(1000 * corner) for corner in corners]
    pixels = [c * side for c, side in zip(corners, (width, height) * 2, strict=True)]
    texts = [_said(f'[{{"bbox_2d":{box},"label":"{label}"}}]') for box in (thousand, pixels)]
    assert score_completion(texts[0], sample, view, kind).score == pytest.approx(1.0, abs=0.01)
    own = score_completion(texts[1], sample, view, kind, box_space="resized")
    assert own.score == pytest.approx(1.0, abs=0.01)
    assert score_completion(texts[1], sample, view, kind).score < 0.1
    assert score_completion(texts[0], sample, view, kind, box_space="resized").score < 0.1


def test_an_answer_alone_scores_and_is_not_paid_for_its_form(view):
    sample = _sample(choices=("upper left", "upper right"))
    for kind in ("task", "paper"):
        alone = score_completion("<answer>upper left</answer>", sample, view, kind)
        assert (alone.score, alone.well_formed) == (1.0, False)

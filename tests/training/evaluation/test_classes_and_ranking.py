"""Figures of classes, of probabilities and of boxes, against scikit-learn and values by hand."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_pathreason.engine import scaled
from napari_pathreason.errors import QueryError
from napari_pathreason.models import FixedAllocator
from napari_pathreason.training.calibration import CalibrationPlan, calibrate
from napari_pathreason.training.evaluation import (
    EvaluationPlan,
    Prediction,
    Report,
    Run,
    auc,
    average_precision,
    balanced_accuracy,
    best_threshold,
    best_thresholds,
    box_figures,
    chosen_thresholds,
    class_figures,
    class_ranking,
    confusion,
    evaluate,
    f1_of_classes,
    froc,
    grade_of,
    group_figures,
    kappa,
    macro_f1,
    markdown,
    positive_of,
    ranked_boxes,
    read_thresholds,
    table,
    two_choice_figures,
    uncalibrated,
    with_bounds,
)
from napari_pathreason.types import AnswerBox, Scale


def _choice(index, truth, answer, choices, group="", probability=None, probabilities=None):
    return Prediction(
        index=index,
        condition="model",
        budget=16,
        task="subtyping",
        topic="t",
        side=64,
        phrasing="trained",
        score=float(truth == answer),
        answer=answer,
        truth=truth,
        choices=choices,
        group=group,
        probability=probability,
        probabilities=probabilities,
    )


def _boxes(index, truth, found, labels=("cell",), group=""):
    predicted = [AnswerBox(label, *corners) for label, corners, _ in found]
    true = [AnswerBox(label, *corners) for label, corners in truth]
    return replace(
        _choice(index, "", "", labels, group),
        task="detection",
        boxes=tuple(predicted),
        truth_boxes=tuple(true),
        matched=dict.fromkeys(labels, (0, 0, 0)),
        box_confidences=tuple(confidence for *_, confidence in found),
    )


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=4, max_size=60))
def test_classes_are_scored_as_scikit_learn_scores_them(pairs):
    metrics = pytest.importorskip("sklearn.metrics", reason="comes with the dev group")
    truth, answer = (list(side) for side in zip(*pairs, strict=True))
    if len({*truth, *answer}) < 2 or len(set(truth)) < 2:
        return
    names = ("grade 1", "grade 2", "grade 3")
    items = [_choice(n, names[t], names[a], names) for n, (t, a) in enumerate(pairs)]
    counts = confusion(items).counts[None].astype(float)
    labels = sorted({*truth, *answer})
    assert f1_of_classes(counts)[0] == pytest.approx(
        metrics.f1_score(truth, answer, labels=labels, average=None, zero_division=0)
    )
    assert macro_f1(counts)[0] == pytest.approx(
        metrics.f1_score(truth, answer, labels=labels, average="macro", zero_division=0)
    )
    assert kappa(counts)[0] == pytest.approx(metrics.cohen_kappa_score(truth, answer))
    whole = np.zeros((1, 3, 4))
    for t, a in pairs:
        whole[0, t, a] += 1
    assert kappa(whole, quadratic=True)[0] == pytest.approx(
        metrics.cohen_kappa_score(truth, answer, weights="quadratic", labels=[0, 1, 2])
    )
    recall = metrics.recall_score(
        truth, answer, labels=sorted(set(truth)), average="macro", zero_division=0
    )
    assert balanced_accuracy(counts)[0] == pytest.approx(recall)


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=40
    )
)
def test_the_area_under_the_curve_is_that_of_scikit_learn(rows):
    metrics = pytest.importorskip("sklearn.metrics", reason="comes with the dev group")
    truths, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    weights = weights.astype(float)
    if not (weights[truths].sum() and weights[~truths].sum()):
        assert math.isnan(auc(scores / 5, truths, weights[None])[0])
        return
    assert auc(scores / 5, truths, weights[None])[0] == pytest.approx(
        metrics.roc_auc_score(truths, scores, sample_weight=weights)
    )


def test_an_unreadable_answer_is_wrong_in_every_class():
    names = ("a", "b")
    items = [_choice(n, "ab"[n % 2], "ab"[n % 2], names) for n in range(8)]
    assert class_figures(items, 0)["kappa"] == 1.0
    items[0] = replace(items[0], answer="")
    figures = class_figures(items, 0)
    assert figures["balanced"] == pytest.approx((3 / 4 + 1) / 2)
    assert figures["class_f1_a"] == pytest.approx(6 / 7)
    assert figures["class_f1_b"] == 1.0
    assert figures["balanced_low"] <= figures["balanced"] <= figures["balanced_high"]
    assert "kappa_quadratic" not in figures


def test_grades_are_ordered_by_their_numbers():
    assert [grade_of(n) for n in ("G1", "grade II", "3+4", "low grade", "stage 2 of 3")] == [
        1,
        2,
        7,
        None,
        None,
    ]
    names = ("grade 10", "grade 2", "grade 1")
    items = [_choice(n, name, name, names) for n, name in enumerate(names * 2)]
    assert confusion(items).classes == ("grade 1", "grade 2", "grade 10")
    assert class_figures(items, 0)["kappa_quadratic"] == 1.0


@pytest.mark.parametrize(
    ("choices", "positive"),
    [
        (("no", "yes"), "yes"),
        (("tumour", "normal"), "tumour"),
        (("no tumour", "tumour"), "tumour"),
        (("a", "b"), None),
        (("yes", "no", "cannot tell"), None),
    ],
)
def test_the_positive_choice_is_the_finding(choices, positive):
    assert positive_of(choices) == positive


def test_sensitivity_and_specificity_at_a_threshold_by_hand():
    choices = ("yes", "no")
    rows = [  # truth, answer, probability of the answer: that of yes is 0.9, 0.6, 0.4, 0.2, 0.7
        ("yes", "yes", 0.9),
        ("yes", "yes", 0.6),
        ("yes", "no", 0.6),
        ("no", "no", 0.8),
        ("no", "yes", 0.7),
    ]
    items = [_choice(n, t, a, choices, probability=p) for n, (t, a, p) in enumerate(rows)]
    figures = two_choice_figures(items, 0)
    assert figures["auc"] == pytest.approx(4 / 6)
    assert (figures["sensitivity"], figures["specificity"]) == pytest.approx((2 / 3, 1 / 2))
    high = two_choice_figures(items, 0, threshold=0.8)
    assert (high["sensitivity"], high["specificity"]) == pytest.approx((1 / 3, 1.0))
    low = two_choice_figures(items, 0, threshold=0.3)
    assert (low["sensitivity"], low["specificity"]) == pytest.approx((1.0, 1 / 2))
    assert best_threshold(items) == pytest.approx(0.4)
    items.append(_choice(5, "no", "", choices, probability=None))
    assert two_choice_figures(items, 0)["specificity"] == pytest.approx(1 / 3)
    assert two_choice_figures([replace(items[0], probability=None), *items[1:]], 0) == {}


CLASSES = ("adenoma", "carcinoma", "healthy")
"""Three choices, of which none is the positive one of two."""


def _told(rows, groups=None):
    """Questions of `CLASSES` out of (truth, weights of the choices)."""
    items = []
    for n, (truth, weights) in enumerate(rows):
        p = tuple(w / sum(weights) for w in weights)
        answer = CLASSES[p.index(max(p))]
        group = "" if groups is None else groups[n]
        items.append(_choice(n, truth, answer, CLASSES, group, max(p), p))
    return items


_rows = st.tuples(st.sampled_from(CLASSES), st.tuples(*[st.integers(1, 9)] * 3))


@given(st.lists(_rows, min_size=3, max_size=40))
@settings(max_examples=50, deadline=None)
def test_classes_against_the_rest_are_ranked_as_scikit_learn_ranks_them(rows):
    metrics = pytest.importorskip("sklearn.metrics", reason="comes with the dev group")
    items = _told(rows)
    truths = [item.truth for item in items]
    figures = class_ranking(items, 0)
    areas = []
    for at, name in enumerate(CLASSES):
        own = [truth == name for truth in truths]
        if len(set(own)) < 2:
            assert f"class_auc_{name}" not in figures
            continue
        areas.append(metrics.roc_auc_score(own, [item.probabilities[at] for item in items]))
        assert figures[f"class_auc_{name}"] == pytest.approx(areas[-1])
        said = [item.answer == name for item in items]
        recall = metrics.recall_score(own, said, zero_division=0)
        assert figures[f"class_sensitivity_{name}"] == pytest.approx(recall)
        free = metrics.recall_score([not o for o in own], [not s for s in said], zero_division=0)
        assert figures[f"class_specificity_{name}"] == pytest.approx(free)
    if len(set(truths)) == 3:
        whole = metrics.roc_auc_score(
            truths, [item.probabilities for item in items], multi_class="ovr", labels=CLASSES
        )
        assert figures["auc"] == pytest.approx(whole)
        assert figures["auc"] == pytest.approx(np.mean(areas))


def test_the_order_of_the_choices_does_not_matter():
    items = _told([("adenoma", (5, 3, 2)), ("carcinoma", (4, 5, 1)), ("healthy", (4, 2, 4))])
    turned = [
        replace(item, choices=item.choices[::-1], probabilities=item.probabilities[::-1])
        for item in items
    ]
    assert class_ranking(turned, 0) == class_ranking(items, 0)
    assert best_thresholds(turned) == best_thresholds(items)


def test_each_class_has_its_threshold_and_is_said_from_there_on():
    rows = [
        ("adenoma", (6, 3, 1)),
        ("adenoma", (3, 5, 2)),  # answered wrongly, but 0.3 is more than any other has
        ("carcinoma", (2, 7, 1)),
        ("healthy", (1, 2, 7)),
    ]
    items = _told(rows)
    assert class_ranking(items, 0)["class_sensitivity_adenoma"] == 1 / 2
    thresholds = best_thresholds(items)
    assert thresholds["adenoma"] == pytest.approx(0.3)
    figures = class_ranking(items, 0, thresholds)
    assert figures["class_threshold_adenoma"] == thresholds["adenoma"]
    assert figures["class_sensitivity_adenoma"] == figures["class_specificity_adenoma"] == 1.0
    unread = replace(items[3], answer="", probability=None, probabilities=None)
    figures = class_ranking([*items[:3], unread], 0, thresholds)
    assert figures["class_sensitivity_healthy"] == 0.0
    assert figures["class_specificity_adenoma"] == 1 / 2  # missed on either side
    assert figures["class_auc_healthy"] == 1.0  # a third, and all others have less


def test_a_reply_in_other_words_shares_what_it_leaves_evenly():
    items = _told([("adenoma", (6, 3, 1)), ("carcinoma", (2, 7, 1)), ("healthy", (1, 2, 7))])
    wordy = replace(items[0], probabilities=None, probability=0.5)
    assert class_ranking([wordy, *items[1:]], 0)["class_auc_adenoma"] == 1.0
    silent = replace(items[0], probabilities=None, probability=None)
    figures = class_ranking([silent, *items[1:]], 0)
    assert "auc" not in figures
    assert figures["class_sensitivity_adenoma"] == 1.0  # what was answered is known all the same
    assert best_thresholds([silent, *items[1:]]) == {}
    older = [replace(item, probabilities=None) for item in items]
    assert "auc" not in class_ranking(older, 0)


def test_intervals_of_classes_are_over_groups():
    rows = [(name, tuple(7 if c == name else 1 for c in CLASSES)) for name in CLASSES * 4]
    rows[0] = ("adenoma", (1, 7, 1))
    whole = class_ranking(_told(rows), 0)
    assert whole["auc_low"] < whole["auc"] <= whole["auc_high"]
    one = class_ranking(_told(rows, ["p"] * len(rows)), 0)
    assert one["auc"] == whole["auc"]
    assert not any(name.endswith("_low") for name in one)
    groups = class_ranking(_told(rows, [f"p{n // 3}" for n in range(len(rows))]), 0)
    assert (groups["auc_low"], groups["auc_high"]) != (whole["auc_low"], whole["auc_high"])


def test_thresholds_of_classes_are_taken_from_val_to_test(tmp_path):
    rows = [("adenoma", (6, 3, 1)), ("adenoma", (3, 5, 2)), ("carcinoma", (2, 7, 1))] * 2
    items = _told([*rows, ("healthy", (1, 2, 7))])
    chosen = chosen_thresholds(items)
    assert chosen["t"] == best_thresholds(items)
    report = Report((), (), (), (), {"split": "val"}, thresholds=chosen)
    (tmp_path / "val.json").write_text(report.json)
    thresholds = read_thresholds(tmp_path / "val.json")
    assert thresholds == chosen
    (row,) = [row for row in table(items, Run("m"), thresholds=thresholds) if row.topic == "t"]
    assert row.values["class_sensitivity_adenoma"] == 1.0
    assert row.values["class_threshold_adenoma"] == pytest.approx(0.3)
    page = markdown([row], [], [], [])
    assert "| t | adenoma | " in page
    assert page.count("| 0.300 |") == 1
    plain = markdown([r for r in table(items, Run("m")) if r.topic == "t"], [], [], [])
    assert plain.count("| answer |") == 3
    for broken in ({"t": "high"}, {"t": {"adenoma": None}}, ["t"]):
        (tmp_path / "val.json").write_text(
            json.dumps({"about": {"split": "val"}, "thresholds": broken})
        )
        with pytest.raises(QueryError, match="no numbers"):
            read_thresholds(tmp_path / "val.json")


def test_two_choices_with_a_finding_are_left_to_their_own_figures():
    items = [_choice(n, t, t, ("yes", "no"), probability=0.9) for n, t in enumerate(("yes", "no"))]
    assert class_ranking(items, 0) == {}
    assert best_thresholds(items) == {}
    other = [replace(items[0], choices=("yes", "no", "cannot tell")), items[1]]
    assert class_ranking(other, 0) == {}  # not the same choices


def test_average_precision_and_froc_by_hand():
    here, there, nowhere = (0, 0, 100, 100), (200, 200, 300, 300), (600, 600, 700, 700)
    items = [
        _boxes(0, [("cell", here), ("cell", there)], [("cell", here, 0.9), ("cell", nowhere, 0.8)]),
        _boxes(1, [("cell", here)], [("cell", here, 0.7)]),
        _boxes(2, [], []),
        _boxes(3, [], []),
    ]
    weights = np.ones((1, 4))
    ranked = ranked_boxes(items)
    assert ranked.hits.tolist() == [True, False, True]
    # recall 1/3 at precision 1, then 2/3 at precision 2/3
    assert average_precision(ranked, weights)[0] == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    # one false box in four pictures: 1/4 a picture lets all in
    assert froc(ranked, weights)[0] == pytest.approx(2 / 3)
    twice = np.array([[2.0, 0, 0, 0]])  # two of four true boxes, two false ones in two pictures
    assert average_precision(ranked, twice)[0] == pytest.approx(1 / 2)
    figures = box_figures(items, 0)
    assert figures["ap"] == pytest.approx(5 / 9)
    assert figures["ap_low"] <= figures["ap"] <= figures["ap_high"]
    assert box_figures([replace(items[0], box_confidences=None), *items[1:]], 0) == {}


def test_a_true_box_is_met_once_and_by_its_own_label_alone():
    here = (0, 0, 100, 100)
    items = [
        _boxes(
            0,
            [("cell", here)],
            [("cell", here, 0.9), ("cell", here, 0.8), ("gland", here, 0.95)],
            ("cell", "gland"),
        )
    ]
    assert ranked_boxes(items).hits.tolist() == [False, True, False]
    assert ranked_boxes(items, "cell").hits.tolist() == [True, False]


@given(st.integers(2, 6), st.integers(1, 5))
@settings(max_examples=20)
def test_intervals_are_over_groups(groups, each):
    names = ("a", "b")
    items = [
        _choice(n, "a", "ab"[n // each % 2], names, group=f"p{n // each}")
        for n in range(groups * each)
    ]
    figures = group_figures(items, 0)
    right = math.ceil(groups / 2) / groups
    assert figures["by_group"] == pytest.approx(right)
    assert figures["by_vote"] == pytest.approx(right)
    same = group_figures(items[::each], 0)  # one picture a patient: no less is known of patients
    assert (figures["by_group_low"], figures["by_group_high"]) == pytest.approx(
        (same["by_group_low"], same["by_group_high"])
    )


def test_one_answer_tells_nothing_of_others():
    items = [_choice(0, "a", "a", ("a", "b"))]
    value, low, high = with_bounds(lambda weights: weights.mean(1), items, 0)
    assert value == 1.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_one_group_tells_nothing_of_others():
    items = [_choice(n, "a", "ab"[n % 2], ("a", "b"), group="p") for n in range(6)]
    assert group_figures(items, 0) == {}
    value, low, high = with_bounds(lambda weights: weights.mean(1), items, 0)
    assert value == 1.0
    assert math.isnan(low)
    assert math.isnan(high)
    figures = class_figures(items, 0)
    assert "balanced" in figures
    assert "balanced_low" not in figures


@given(st.floats(0.05, 0.95), st.floats(0.5, 4), st.floats(-2, 2))
def test_a_calibration_can_be_taken_back(probability, temperature, offset):
    scale = Scale(temperature, offset)
    calibrated = scaled(probability, scale)
    back = uncalibrated(calibrated, scale)
    assert back == pytest.approx(probability, abs=1e-3)
    assert uncalibrated(None, scale) is None


@pytest.mark.slow
def test_nothing_is_chosen_on_test(converted, tmp_path, monkeypatch, always):
    performer = always("<think></think><answer>yes</answer>")
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", lambda *_: models
    )
    test, val = converted / "test.jsonl", converted / "val.jsonl"
    with pytest.raises(QueryError, match=r"--choose-thresholds chooses .* test\.jsonl"):
        evaluate(EvaluationPlan("x", test, (4,), choose_thresholds=True))
    goals = tmp_path / "goals.yaml"
    for target, why in (("best_by: f1", "best_by"), ("measure: f1", "the best budget")):
        goals.write_text(f"- {{name: a, bound: 0.5, {target}}}")
        with pytest.raises(QueryError, match=rf"--goals: {why} of 'a' chooses .*test\.jsonl"):
            evaluate(EvaluationPlan("x", test, (4, 16), goals=goals))
    with pytest.raises(QueryError, match="--goals"):  # whoever chooses the budget asks them all
        evaluate(EvaluationPlan("x", test, (4,), policies=("fixed", "oracle"), goals=goals))
    goals.write_text("- {name: a, bound: 0.5, budget: '4', best_by: score}")
    plan = EvaluationPlan("x", test, (4, 16), 2, blank=False, goals=goals)
    assert [target.budget for target in evaluate(plan).goals] == ["4"]  # named, not chosen
    goals.write_text("- {name: a, bound: 0.5, best_by: score}")
    plan = EvaluationPlan("x", test, (4,), 2, blank=False, goals=goals)
    assert [target.budget for target in evaluate(plan).goals] == ["4"]  # there is no other
    plan = EvaluationPlan("x", val, (4, 16), 2, blank=False, goals=goals)
    assert len(evaluate(plan).goals) == 1  # on val it may be chosen
    plan = EvaluationPlan("x", val, (4,), 2, blank=False, command="pathreason evaluate /a/b/m --x")
    report = evaluate(plan)
    told = json.loads(report.json)
    assert told["made"]["command"] == "pathreason evaluate m --x"
    assert told["made"]["version"]
    assert "split val, seed 0" in report.markdown
    assert f"n {sum(r['n'] for r in told['rows'] if r['topic'] != 'all'):,}" in report.markdown
    results = tmp_path / "val.json"
    results.write_text(report.json)
    with pytest.raises(QueryError, match="chose no thresholds"):
        evaluate(EvaluationPlan("x", test, (4,), thresholds=results))
    results.write_text(json.dumps({"about": {"split": "test"}, "thresholds": {"t": 0.4}}))
    with pytest.raises(QueryError, match="--thresholds chooses"):
        evaluate(EvaluationPlan("x", val, (4,), thresholds=results))
    for part in ({"val": test, "train": val}, {"val": val, "train": test}):
        with pytest.raises(QueryError, match="calibrate --"):
            calibrate(CalibrationPlan("embedded", **part))


def test_everything_is_asked_unless_a_number_is_named(converted, monkeypatch, always):
    performer = always("<think></think><answer>yes</answer>")
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", lambda *_: models
    )
    data = converted / "val.jsonl"
    (row,) = [
        r
        for r in evaluate(EvaluationPlan("x", data, (4,), blank=False)).rows
        if r.topic == r.task == "all"
    ]
    assert row.values["n"] == len(data.read_text().splitlines())

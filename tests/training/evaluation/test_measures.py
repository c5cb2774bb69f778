"""Figures of groups of items against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training.evaluation import (
    Goal,
    Prediction,
    Row,
    Run,
    band,
    best_guess,
    calibration_error,
    group_table,
    interval,
    markdown,
    matches,
    near,
    outcomes,
    own_budgets,
    phrasing_gap,
    ratio,
    read_goals,
    size_table,
    table,
    topic_measures,
)
from napari_pathreason.types import AnswerBox


def _item(index=0, **changes):
    given = {
        "condition": "model",
        "budget": 4,
        "task": "vqa",
        "topic": "number of cells",
        "side": 100,
        "phrasing": "trained",
        "score": 1.0,
        "answer": "10",
        "truth": "10",
        "flops": 1e9,
        "flops_native": 2e9,
    }
    return Prediction(index=index, **(given | changes))


def _box(label, x):
    return AnswerBox(label, x, 0, x + 10, 10)


@pytest.mark.parametrize(
    ("answer", "truth", "tolerance", "holds"),
    [
        ("9", "10", 0.1, True),
        ("8", "10", 0.1, False),
        ("8", "10", 0.2, True),
        ("115", "100", 0.15, True),
        ("116", "100", 0.15, False),
        ("0", "0", 0.2, True),
        ("1", "0", 0.2, False),
        ("many", "10", 1.0, False),
        ("9" * 5000, "10", 1.0, False),
    ],
)
def test_near(answer, truth, tolerance, holds):
    assert near(answer, truth, tolerance) is holds


def test_counts_are_measured_at_every_tolerance():
    items = [_item(answer=a) for a in ("10", "9", "12", "20")]
    measures = topic_measures(items)
    shares = [ratio(measures[n], items) for n in ("exact", "within_10", "within_15", "within_20")]
    assert shares == [0.25, 0.5, 0.5, 0.75]
    assert ratio(measures["f1"], items) is None
    assert best_guess([_item(truth=t) for t in ("1", "10", "11", "12")], 0.1) == 0.75


def test_f1_counts_boxes_over_all_pictures_and_by_label():
    labels = ("a", "b")
    first = matches(labels, [_box("A", 0), _box("b", 50), _box("b", 80)], [_box("a", 1)])
    second = matches(labels, [], [_box("b", 0)])
    assert first == {"a": (1, 1, 1), "b": (0, 2, 0)}
    items = [_item(task="detection", truth="", matched=m) for m in (first, second)]
    measures = topic_measures(items)
    assert ratio(measures["f1"], items) == pytest.approx(2 * 1 / (3 + 2))
    assert ratio(measures["f1_a"], items) == 1.0
    assert ratio(measures["f1_b"], items) == 0.0


def test_free_pictures_count_where_nothing_was_found():
    free, full = {"a": (0, 0, 0)}, {"a": (0, 0, 2)}
    items = [
        _item(task="detection", truth="", matched=free, score=1.0),
        _item(task="detection", truth="", matched={"a": (0, 1, 0)}, score=0.0),
        _item(task="detection", truth="", matched=full, score=0.0),
    ]
    assert ratio(topic_measures(items)["empty_right"], items) == 0.5


def test_interval_holds_the_mean_and_shrinks_with_n():
    def score(item):
        return item.score, 1.0

    few = [_item(score=float(k % 2)) for k in range(20)]
    low, high = interval(score, few, 0)
    assert low < 0.5 < high
    tight_low, tight_high = interval(score, few * 20, 0)
    assert tight_high - tight_low < (high - low) / 3
    assert interval(score, [_item(score=0.5)] * 9, 0) == pytest.approx((0.5, 0.5))


def test_phrasing_gap_is_taken_within_topics():
    # one topic is easy and mostly trained, one hard and mostly held out: no phrasing matters
    items = [_item(topic="easy", score=1.0) for _ in range(9)]
    items += [_item(topic="easy", score=1.0, phrasing="held_out")]
    items += [_item(topic="hard", score=0.0, phrasing="held_out") for _ in range(9)]
    items += [_item(topic="hard", score=0.0)]
    gap = phrasing_gap(items, 0)
    assert gap["gap"] == gap["gap_low"] == gap["gap_high"] == 0.0
    assert gap["trained"] == gap["held_out"] == 0.5
    lost = [_item(score=1.0), _item(score=0.0, phrasing="held_out")]
    assert phrasing_gap(lost, 0)["gap"] == 1.0
    assert phrasing_gap(items[:9], 0) == {}


def test_calibration_error_by_hand():
    assert calibration_error([_item()]) is None
    confident = [_item(confidence=0.95, score=s) for s in (1.0, 1.0, 0.0, 0.0)]
    assert calibration_error(confident) == pytest.approx(0.45)
    mixed = [_item(confidence=1.0, score=1.0), _item(confidence=0.05, score=0.4)]
    assert calibration_error(mixed) == pytest.approx((0 + 0.05) / 2)


def test_the_two_error_rates_of_the_ood_score_by_hand():
    known = [_item(k, ood=s) for k, s in enumerate((0.5, 1.0, 1.2, 0.9))]
    aliens = [_item(4 + k, topic="cannot tell", ood=s) for k, s in enumerate((3.0, 0.8))]
    rows = table([*known, *aliens, _item(6)], Run("x"))
    (values,) = (row.values for row in rows if row.topic == row.task == "all")
    assert values["flagged"] == 0.25
    assert values["missed"] == 0.5
    (values,) = (row.values for row in rows if row.topic == "number of cells")
    assert "missed" not in values
    page = markdown(rows, [], [], [])
    assert "false OOD alarms" in page
    assert "0.250 | 0.500" in page


def test_size_table_splits_topics_that_have_sizes():
    items = [_item(k, side=side, score=s) for k, (side, s) in enumerate([(96, 1.0), (600, 0.0)])]
    items += [_item(2, topic="one size")]
    rows = {(r.topic, r.side): r.values["score"] for r in size_table(items, Run("x"))}
    assert rows["number of cells", "<= 128"] == 1.0
    assert rows["number of cells", "> 512"] == 0.0
    assert not any(topic == "one size" for topic, _ in rows)
    assert [band(side) for side in (128, 129, 512, 513)] == ["<= 128", "<= 256", "<= 512", "> 512"]


def test_rows_stand_for_topics_tasks_and_all():
    items = [
        _item(0, flops=1.0, flops_native=4.0),
        _item(1, topic="kind", task="subtyping", score=0.0, flops=1.0, flops_native=1.0),
        _item(2, topic="kind", score=1.0, flops=0.0, flops_native=0.0),
        _item(0, condition="baseline", budget=None, answer="11", score=0.9),
    ]
    rows = {(r.task, r.topic): r.values for r in table(items, Run("x"))}
    assert set(rows) == {
        ("vqa", "number of cells"),
        ("all", "kind"),
        ("vqa", "all"),
        ("subtyping", "all"),
        ("all", "all"),
    }
    assert rows["all", "all"]["share_of_native"] == pytest.approx(2 / 5)
    assert rows["vqa", "number of cells"]["baseline"] == 0.9
    assert rows["vqa", "number of cells"]["baseline_exact"] == 0.0
    assert "baseline" not in rows["vqa", "all"]  # it did not answer all of these questions


def _row(budget, **values):
    return Row(Run("x"), budget, "all", "kind", values={"n": 4, "low": 0, "high": 1} | values)


def test_goals_are_read_at_the_rung_that_counts():
    rows = [_row("4", score=0.9, other=0.1, seconds=9.0), _row("64", score=0.8, other=0.7)]
    goals = [
        Goal(name="best", topic="kind", bound=0.85),
        Goal(name="follows", topic="kind", measure="other", bound=0.5, best_by="score"),
        Goal(name="least", topic="kind", measure="other", bound=0.2, at_most=True),
        Goal(name="fixed", topic="kind", bound=0.85, budget="64"),
        Goal(name="never asked", topic="elsewhere", bound=0.5),
    ]
    found = {o.goal.name: (o.budget, o.measured, o.reached) for o in outcomes(rows, goals)}
    assert found == {
        "best": ("4", 0.9, True),
        "follows": ("4", 0.1, False),
        "least": ("4", 0.1, True),
        "fixed": ("64", 0.8, False),
    }


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.6, 0.9, "open"), (0.86, 0.9, "yes"), (0.1, 0.2, "no")]
)
def test_a_target_within_the_interval_is_neither_reached_nor_missed(low, high, verdict):
    score = (low + high) / 2
    rows = [_row("4", score=score, low=low, high=high)]
    (found,) = outcomes(rows, [Goal(name="x", topic="kind", bound=0.85)])
    assert found.verdict == verdict
    assert verdict in markdown(rows, [], [], [found]).split("**Targets**")[1]


def test_a_target_that_one_group_alone_speaks_of_is_open():
    items = [_item(k, group="one slide") for k in range(9)]
    goals = [
        Goal(name="x", topic="number of cells", measure="within_20", bound=0.5),
        Goal(name="y", topic="number of cells", measure="tokens", bound=0.0),
    ]
    found = outcomes(table(items, Run("x")), goals)
    assert [one.reached for one in found] == [True, True]
    assert [one.verdict for one in found] == ["open", "yes"]


def test_targets_come_out_of_a_file_and_wrong_ones_are_named(tmp_path):
    assert read_goals(None) == ()
    ours = read_goals(Path(__file__).parents[3] / "demonstrator/goals.yaml")
    assert {goal.measure for goal in ours} >= {"score", "f1", "within_20", "ece"}
    file = tmp_path / "goals.yaml"
    file.write_text("- {name: x, bound: 0.5, mesure: f1}")
    with pytest.raises(QueryError, match=r"goals\.yaml, 0\.mesure"):
        read_goals(file)
    file.write_text("- {name: x, bound")
    with pytest.raises(QueryError, match="no YAML list"):
        read_goals(file)
    with pytest.raises(QueryError, match="no YAML list"):
        read_goals(tmp_path / "none.yaml")
    file.write_text("- " * 20_000)
    with pytest.raises(QueryError, match="no YAML list"):
        read_goals(file)


def test_intervals_are_over_groups_where_pictures_have_one():
    def score(item):
        return item.score, 1.0

    slides = [_item(k, score=float(k % 2), group=f"slide {k % 2}") for k in range(200)]
    assert interval(score, slides, 0) == (0.0, 1.0)  # two slides, one all right and one all wrong
    alone = [_item(k, score=float(k % 2)) for k in range(200)]
    low, high = interval(score, alone, 0)
    assert 0.4 < low < high < 0.6
    assert interval(score, slides[::2], 0) is None
    assert interval(score, alone[:1], 0) is None  # one question says nothing of others


def test_figures_of_each_group_stand_below_those_of_all():
    counts = {"liver": ("10", "20"), "lung": ("30", "20")}
    items = [
        _item(k, answer=said, truth=true, score=0.5, group=name)
        for k, (name, (said, true)) in enumerate(sorted(counts.items()) * 2)
    ]
    items += [_item(9, topic="one group", group="liver"), _item(10, topic="no group")]
    items += [_item(11 + k, topic="partly", group=name) for k, name in enumerate(["a", "b", ""])]
    groups = group_table(items, Run("x"))
    assert {(r.topic, r.group) for r in groups} == {("number of cells", n) for n in counts}
    assert {r.as_dict()["group"] for r in groups} == set(counts)
    assert [r.values["counted_of_true"] for r in groups] == [0.5, 1.5]
    assert all("low" not in r.values for r in groups)
    rows = table(items, Run("x"))
    (whole,) = (r for r in rows if r.topic == "number of cells")
    assert whole.values["groups"] == 2
    assert whole.values["counted_of_true"] == 1.0
    page = markdown(rows, [], [], [], groups=groups, grouped_by="organ", notes=["Mind this."])
    part = page.split("**By organ")[1]
    assert "| number of cells | liver | 4 | 2 | 0.50 | - | 0.00 | - | 0.50 |" in part
    assert "| number of cells | **all** | 4 | 4 | 0.50 |" in part
    assert "(2 of organ)" in page
    assert "Mind this." in page


def test_a_rung_that_shows_no_other_picture_is_none_of_its_own():
    def items(sizes):
        return [
            _item(k, budget=budget, size=size(k))
            for budget, size in sizes.items()
            for k in range(40)
        ]

    largest = {
        16: lambda k: (128, 128),
        64: lambda k: (256, 256) if k < 20 else (224, 224),
        256: lambda k: (512, 512) if k < 1 else (224, 224),
        1024: lambda k: (640, 512) if k < 1 else (224, 224),
        None: lambda k: (640, 512) if k < 1 else (224, 224),
    }
    assert own_budgets(items(largest)) == ([16, 64, None], [256, 1024])
    del largest[None]
    assert own_budgets(items(largest)) == ([16, 64, 256], [1024])
    assert own_budgets(items({4: lambda k: (32, 32)})) == ([4], [])


def test_replies_that_could_not_be_read_are_counted():
    items = [_item(0), _item(1, answer="", score=0.0)]
    (values,) = (r.values for r in table(items, Run("x")) if r.topic == r.task == "all")
    assert values["unreadable"] == 0.5


def test_markdown_has_one_line_for_a_topic():
    rng = np.random.default_rng(0)
    items = [
        _item(k, budget=budget, score=float(rng.random()), cited=2, confirmed=1, shuffled=0)
        for budget in (4, 16, 64, 256)
        for k in range(5)
    ]
    rows = table(items, Run("x"))
    text = markdown(rows, size_table(items, Run("x")), [], [])
    assert "Targets" not in text
    main = text.split("\n\n")[1].splitlines()
    assert main[0].startswith("| question | n | 4 | 16 | 64 | 256 |")
    assert sum(line.startswith("| number of cells") for line in main) == 1
    assert "| number of cells | " in text.split("confirmed by the labels")[1]

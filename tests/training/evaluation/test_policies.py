"""Who chooses the budget, on answers whose best choice is known."""

import json
from types import SimpleNamespace

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.models import BUDGETS, FixedAllocator
from napari_pathreason.training import read_samples
from napari_pathreason.training.evaluation import (
    Choice,
    EvaluationPlan,
    Prediction,
    Run,
    allocations,
    at_random,
    cascade,
    check_policies,
    draw_pareto,
    evaluate,
    markdown,
    oracle,
    pick,
    policy_rows,
    score_allocation,
    table,
)
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import Allocation, Completion, ModelDims, ModelInfo

NATIVE = 400
POLICIES = ("native", "fixed", "random", "cascade", "oracle", "allocator")


def _by_budget(index, first_right, confidence=None):
    """Right from one budget on; FLOPs are as many as tokens."""
    by_budget = {}
    for budget in BUDGETS:
        tokens = min(budget or NATIVE, NATIVE)
        right = tokens >= first_right
        by_budget[budget] = Prediction(
            *(index, "model", budget, "vqa", "nuclei", 512, "trained", float(right), "a", "a"),
            tokens=tokens,
            native=NATIVE,
            flops=float(tokens),
            flops_native=float(NATIVE),
            seconds=0.1,
            confidence=confidence,
        )
    return by_budget


def _items(*each_by_budget):
    return [item for by_budget in each_by_budget for item in by_budget.values()]


def test_the_oracle_takes_the_cheapest_right_answer_or_the_cheapest_at_all():
    assert oracle(_by_budget(0, 64)).budget == 64
    assert oracle(_by_budget(0, 10_000)).budget == 4


def test_the_allocators_own_overview_is_counted():
    item = score_allocation(_by_budget(0, 4), Choice(Allocation(64, "policy", 4, flops=2.5), 0.25))
    assert (item.tokens, item.flops, item.seconds) == (68, 66.5, pytest.approx(0.35))


@pytest.mark.parametrize(("confident", "tokens"), [(0.8, 16), (0.79, 16 + NATIVE)])
def test_a_cascade_reads_again_where_it_is_unsure_and_pays_for_both(confident, tokens):
    item = cascade(_by_budget(0, NATIVE, confident))
    assert item.tokens == item.flops == tokens
    assert item.score == (tokens > 16)


def test_random_spends_the_same_tokens_blindly():
    asked = [_by_budget(0, 4), _by_budget(1, 256), _by_budget(2, 10_000)]
    blind = at_random(asked, [4, 256, 4], 100.0)
    assert sum(item.tokens for item in blind) / 3 == pytest.approx(100, abs=0.01)
    share = (100 - 4) / (256 - 4)
    assert [item.score for item in blind] == pytest.approx([1, share, 0], abs=1e-4)


def test_random_does_not_hang_on_the_order_of_the_answers():
    asked = [_by_budget(0, 4), _by_budget(1, 256), _by_budget(2, 10_000)]
    mixed = [
        {budget: by_budget[budget] for budget in (64, *reversed(BUDGETS))} for by_budget in asked
    ]
    budgets = [4, 64, 256, 64]
    assert at_random(mixed, budgets, 50.0) == at_random(asked, budgets, 50.0)
    assert sum(item.tokens for item in at_random(mixed, budgets, 50.0)) / 3 == pytest.approx(50)


def test_random_with_one_rung_is_that_rung():
    (item,) = at_random([_by_budget(0, 64)], [64], 68.0)
    assert (item.score, item.tokens) == (1, 64)


def _choice(budget):
    return Choice(Allocation(budget, "policy", 4), 0.01)


def _rows(policies=POLICIES):
    each_by_budget = [_by_budget(i, 4 if i % 2 else 256, 0.5) for i in range(40)]
    items = _items(*each_by_budget)
    chosen = {
        "low": [_choice(4) for _ in each_by_budget],
        "balanced": [_choice(4 if i % 2 else 256) for i in range(40)],
        "high": [_choice(None) for _ in each_by_budget],
    }
    run = Run("m", "bilateral")
    return table(items, run), policy_rows(items, policies, chosen.__getitem__, run)


def test_rows_of_every_policy_stand_beside_those_of_the_rungs(tmp_path):
    fixed, rows = _rows()
    whole = {
        (row.run.policy, row.run.effort): row.as_dict()
        for row in rows
        if row.task == row.topic == "all"
    }
    assert len(whole) == 8  # cascade, oracle, three of the allocator, three blind ones
    best = whole["allocator", "balanced"]
    assert best["score"] == whole["oracle", None]["score"] == 1
    assert best["tokens"] == pytest.approx((4 + 256) / 2 + 4)
    assert whole["random", "balanced"]["tokens"] == pytest.approx(best["tokens"], abs=0.01)
    assert whole["random", "balanced"]["score"] < 0.8
    assert best["share_of_native"] == pytest.approx(130 / NATIVE, abs=1e-4)
    assert best["budget"] == "auto"
    text = markdown(fixed, [], rows, [])
    assert "| allocator balanced | - | 1.000 (1.000-1.000) | 134 |" in text
    assert "| native | native | 1.000 (1.000-1.000) | 400 |" in text
    draw_pareto([*fixed, *rows], tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("own", ["low", "balanced", "high"])
def test_an_allocator_of_one_effort_has_one_row_of_that_name(own):
    items = _items(*[_by_budget(i, 64) for i in range(4)])
    asked = []

    def chosen(effort):
        asked.append(effort)
        return [Choice(Allocation(64, "policy", 4, effort=own), 0.01)] * 4

    rows = policy_rows(items, ["allocator"], chosen, Run("m", "bilateral"))
    assert {row.run.effort for row in rows} == {own}
    assert len({row.as_dict()["task"] for row in rows if row.topic == "all"}) == len(
        [row for row in rows if row.topic == "all"]
    )
    assert len(asked) <= 2  # a writing allocator takes as long as an answer


def test_policies_that_were_not_asked_for_are_left_out():
    _, rows = _rows(("oracle",))
    assert {row.run.policy for row in rows} == {"oracle"}


def test_what_cannot_be_measured_is_named():
    with pytest.raises(QueryError, match="no policy 'best'"):
        check_policies(["best"], FixedAllocator())
    with pytest.raises(QueryError, match="train allocator"):
        check_policies(["native", "allocator"], FixedAllocator())
    check_policies(["native", "cascade", "oracle"], FixedAllocator())


class Always:
    info = ModelInfo(
        "always", "qwen3_vl", "relative", ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 100)
    )

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        visual = pixels.shape[0] * pixels.shape[1] // 1024
        text = "<think></think><answer>yes</answer>"
        yield text
        yield Completion(text, 10 + visual, visual, 5, "stop", 0.0)


class Smallest:
    overview_budget = 4

    def allocate(self, overview, query, native, effort):
        assert overview.shape[0] * overview.shape[1] <= 4 * 1024
        return Allocation(4 if effort == "low" else None, "policy", 4, flops=1.0, effort=effort)


def test_a_whole_evaluation_asks_every_rung_and_the_allocator(converted, tmp_path, monkeypatch):
    models = SimpleNamespace(performer=Always(), allocator=Smallest())
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", lambda *_: models
    )
    plan = EvaluationPlan(
        "x", converted / "val.jsonl", (4, 16), 1, blank=False, policies=("fixed", "allocator")
    )
    report = evaluate(plan)
    rows = json.loads(report.json)["rows"]
    whole = [row for row in rows if row["task"] == row["topic"] == "all"]
    # no picture is larger than 256 tokens by a share worth telling: 512 and 1024 are native size
    assert [row["budget"] for row in whole if row["policy"] == "fixed"] == [
        str(budget) for budget in BUDGETS if budget and budget <= 256
    ]
    assert {row["budget"] for row in whole} >= {"native", "auto"}
    assert "Not shown: 512, 1024 tokens" in report.markdown
    costs = {row["effort"]: row["share_of_native"] for row in whole if row["budget"] == "auto"}
    assert costs["low"] < costs["high"]
    assert costs["high"] == pytest.approx(1, abs=1e-3)


def test_allocations_follow_the_samples(converted):
    samples = pick(read_samples(converted / "val.jsonl"), 1, 0)
    given = allocations(samples, Pictures(converted), Smallest(), 32, "high")
    assert [look.allocation.budget for look in given] == [None] * len(samples)

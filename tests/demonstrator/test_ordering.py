"""Claims about the rows of an evaluation hold or break as their figures do."""

import json

import pytest

from demonstrator.ordering import claims, main


def _row(score, budget="auto", policy="fixed", effort=None, stage="grpo", share=0.2, **more):
    return {
        **{"task": "all", "topic": "all", "side": "all", "stage": stage, "policy": policy},
        **{"budget": budget, "effort": effort, "score": score, "low": score - 0.02},
        **{"high": score + 0.02, "share_of_native": share, "flops": share * 100},
    } | more


@pytest.fixture
def rows():
    efforts = {"low": 0.1, "balanced": 0.2, "high": 0.4}
    return [
        _row(0.70, "16", share=0.1, text_only=0.3, constant=0.5),
        _row(0.75, "64", share=0.3, text_only=0.3, constant=0.5),
        _row(0.76, "native", "native", share=1.0),
        _row(0.85, policy="oracle"),
        *(_row(0.77, policy="allocator", effort=e, share=s) for e, s in efforts.items()),
        *(_row(0.72, policy="random", effort=e, share=s) for e, s in efforts.items()),
        _row(0.73, "64", stage="sft"),
        _row(0.10, "64", topic="lung subtype"),
    ]


def test_all_hold(rows):
    found = list(claims(rows))
    assert len(found) == 4 + 1 + 8 + 2 + 1
    assert all(claim.holds for claim in found)


@pytest.mark.parametrize(
    ("place", "change", "broken"),
    [
        (1, {"text_only": 0.8}, "at 64 tokens above text_only"),
        (3, {"score": 0.74}, "no policy passes the oracle"),
        (5, {"score": 0.60, "high": 0.65}, "allocator, balanced, not below native"),
        (5, {"share_of_native": 1.1}, "cheaper than native"),
        (4, {"flops": 21.0}, "low spends no more than balanced"),
        (10, {"score": 0.9, "low": 0.88}, "grpo not below sft at 64 tokens"),
    ],
)
def test_each_can_break(rows, place, change, broken):
    rows[place] = rows[place] | change
    assert any(broken in claim.text for claim in claims(rows) if not claim.holds)


def test_close_rows_are_not_told_apart(rows):
    rows[5] = rows[5] | {"score": 0.75, "high": 0.77}
    assert all(claim.holds for claim in claims(rows) if "native" in claim.text)


def test_the_command_ends_with_one_where_a_claim_breaks(rows, tmp_path, capsys):
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"rows": rows}))
    assert main(file) == 0
    file.write_text(json.dumps({"rows": [*rows[:3], rows[3] | {"score": 0.1}]}))
    assert main(file) == 1
    assert "BROKEN  no policy passes the oracle" in capsys.readouterr().out

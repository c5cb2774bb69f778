"""Evaluation: the table against performers whose score is known beforehand."""

import argparse
import json

import pytest

from napari_pathreason._errors import QueryError
from napari_pathreason._types import Completion, ModelDims, ModelInfo
from napari_pathreason.models import FixedAllocator
from napari_pathreason.models._tiny import make_tiny_checkpoint
from napari_pathreason.training import _commands, read_samples
from napari_pathreason.training._evaluate import answer_all, constant_score, pick
from napari_pathreason.training._pictures import Pictures
from napari_pathreason.training._table import interval, markdown, table

DIMS = ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 100)


class Always:
    """Writes one answer whatever it is shown."""

    info = ModelInfo("always", "qwen3_vl", "relative", DIMS)

    def __init__(self, text):
        self.text = text

    def generate(self, pixels, messages, settings, cancel):
        yield self.text
        yield Completion(self.text, 10, 4, 5, "stop", 0.0)


@pytest.fixture(scope="module")
def tiles(converted):
    samples = read_samples(converted / "train.jsonl")
    return [s for s in samples if s.topic == "lung subtype"], Pictures(converted)


def test_a_constant_performer_scores_its_share(tiles):
    samples, pictures = tiles
    share = sum(s.answer == "normal" for s in samples) / len(samples)
    performer = Always("<think>x: y</think><answer>normal</answer>")
    items = list(answer_all(samples, pictures, performer, FixedAllocator(), 4))
    (row,) = table(items, {"lung subtype": constant_score(samples, pictures, 32)})
    assert row.score == pytest.approx(share)
    assert row.low <= row.score <= row.high
    assert row.constant >= row.score
    assert row.tokens == 4
    assert row.faithful == 0.0
    assert "lung subtype" in markdown([row])


def test_blank_rows_stand_beside_not_among(tiles):
    samples, pictures = tiles
    performer = Always("<think></think><answer>normal</answer>")
    shown = list(answer_all(samples, pictures, performer, FixedAllocator(), 4))
    blank = list(answer_all(samples[:1], pictures, performer, FixedAllocator(), 4, blank=True))
    (row,) = table(shown + blank, {"lung subtype": 0.5})
    assert row.n == len(samples)
    assert row.blank == float(samples[0].answer == "normal")


def test_pick_is_by_topic_and_seed(converted):
    samples = read_samples(converted / "train.jsonl")
    chosen = pick(samples, 2, 0)
    assert chosen == pick(samples, 2, 0)
    kinds = [s.kind for s in chosen]
    assert max(kinds.count(kind) for kind in kinds) == 2
    assert set(kinds) == {s.kind for s in samples}


def test_interval_of_equal_scores_is_a_point():
    assert interval([0.5] * 9, 0) == (0.5, 0.5)


def _parse(*words):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    _commands.add_data_parser(commands)
    _commands.add_train_parser(commands)
    _commands.add_evaluate_parser(commands)
    return parser.parse_args(words)


def test_evaluate_from_the_shell_writes_table_rows_and_items(converted, tmp_path, capsys):
    model = make_tiny_checkpoint(tmp_path / "tiny")
    args = _parse(
        *("evaluate", str(model), "--data", str(converted / "val.jsonl")),
        *("--budgets", "4,native", "--per-topic", "1", "--device", "cpu"),
        *("--markdown", str(tmp_path / "t.md"), "--json", str(tmp_path / "t.json")),
        *("--items", str(tmp_path / "items.jsonl")),
    )
    assert args.run(args) == 0
    rows = json.loads((tmp_path / "t.json").read_text())["rows"]
    assert {row["budget"] for row in rows} == {"4", "native"}
    assert capsys.readouterr().out.strip() == (tmp_path / "t.md").read_text().strip()
    items = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert len(items) == 3 * len(rows) / 2


def test_auto_is_no_rung(converted):
    args = _parse(
        "evaluate", "embedded", "--data", str(converted / "val.jsonl"), "--budgets", "auto"
    )
    with pytest.raises(QueryError, match="rungs"):
        args.run(args)


def test_convert_from_the_shell(labelled, tmp_path, capsys):
    args = _parse("data", "convert", str(labelled / "lung"), "-o", str(tmp_path))
    assert args.run(args) == 0
    assert "train: " in capsys.readouterr().out

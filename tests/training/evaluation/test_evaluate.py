"""Evaluation: the table against performers whose score is known beforehand."""

import argparse
import gzip
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from napari_pathreason._errors import QueryError
from napari_pathreason._types import Completion, ModelDims, ModelInfo, Strangeness, WrittenToken
from napari_pathreason.models import FixedAllocator
from napari_pathreason.models._tiny import make_tiny_checkpoint
from napari_pathreason.training import _commands, read_samples
from napari_pathreason.training.evaluation import _evaluation
from napari_pathreason.training.evaluation._constant import constant_items
from napari_pathreason.training.evaluation._evaluate import Examiner, others, pick
from napari_pathreason.training.evaluation._table import Run, table
from napari_pathreason.training.samples._pictures import Pictures

RUN = Run("always")
DIMS = ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 100)


class Always:
    """Writes one answer whatever it is shown."""

    info = ModelInfo("always", "qwen3_vl", "relative", DIMS)

    def __init__(self, text):
        self.text = text

    asked = 0

    def generate(self, pixels, messages, settings, cancel):
        self.asked += 1
        yield self.text
        yield Completion(self.text, 10, 4, 5, "stop", 0.0)


@pytest.fixture(scope="module")
def tiles(converted):
    samples = read_samples(converted / "train.jsonl")
    return [s for s in samples if s.topic == "lung subtype"], Pictures(converted)


def _examine(tiles, performer, budgets=(4,), arm="model"):
    samples, pictures = tiles
    examiner = Examiner(samples, pictures, performer, FixedAllocator())
    return [item for budget in budgets for item in examiner.run(budget, arm)]


def test_confidence_and_strangeness_stand_in_the_items(tiles):
    class Telling(Always):
        def generate(self, pixels, messages, settings, cancel):
            choice = (("normal", -0.5), ("adenocarcinoma", -1.5))
            frame = ("<think></think><answer>", 0.0), ("</answer>", 0.0)
            written = tuple(map(WrittenToken, ((frame[0],), choice, (frame[1],))))
            strange = Strangeness(1.5, ("lung",))
            yield self.text
            yield Completion(self.text, 10, 4, 5, "stop", 0.0, written, strange)

    items = _examine(tiles, Telling("<think></think><answer>normal</answer>"))
    assert {item.strangeness for item in items} == {1.5}
    expected = 1 / (1 + math.exp(-1.0))
    assert [item.confidence for item in items] == pytest.approx([expected] * len(items))
    assert {(i.confidence, i.strangeness) for i in _examine(tiles, Always("x"))} == {(None, None)}


def test_a_constant_performer_scores_its_share(tiles):
    samples, pictures = tiles
    share = sum(s.answer == "normal" for s in samples) / len(samples)
    items = _examine(tiles, Always("<think>x: y</think><answer>normal</answer>"))
    rows = table([*items, *constant_items(samples, pictures, 32)], RUN)
    (row,) = [row for row in rows if row.topic == "lung subtype"]
    assert row.values["score"] == pytest.approx(share)
    assert row.values["low"] <= row.values["score"] <= row.values["high"]
    assert row.values["constant"] >= row.values["score"]
    assert row.values["tokens"] == 4
    assert row.values["confirmed"] == row.values["shuffled"] == 0.0
    assert (row.task, row.budget) == ("subtyping", "4")


def test_text_only_stands_beside_not_among(tiles):
    performer = Always("<think></think><answer>normal</answer>")
    shown, blank = _examine(tiles, performer), _examine(tiles, performer, arm="text_only")
    for row in table(shown + blank, RUN):
        assert row.values["n"] == len(tiles[0])
        assert row.values["text_only"] == row.values["score"]


def test_without_a_rationale_stands_beside(tiles):
    class Reasoner(Always):
        def generate(self, pixels, messages, settings, cancel):
            said = settings.begin or "<think>x: y</think><answer>"
            text = f"{said}{'adenocarcinoma' if settings.begin else 'nothing'}</answer>"
            yield Completion(text, 10, 4, 5, "stop", 0.0)

    arms = ("model", "unreasoned")
    shown, unreasoned = (_examine(tiles, Reasoner(""), arm=arm) for arm in arms)
    assert {item.answer for item in unreasoned} == {"adenocarcinoma"}
    (row, *_) = table([*shown, *unreasoned], RUN)
    share = sum(s.answer == "adenocarcinoma" for s in tiles[0]) / len(tiles[0])
    assert share > 0
    assert row.values["unreasoned"] == pytest.approx(share)
    assert row.values["score"] == 0


def test_blank_pictures_do_not_score_above_text_alone(tiles):
    """A reader who is always right knows no more from them than one who never looks."""
    names = ("adenocarcinoma", "squamous cell carcinoma", "normal")

    class Reader(Always):
        def generate(self, pixels, messages, settings, cancel):
            shade = round((float(pixels[..., 0].mean()) - 150) / 30)  # as the tiles were made
            self.text = f"<think></think><answer>{names[min(max(shade, 0), 2)]}</answer>"
            yield from super().generate(pixels, messages, settings, cancel)

    shown, blank = _examine(tiles, Reader("")), _examine(tiles, Reader(""), arm="text_only")
    blind = [_examine(tiles, Always(f"<think></think><answer>{n}</answer>")) for n in names]
    means = [sum(item.score for item in items) / len(items) for items in blind]
    assert all(item.score == 1 for item in shown)
    assert sum(item.score for item in blank) / len(blank) <= max(means) < 1


def test_a_picture_of_one_size_is_asked_once(tiles):
    performer = Always("<think></think><answer>normal</answer>")
    items = _examine(tiles, performer, budgets=(64, 256, None))  # 224 px: 49 tokens at the most
    assert performer.asked == len(tiles[0])
    assert [item.budget for item in items[:: len(tiles[0])]] == [64, 256, None]


class Together(Always):
    """Answers several questions in one pass, by what is asked and the picture's own size."""

    def __init__(self):
        super().__init__("")
        self.passes = []

    def generate(self, pixels, messages, settings, cancel):
        self.asked += 1
        words = messages[-1]["content"][-1]["text"]
        text = f"<think></think><answer>{words} {pixels.shape} {pixels.mean():.3f}</answer>"
        yield Completion(text, 10, pixels.shape[0] * pixels.shape[1] // 32**2, 5, "stop", 0.0)

    def generate_batch(self, pictures, prompts, settings, cancel):
        self.passes.append(len(pictures))
        asked = zip(pictures, prompts, strict=True)
        return [list(self.generate(p, messages, settings, cancel))[-1] for p, messages in asked]


def test_asked_together_as_alone_but_for_the_seconds(converted):
    samples = read_samples(converted / "val.jsonl")
    found = {}
    for together in (1, 5):
        performer = Together()
        examiner = Examiner(
            samples, Pictures(converted), performer, FixedAllocator(), together=together
        )
        items = [item for rung in (4, 64) for item in examiner.run(rung)]
        found[together] = sorted(items, key=lambda item: (item.budget, item.index))
        assert bool(performer.passes) == (together > 1)
        assert max(performer.passes, default=1) <= together
    for alone, joint in zip(found[1], found[5], strict=True):
        assert replace(alone, seconds=0.0) == replace(joint, seconds=0.0)
        assert not math.isnan(alone.seconds)
    untimed = [item for item in found[5] if math.isnan(item.seconds)]
    assert 0 < len(untimed) < len(found[5])
    assert {item.topic for item in found[5] if not math.isnan(item.seconds)} == {
        sample.kind for sample in samples
    }
    assert all("seconds" in row.values for row in table(found[5], RUN))


def test_true_evidence_holds_here_and_not_elsewhere(tiles):
    samples, _ = tiles
    kinds = {s.answer for s in samples}
    said = "<think>throughout: adenocarcinoma</think><answer>adenocarcinoma</answer>"
    items = _examine(tiles, Always(said))
    for item, sample in zip(items, samples, strict=True):
        assert item.confirmed == (sample.answer == "adenocarcinoma")
    assert len(kinds) > 1
    for index, other in enumerate(others(samples, 0)):
        assert other is not None
        assert items[index].shuffled == items[other].confirmed


def test_others_are_other_pictures_of_the_topic(converted):
    samples = read_samples(converted / "train.jsonl")
    found = others(samples, 1)
    assert found == others(samples, 1)
    assert found != others(samples, 2)
    for sample, other in zip(samples, found, strict=True):
        if other is not None:
            assert samples[other].kind == sample.kind
            assert (samples[other].image, samples[other].region) != (sample.image, sample.region)


def test_pick_is_by_topic_and_seed(converted):
    samples = read_samples(converted / "train.jsonl")
    chosen = pick(samples, 2, 0)
    assert chosen == pick(samples, 2, 0)
    kinds = [s.kind for s in chosen]
    assert max(kinds.count(kind) for kind in kinds) == 2
    assert set(kinds) == {s.kind for s in samples}


def _parse(*words):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
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
    figures = json.loads((tmp_path / "t.json").read_text())
    rows = figures["rows"]
    assert {row["budget"] for row in rows} == {"4", "native"}
    assert {"model", "stage", "policy", "effort", "task", "topic", "n"} <= set(rows[0])
    assert {"score", "low", "high", "tokens", "flops", "seconds", "share_of_native"} <= set(rows[0])
    assert all(row["text_only"] <= 1 and row["constant"] <= 1 for row in rows)
    (whole,) = [r for r in rows if r["task"] == r["topic"] == "all" and r["budget"] == "native"]
    assert whole["share_of_native"] == 1
    assert whole["megabytes"] > 0
    assert {row["task"] for row in rows} == {"vqa", "subtyping", "detection", "all"}
    assert any(target["name"].startswith("lung subtype") for target in figures["targets"])
    assert capsys.readouterr().out.strip() == (tmp_path / "t.md").read_text().strip()
    items = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert len(items) == 7 * whole["n"]  # the model in three ways at two rungs, constant


def test_stages_of_training_stand_side_by_side(converted, tmp_path, monkeypatch):
    words = {"sft": "no", "grpo": "yes"}
    data = converted / "val.jsonl"
    files = []
    for stage, word in words.items():
        performer = Always(f"<think></think><answer>{word}</answer>")
        models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
        monkeypatch.setattr(_evaluation, "load_models", lambda *_, models=models: models)
        plan = _evaluation.Plan("x", data, (4,), 2, stage=stage, earlier=tuple(files))
        report = _evaluation.evaluate(plan)
        files.append(tmp_path / f"{stage}.json")
        files[-1].write_text(report.json)
    rows = json.loads(files[-1].read_text())["rows"]
    found = {r["stage"]: r["score"] for r in rows if r["task"] == "vqa" and r["topic"] == "all"}
    assert set(found) == set(words)
    assert found["sft"] != found["grpo"]
    (line,) = [x for x in report.markdown.splitlines() if x.startswith("| vqa | 4 |")]
    assert line.index(f"{found['sft']:.3f}") < line.index(f"{found['grpo']:.3f}")
    other = _evaluation.Plan("x", data, (4,), 1, earlier=tuple(files))
    with pytest.raises(QueryError, match="other questions"):
        _evaluation.evaluate(other)
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(QueryError, match=r"none\.json is no result"):
        _evaluation.evaluate(
            _evaluation.Plan("x", data, (4,), 1, earlier=(tmp_path / "none.json",))
        )


def test_a_cut_run_keeps_its_answers(converted, tmp_path, monkeypatch):
    performer = Always("<think></think><answer>yes</answer>")
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(_evaluation, "load_models", lambda *_: models)
    monkeypatch.setattr(_evaluation, "constant_items", lambda *_: iter(()))
    given, generate = tmp_path / "items.jsonl", performer.generate

    def cut(*args):
        if performer.asked == 3:
            raise KeyboardInterrupt
        return generate(*args)

    performer.generate = cut
    plan = _evaluation.Plan("x", converted / "val.jsonl", (4,), 1, items=given)
    with pytest.raises(KeyboardInterrupt):
        _evaluation.evaluate(plan)
    assert len(given.read_text().splitlines()) == 3


def test_known_answers_are_not_asked_again(converted, tmp_path, monkeypatch):
    performer = Together()
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(_evaluation, "load_models", lambda *_: models)
    first = tmp_path / "first.jsonl"
    plan = _evaluation.Plan("x", converted / "val.jsonl", (4, 64), 2, items=first, together=3)
    report = _evaluation.evaluate(plan)
    lines = first.read_text().splitlines()
    asked = performer.asked
    again = _evaluation.evaluate(replace(plan, items=tmp_path / "again.jsonl", known=first))
    assert again.json == report.json
    assert performer.asked == asked
    assert (tmp_path / "again.jsonl").read_text().splitlines() == lines

    packed = tmp_path / "first.jsonl.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    assert _evaluation.evaluate(replace(plan, items=None, known=packed)).json == report.json
    assert performer.asked == asked
    packed.write_bytes(packed.read_bytes()[:99])
    with pytest.raises(QueryError, match="no record"):
        _evaluation.evaluate(replace(plan, items=None, known=packed))

    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[:-1]))
    scores = [row.values["score"] for row in report.rows]
    whole = _evaluation.evaluate(replace(plan, items=None, known=cut))
    assert [row.values["score"] for row in whole.rows] == scores
    assert asked < performer.asked < 2 * asked
    with pytest.raises(QueryError, match="other questions"):
        _evaluation.evaluate(replace(plan, per_topic=1, known=first))
    with pytest.raises(QueryError, match="no record"):
        _evaluation.evaluate(replace(plan, known=tmp_path / "none.jsonl"))


def test_auto_is_no_rung(converted):
    args = _parse(
        "evaluate", "embedded", "--data", str(converted / "val.jsonl"), "--budgets", "auto"
    )
    with pytest.raises(QueryError, match="rungs"):
        args.run(args)


def test_a_page_without_marks_is_refused_before_anything_is_asked(converted, tmp_path):
    page = tmp_path / "card.md"
    page.write_text("Words.")
    args = _parse("evaluate", "no model", "--data", "no data", "--card", str(page))
    with pytest.raises(QueryError, match="no marks"):
        args.run(args)

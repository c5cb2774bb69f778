"""A whole evaluation: from the shell, stage beside stage, cut and gone on with."""

import argparse
import gzip
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from PIL import Image

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import new_record
from napari_pathreason.models import FixedAllocator
from napari_pathreason.training import (
    Sample,
    add_evaluate_parser,
    add_train_parser,
    read_samples,
    write_samples,
)
from napari_pathreason.training.evaluation import EvaluationPlan, evaluate, pick
from tests.support import make_tiny_checkpoint


def _parse(*words):
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    add_train_parser(commands)
    add_evaluate_parser(commands)
    return parser.parse_args(words)


def test_evaluate_from_the_shell_writes_table_rows_and_items(
    converted, tmp_path, capsys, monkeypatch
):
    def one_of_each_task(samples, per_topic, seed):
        return list({sample.task: sample for sample in pick(samples, per_topic, seed)}.values())

    monkeypatch.setattr("napari_pathreason.training.evaluation._evaluation.pick", one_of_each_task)
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluator.MAX_NEW_TOKENS", 8
    )  # an untrained model writes on and on
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
    assert {"score", "tokens", "flops", "seconds", "share_of_native"} <= set(rows[0])
    assert all(({"low", "high"} <= set(row)) == (row["n"] > 1) for row in rows)
    assert all(row["text_only"] <= 1 and row["constant"] <= 1 for row in rows)
    (whole,) = [r for r in rows if r["task"] == r["topic"] == "all" and r["budget"] == "native"]
    assert whole["share_of_native"] == 1
    assert whole["megabytes"] > 0
    assert {row["task"] for row in rows} == {"vqa", "subtyping", "detection", "all"}
    assert figures["targets"] == figures["groups"] == []
    assert capsys.readouterr().out.strip() == (tmp_path / "t.md").read_text().strip()
    items = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert len(items) == 7 * whole["n"]  # the model in three ways at two budgets, constant
    assert all(item["reply"] and item["question"] is not None for item in items)
    assert all(item["size"] != [0, 0] for item in items if item["condition"] == "model")


def _plan(monkeypatch, performer, data, *args, **kwargs):
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", lambda *_: models
    )
    return EvaluationPlan("x", data, *args, **kwargs)


def test_targets_and_groups_stand_in_the_tables_where_they_are_given(
    converted, tmp_path, monkeypatch, always
):
    data = converted / "test.jsonl"
    goals, table = tmp_path / "goals.yaml", tmp_path / "slides.csv"
    goals.write_text("- {name: half of all, topic: presence of white cells, bound: 0.5}")
    files = sorted({s.image for s in read_samples(data) if s.source == "blood"})
    rows = [f"{(converted / file).resolve()},slide {n % 2}" for n, file in enumerate(files)]
    table.write_text("\n".join(["image,slide", *rows]))
    performer = always("<think></think><answer>yes</answer>")
    plan = _plan(monkeypatch, performer, data, (4,), 50, blank=False)
    report = evaluate(replace(plan, goals=goals, groups=(table, "slide")))
    told = json.loads(report.json)
    (target,) = told["targets"]
    assert target["name"] == "half of all"
    assert "half of all" in report.markdown
    assert {row["group"] for row in told["groups"]} <= {"slide 0", "slide 1"}
    assert len(files) < 2 or "By slide" in report.markdown
    assert "over slide where the pictures have one" in report.markdown
    with pytest.raises(QueryError, match="needs the columns image and patient"):
        evaluate(replace(plan, groups=(table, "patient")))
    table.write_text("image,slide\nelsewhere.png,1")
    with pytest.raises(QueryError, match="names none of the pictures"):
        evaluate(replace(plan, groups=(table, "slide")))
    with pytest.raises(QueryError, match="cannot be read"):
        evaluate(replace(plan, groups=(tmp_path / "none.csv", "slide")))


def test_stages_of_training_stand_side_by_side(converted, tmp_path, monkeypatch, always):
    words = {"sft": "no", "grpo": "yes"}
    data = converted / "val.jsonl"
    files = []
    for stage, word in words.items():
        performer = always(f"<think></think><answer>{word}</answer>")
        models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
        monkeypatch.setattr(
            "napari_pathreason.training.evaluation._evaluation.load_models",
            lambda *_, models=models: models,
        )
        plan = EvaluationPlan("x", data, (4,), 2, stage=stage, earlier=tuple(files))
        report = evaluate(plan)
        files.append(tmp_path / f"{stage}.json")
        files[-1].write_text(report.json)
    rows = json.loads(files[-1].read_text())["rows"]
    found = {r["stage"]: r["score"] for r in rows if r["task"] == "vqa" and r["topic"] == "all"}
    assert set(found) == set(words)
    assert found["sft"] != found["grpo"]
    (line,) = [x for x in report.markdown.splitlines() if x.startswith("| vqa | 4 |")]
    assert line.index(f"{found['sft']:.3f}") < line.index(f"{found['grpo']:.3f}")
    other = EvaluationPlan("x", data, (4,), 1, earlier=tuple(files))
    with pytest.raises(QueryError, match="other questions"):
        evaluate(other)
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(QueryError, match=r"none\.json is no result"):
        evaluate(EvaluationPlan("x", data, (4,), 1, earlier=(tmp_path / "none.json",)))


def test_a_cut_run_keeps_its_answers(converted, tmp_path, monkeypatch, always):
    performer = always("<think></think><answer>yes</answer>")
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", lambda *_: models
    )
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.constant_items", lambda *_: iter(())
    )
    given, generate = tmp_path / "items.jsonl", performer.generate

    def cut(*args):
        if performer.asked == 3:
            raise KeyboardInterrupt
        return generate(*args)

    performer.generate = cut
    plan = EvaluationPlan("x", converted / "val.jsonl", (4,), 1, items=given)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan)
    assert len(given.read_text().splitlines()) == 3


@pytest.mark.slow
def test_known_answers_are_not_asked_again(converted, tmp_path, monkeypatch, batching):
    performer = batching()
    models = SimpleNamespace(performer=performer, allocator=FixedAllocator())
    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", lambda *_: models
    )
    first = tmp_path / "first.jsonl"
    plan = EvaluationPlan("x", converted / "val.jsonl", (4, 64), 2, items=first, together=3)
    report = evaluate(plan)
    lines = first.read_text().splitlines()
    asked = performer.asked
    again = evaluate(replace(plan, items=tmp_path / "again.jsonl", known=first))
    assert again.json == report.json
    assert performer.asked == asked
    assert (tmp_path / "again.jsonl").read_text().splitlines() == lines

    packed = tmp_path / "first.jsonl.gz"
    packed.write_bytes(gzip.compress(first.read_bytes()))
    assert evaluate(replace(plan, items=None, known=packed)).json == report.json
    assert performer.asked == asked
    packed.write_bytes(packed.read_bytes()[:99])
    with pytest.raises(QueryError, match="no record"):
        evaluate(replace(plan, items=None, known=packed))

    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[:-1]))
    scores = [row.values["score"] for row in report.rows]
    whole = evaluate(replace(plan, items=None, known=cut))
    assert [row.values["score"] for row in whole.rows] == scores
    assert asked < performer.asked < 2 * asked
    with pytest.raises(QueryError, match="other questions"):
        evaluate(replace(plan, per_topic=1, known=first))
    with pytest.raises(QueryError, match="no record"):
        evaluate(replace(plan, known=tmp_path / "none.jsonl"))


def _changed(file, out, change):
    lines = map(json.loads, file.read_text().splitlines())
    out.write_text("\n".join(json.dumps(change(line)) for line in lines))
    return out


@pytest.mark.slow
def test_kept_scores_are_never_trusted(converted, tmp_path, monkeypatch, always):
    """They are reckoned from what was written, whatever stands beside it in the record."""
    performer = always(
        '<think>throughout: tumour</think><answer>[{"bbox_2d":[0,0,900,900],"label":"tumour"}]'
        "</answer>"
    )
    first = tmp_path / "first.jsonl"
    plan = _plan(monkeypatch, performer, converted / "test.jsonl", (4, 64), 4, items=first)
    report = evaluate(plan)
    asked = performer.asked

    def lie(line):
        wrong = {"score": 1.0 - line["score"], "answer": "lies", "truth": "lies", "confirmed": 9}
        return line | wrong | {"cited": 9, "shuffled": 0, "well_formed": False, "truth_boxes": []}

    lies = _changed(first, tmp_path / "lies.jsonl", lie)
    told = tmp_path / "told.jsonl"
    again = evaluate(replace(plan, items=told, known=lies))
    assert performer.asked == asked
    assert again.json == report.json
    assert told.read_text() == first.read_text()


def test_a_reply_in_the_record_is_parsed_anew(converted, tmp_path, monkeypatch, always):
    performer = always("<think></think><answer>yes</answer>")
    first = tmp_path / "first.jsonl"
    plan = _plan(
        monkeypatch, performer, converted / "test.jsonl", (4,), 4, blank=False, items=first
    )
    evaluate(plan)
    asked = performer.asked

    def other(line):
        return line | {"reply": line["reply"].replace("yes", "no")}

    known = _changed(first, tmp_path / "other.jsonl", other)
    evaluate(replace(plan, items=tmp_path / "again.jsonl", known=known))
    again = [json.loads(line) for line in (tmp_path / "again.jsonl").read_text().splitlines()]
    answers = {i["answer"] for i in again if i["condition"] == "model" and "yes" in i["choices"]}
    assert answers == {"no"}
    assert performer.asked == asked


def test_what_kept_items_lack_is_said_and_asked_for_again(
    converted, tmp_path, monkeypatch, always, capsys
):
    performer = always("<think></think><answer>yes</answer>")
    first = tmp_path / "first.jsonl"
    plan = _plan(monkeypatch, performer, converted / "val.jsonl", (4,), 2, blank=False, items=first)
    report = evaluate(plan)
    lines, asked = first.read_text().splitlines(), performer.asked

    def older(line):
        known = line["index"] % 2
        return {k: v for k, v in line.items() if known or k not in ("reply", "question", "boxes")}

    old = _changed(first, tmp_path / "old.jsonl", older)
    capsys.readouterr()
    again = evaluate(replace(plan, items=tmp_path / "again.jsonl", known=old))
    assert [r.values["score"] for r in again.rows] == [r.values["score"] for r in report.rows]
    lacking = sum("reply" not in line for line in map(json.loads, old.read_text().splitlines()))
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "old.jsonl" in line]
    assert f"{lacking} of {len(lines)} kept answers lack the question, reply, boxes" in said
    assert asked < performer.asked < 2 * asked


def test_auto_is_no_rung(converted):
    args = _parse(
        "evaluate", "embedded", "--data", str(converted / "val.jsonl"), "--budgets", "auto"
    )
    with pytest.raises(QueryError, match="budgets"):
        args.run(args)


def test_a_page_without_marks_is_refused_before_anything_is_asked(converted, tmp_path):
    page = tmp_path / "card.md"
    page.write_text("Words.")
    args = _parse("evaluate", "no model", "--data", "no data", "--card", str(page))
    with pytest.raises(QueryError, match="no marks"):
        args.run(args)


@pytest.fixture
def own_data(converted, tmp_path):
    """Samples with pictures of their own, which a test may change."""
    folder = tmp_path / "data"
    folder.mkdir()
    samples = []
    for number, sample in enumerate(read_samples(converted / "val.jsonl")[:6]):
        name = f"{number}.png"
        Image.new("RGB", (64, 64), (40 * number, 90, 120)).save(folder / name)
        samples.append(
            Sample(image=name, task="vqa", question="Is it?", answer="yes", choices=("yes", "no"),
                   source=sample.source)
        )  # fmt: skip
    write_samples(folder / "val.jsonl", samples)
    return folder


def swap_picture(folder):
    other = folder / "other.png"
    Image.new("RGB", (64, 64), (250, 20, 30)).save(other)
    other.replace(folder / "1.png")


def test_no_known_answer_is_of_another_picture(own_data, tmp_path, monkeypatch, always, capsys):
    performer = always("<think></think><answer>yes</answer>")
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    plan = _plan(
        monkeypatch, performer, own_data / "val.jsonl", (4,), None, blank=False, items=first
    )
    evaluate(plan)
    asked = performer.asked
    swap_picture(own_data)
    capsys.readouterr()
    evaluate(replace(plan, items=again, known=first))
    assert performer.asked == asked + 1
    said = capsys.readouterr().err
    assert "first.jsonl: 2 of 12 kept answers are of another model or to other pictures" in said
    changed = [
        json.loads(line)["index"]
        for line, former in zip(
            again.read_text().splitlines(), first.read_text().splitlines(), strict=True
        )
        if json.loads(line)["of"] != json.loads(former)["of"]
    ]
    assert len(changed) == 2  # the model's and the constant one, of one question
    assert len(set(changed)) == 1


def test_no_known_answer_is_of_another_model(own_data, tmp_path, monkeypatch, always, capsys):
    performer = always("<think></think><answer>yes</answer>")
    first = tmp_path / "first.jsonl"
    plan = _plan(
        monkeypatch, performer, own_data / "val.jsonl", (4,), None, blank=False, items=first
    )
    for name in ("a", "b"):
        make_tiny_checkpoint(tmp_path / name)
    (tmp_path / "b" / "generation_config.json").write_text('{"temperature": 0.5}')
    evaluate(replace(plan, model=str(tmp_path / "a")))
    asked = performer.asked
    capsys.readouterr()
    known = {"known": first, "items": None}
    evaluate(replace(plan, model=str(tmp_path / "a"), **known))
    assert (performer.asked, capsys.readouterr().err.count("kept answers")) == (asked, 0)
    evaluate(replace(plan, model=str(tmp_path / "b"), **known))
    assert performer.asked == 2 * asked
    assert "6 of 12 kept answers are of another model" in capsys.readouterr().err


def test_a_record_that_does_not_say_its_model_is_taken_with_a_word(
    own_data, tmp_path, monkeypatch, always, capsys
):
    performer = always("<think></think><answer>yes</answer>")
    first = tmp_path / "first.jsonl"
    plan = _plan(
        monkeypatch, performer, own_data / "val.jsonl", (4,), None, blank=False, items=first
    )
    evaluate(plan)
    asked = performer.asked
    older = _changed(
        first, tmp_path / "old.jsonl", lambda line: {k: v for k, v in line.items() if k != "of"}
    )
    capsys.readouterr()
    evaluate(replace(plan, items=None, known=older))
    assert performer.asked == asked
    assert "12 of 12 kept answers do not say of which model and pictures" in capsys.readouterr().err


def test_stages_about_other_pictures_are_refused(own_data, tmp_path, monkeypatch, always):
    performer = always("<think></think><answer>yes</answer>")
    plan = _plan(monkeypatch, performer, own_data / "val.jsonl", (4,), None, blank=False)
    report, file = evaluate(plan), tmp_path / "first.json"
    file.write_text(report.json)
    assert evaluate(replace(plan, earlier=(file,))).earlier
    older = json.loads(report.json)
    del older["about"]["pictures_sha256"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    notes = evaluate(replace(plan, earlier=(tmp_path / "older.json",))).notes
    assert "older.json does not say which pictures it is of." in notes
    swap_picture(own_data)
    with pytest.raises(QueryError, match="about other pictures"):
        evaluate(replace(plan, earlier=(file,)))


def test_a_picture_that_is_replaced_while_it_is_evaluated_ends_it(
    own_data, tmp_path, monkeypatch, always
):
    performer = always("<think></think><answer>yes</answer>")
    plan = _plan(monkeypatch, performer, own_data / "val.jsonl", (4,), None, blank=False)
    load = SimpleNamespace(performer=performer, allocator=FixedAllocator())

    def load_models(*_):
        swap_picture(own_data)
        return load

    monkeypatch.setattr(
        "napari_pathreason.training.evaluation._evaluation.load_models", load_models
    )
    with pytest.raises(QueryError, match="its input was changed: other pictures"):
        evaluate(plan)


def test_two_evaluations_do_not_write_one_record(own_data, tmp_path, monkeypatch, always):
    performer = always("<think></think><answer>yes</answer>")
    items = tmp_path / "items.jsonl"
    items.write_text("of the former one\n")
    plan = _plan(
        monkeypatch, performer, own_data / "val.jsonl", (4,), None, blank=False, items=items
    )
    with new_record(tmp_path / "other.jsonl") as mine:
        mine.write("mine\n")
        mine.flush()
        with pytest.raises(ExportError, match=r"another process is writing other\.jsonl"):
            evaluate(replace(plan, items=tmp_path / "other.jsonl"))
    assert (tmp_path / "other.jsonl").read_text() == "mine\n"
    evaluate(plan)
    assert len(items.read_text().splitlines()) == 12


@pytest.mark.parametrize("option", ["--items", "--json", "--markdown", "--card", "--figure"])
@pytest.mark.parametrize("file", ["val.jsonl", "train.jsonl", "model/config.json"])
def test_no_result_is_written_over_what_is_read(own_data, tmp_path, option, file):
    make_tiny_checkpoint(own_data / "model")
    (own_data / "train.jsonl").write_bytes((own_data / "val.jsonl").read_bytes())
    before = (own_data / file).read_bytes()
    words = ("evaluate", str(own_data / "model"), "--data", str(own_data / "val.jsonl"))
    args = _parse(*words, option, str(own_data / file))
    with pytest.raises(ExportError, match="is read by this command"):
        args.run(args)
    args = _parse(*words, "--json", str(tmp_path / "a"), "--items", str(tmp_path / "a"))
    with pytest.raises(ExportError, match="two results would be written to a"):
        args.run(args)
    assert (own_data / file).read_bytes() == before

"""What a folder of samples holds in tables and pictures, and the samples for other trainers."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import (
    ExportPlan,
    convert,
    draw_sheet,
    export_samples,
    summarise,
)
from napari_pathreason.training.grpo import make_reward

ROOT = Path(__file__).parents[3]


@pytest.fixture
def data(tmp_path, save):
    """Six patients of three pictures, of two classes; glands boxed beside them."""
    rows, boxes = ["image,label,patient,mpp"], ["image,boxes,label,patient"]
    for number in range(18):
        save(tmp_path / f"classes/{number}.png", (96, 64), (200 - 5 * number, 100, 150))
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number // 3},0.5")
        save(tmp_path / f"glands/{number}.png", (128, 64))
        boxes.append(f'{number}.png,"[[8, 16, 40, 48]]",gland,p{number // 3}')
    (tmp_path / "classes/labels.csv").write_text("\n".join(rows))
    (tmp_path / "glands/labels.csv").write_text("\n".join(boxes))
    convert([tmp_path / "classes", tmp_path / "glands"], tmp_path / "data")
    return tmp_path / "data"


def _cells(markdown):
    rows = (line.strip("| ").split(" | ") for line in markdown.splitlines() if line[:2] == "| ")
    return {(row[0], row[1]): row[2:] for row in rows}


def test_a_summary_counts_classes_by_split(data):
    summary = summarise(data)
    cells = _cells(summary.markdown)
    assert cells["question", "answer"] == ["train", "val", "test"]
    assert cells["pictures", "groups"] == ["8", "2", "2"]
    assert cells["pictures", "number"] == ["24", "6", "6"]
    assert cells["pictures", "long side, px"][0] == "96 to 128 (median 112)"
    assert cells["pictures", "µm per pixel"] == ["0.5 (of 12)", "0.5 (of 3)", "0.5 (of 3)"]
    assert cells["glands: boxes", "boxes"] == ["12", "3", "3"]
    classes = [list(map(int, cells["classes", name])) for name in "ab"]
    assert np.sum(classes, 0).tolist() == [12, 3, 3]
    assert any(
        "val has fewer than 10 questions with 3 of the 3 answers" in text
        for text in summary.warnings
    )


def test_a_summary_warns_of_what_makes_scores_untrue(data):
    lines = (data / "train.jsonl").read_text().splitlines()
    (data / "val.jsonl").write_text("\n".join(lines[:4]))
    only_a = [line for line in lines if '"answer":"a"' in line]
    (data / "train.jsonl").write_text("\n".join(only_a))
    warnings = summarise(data).warnings
    assert any("pictures lie in more than one split" in text for text in warnings)
    assert any(text.startswith("train has none of: b (classes)") for text in warnings)


def test_a_contact_sheet_shows_every_class_and_its_boxes(data, tmp_path):
    assert draw_sheet(data, tmp_path / "sheet.png") == 0
    with Image.open(tmp_path / "sheet.png") as file:
        sheet = np.asarray(file.convert("RGB"))
    assert sheet.shape[0] > 3 * 112
    assert (sheet == (0, 160, 60)).all(-1).sum() > 200  # outlines of boxes
    first = json.loads((data / "train.jsonl").read_text().splitlines()[0])["image"]
    (data / first).resolve().unlink()
    assert summarise(data)
    (data / "train.jsonl").write_text((data / "train.jsonl").read_text().splitlines()[0])
    assert draw_sheet(data, tmp_path / "broken.png") == 1


def test_convert_ends_with_both(tmp_path, data, capsys):
    assert main(["data", "convert", str(tmp_path / "classes"), "-o", str(tmp_path / "o")]) == 0
    assert "| question | answer | train | val | test |" in capsys.readouterr().out
    assert (tmp_path / "o/contact_sheet.png").is_file()
    assert main(["data", "summary", str(data), "--sheet", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").is_file()
    assert main(["data", "summary", str(tmp_path / "classes")]) == 2
    assert "holds no samples" in capsys.readouterr().err


def test_messages_are_what_the_converter_reads_again(data, tmp_path, run):
    done = export_samples(data, tmp_path / "chats", ExportPlan(budgets={4: 1.0}))
    assert done.counts == {"train": 24, "val": 6, "test": 6}
    record = json.loads((tmp_path / "chats/train.jsonl").read_text().splitlines()[0])
    assert record["messages"][0]["content"].startswith("<image>")
    assert record["solution"].startswith("<answer>(")
    again = run(tmp_path / "chats")
    assert again.kind == "messages"
    for split, samples in again.samples.items():
        before = read_samples(data / f"{split}.jsonl")
        assert [(s.answer, s.choices, s.group, len(s.boxes)) for s in samples] == [
            (s.answer, s.choices, s.group, len(s.boxes)) for s in before
        ]
    found = next(s for s in again.samples["train"] if s.task == "detection")
    height, width = again.pixels(found).shape[:2]
    assert width * height <= 4 * 32**2
    x1, y1, x2, y2 = found.boxes[0].corners
    shares = (x1 / width, y1 / height, x2 / width, y2 / height)
    assert np.allclose(shares, (8 / 128, 16 / 64, 40 / 128, 48 / 64), atol=0.02)


def test_answers_stand_in_an_assistants_turn_where_they_are_wanted(data, tmp_path):
    plan = ExportPlan(budgets={4: 1.0}, answers=True, box_space="relative")
    export_samples(data, tmp_path / "chats", plan)
    records = map(json.loads, (tmp_path / "chats/val.jsonl").read_text().splitlines())
    for record in records:
        user, assistant = record["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert assistant["content"] == record["solution"]
        if "gland" in record["solution"]:
            assert json.loads(record["solution"][8:-9])[0]["bbox_2d"] == [62, 250, 312, 750]


def test_the_hubs_library_reads_pictures_and_columns(data, tmp_path):
    datasets = pytest.importorskip("datasets", reason="comes with trl, of the dev group")
    main(
        [
            *("data", "export", str(data), "-o", str(tmp_path / "hub"), "--to", "huggingface"),
            *("--budgets", "4:1,6:3", "--box-space", "relative"),
        ]
    )
    found = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in found.items()} == {
        "train": 24,
        "validation": 6,
        "test": 6,
    }
    samples = read_samples(data / "train.jsonl")
    tokens = set()
    for row, sample in zip(found["train"], samples, strict=True):
        (picture,) = row["images"]
        assert picture.size[0] * picture.size[1] == row["visual_tokens"] * 32**2
        tokens.add(row["visual_tokens"])
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
        assert row["answer"] == sample.answer
        assert tuple(row["choices"]) == sample.choices
        assert row["completion"][0]["content"].startswith("<answer>")
        if sample.boxes:
            assert row["boxes"][0]["bbox_2d"] == pytest.approx([62.5, 250, 312.5, 750])
    assert len(tokens) > 1


@pytest.mark.parametrize("words", ["0", "4:-1", "many", "4:x"])
def test_budgets_that_mean_nothing_are_refused(data, tmp_path, words, capsys):
    with pytest.raises(SystemExit):
        main(["data", "export", str(data), "-o", str(tmp_path / "x"), "--budgets", words])
    assert "budget" in capsys.readouterr().err


def test_an_export_never_goes_over_the_samples(data):
    before = (data / "train.jsonl").read_bytes()
    with pytest.raises(QueryError, match="choose another folder"):
        export_samples(data, data, ExportPlan())
    assert (data / "train.jsonl").read_bytes() == before


@pytest.mark.parametrize("space", ["relative", "resized"])
def test_what_is_exported_is_rewarded_as_here(data, tmp_path, space):
    datasets = pytest.importorskip("datasets", reason="comes with trl, of the dev group")
    export_samples(data, tmp_path / "hub", ExportPlan("huggingface", {6: 1.0}, box_space=space))
    rows = datasets.load_dataset(
        str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    asked = [row["prompt"][-1]["content"] for row in rows if row["task"] == "detection"]
    assert asked
    assert all(("pixels of the picture" in text) == (space == "resized") for text in asked)
    reward = make_reward("task", format_weight=0.5, box_space=space)
    right = [row["completion"] for row in rows]
    columns = rows.remove_columns(["completion", "prompt"])[:]
    assert reward(right, **columns) == pytest.approx([1.0] * len(right), abs=0.1)
    thought = [f"<think>so</think>{turns[0]['content']}" for turns in right]
    assert reward(thought, **columns) == pytest.approx([1.5] * len(right), abs=0.1)
    assert max(reward(["<answer>none of it</answer>"] * len(right), **columns)) == 0.0
    sizes = columns.pop("picture_size")
    assert reward(right, **columns) == reward(right, picture_size=sizes, **columns)
    with pytest.raises(ValueError, match="take one of task, paper"):
        make_reward("mine")


@pytest.fixture
def swift(monkeypatch):
    """What ms-swift's file of rewards offers to files of others."""

    class ORM:
        def __init__(self, args=None, **kwargs):
            self.args = args

    rewards = ModuleType("swift.rewards")
    rewards.ORM, rewards.orms = ORM, {}
    monkeypatch.setitem(sys.modules, "swift", ModuleType("swift"))
    monkeypatch.setitem(sys.modules, "swift.rewards", rewards)
    return rewards


@pytest.mark.parametrize("space", ["relative", "resized"])
def test_the_file_for_ms_swift_rewards_what_is_exported(data, tmp_path, swift, monkeypatch, space):
    monkeypatch.setenv("PATHREASON_BOX_SPACE", space)
    runpy.run_path(str(ROOT / "recipes/ms_swift_rewards.py"))
    export_samples(data, tmp_path / "chats", ExportPlan(budgets={6: 1.0}, box_space=space))
    lines = (tmp_path / "chats/train.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["task"] for record in records} >= {"detection"}
    columns = {name: [r[name] for r in records] for name in records[0] if name != "group"}
    right = [f"<think>so</think>{record['solution']}" for record in records]
    for name in ("pathreason", "pathreason_paper"):
        reward = swift.orms[name](args=None)
        found = reward(right, trainer_state=None, **columns)
        assert found == pytest.approx([1.5] * len(right), abs=0.1)
        assert max(reward(["<answer>none of it</answer>"] * len(right), **columns)) == 0.0


def test_an_export_never_goes_over_other_samples_and_names_what_is_left(data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    before = (other / "train.jsonl").read_bytes()
    with pytest.raises(QueryError, match="the folder other holds samples of this project"):
        export_samples(data, other, ExportPlan())
    assert (other / "train.jsonl").read_bytes() == before
    out = tmp_path / "chats"
    assert not export_samples(other, out, ExportPlan()).notes[1:]
    (other / "test.jsonl").unlink()
    notes = export_samples(other, out, ExportPlan()).notes
    assert any(
        "test.jsonl is of an earlier export: test has no samples any more" in n for n in notes
    )

"""Lines of samples that are none: said in one line that names them."""

import json
from pathlib import Path

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training import read_samples

LINE = {
    "image": "a.png",
    "task": "vqa",
    "question": "Is it?",
    "answer": "yes",
    "choices": ["yes", "no"],
    "source": "made",
}


def line_of(**values) -> str:
    return json.dumps({**LINE, **values})


def box_of(*corners, label: str = "cell") -> str:
    boxes = [{"label": label, "corners": corners}]
    return line_of(task="detection", answer="", choices=["cell"], boxes=boxes)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("null", "valid dictionary"),
        (json.dumps({**LINE, "image": 5}), "image"),
        (json.dumps({**LINE, "question": "\ud800?"}), "can.t encode character"),
        (json.dumps({**LINE, "task": "\x1b[2J"}), "task: "),
        ("[" * 100_000, "recursion"),
        (line_of(answer="maybe"), "the answer 'maybe' is none of yes, no"),
        (line_of(answer=""), "give the question's answer"),
        (line_of(question=" "), "give a question"),
        (line_of(choices=["yes", "yes"]), "choices must be different words"),
        (line_of(choices=["yes", ""]), "choices must be different words"),
        (line_of(region=[-5, 0, 10, 10]), "region.0"),
        (line_of(region=[0, 0, 0, 10]), "region.2"),
        (line_of(region=[0, 0, 10**30, 1]), "region.2"),
        (line_of(region=[True, True, True, True]), "region.0"),
        (line_of(region=["0", 0, 4, 4]), "region.0"),
        (line_of(views=[[0, 0, 4, 0]]), "views.0.region.3"),
        (line_of(mpp=True), "mpp"),
        (line_of(image=""), "image must be files"),
        (line_of(image="a\0.png"), "image must be files"),
        (line_of(image=[]), "image must be a file, or rows"),
        (line_of(image=[["a", "b"], ["c"]]), "image must be a file, or rows"),
        (line_of(image=[["a.png#xywh=0,0,x,4"]]), "image must be files"),
        (line_of(image=[["a.png#xywh=0,0,0,4"]]), "image must be files"),
        (box_of(5, 5, 0, 0), "x1 below x2"),
        (box_of(1, 1, 1, 4), "x1 below x2"),
        (box_of(float("nan"), 0, 1, 1), "x1 below x2"),
        (box_of(0, 0, float("inf"), 1), "x1 below x2"),
        (box_of("0", 0, 1, 1), "corners.0"),
        (box_of(True, 0, 4, 4), "corners.0"),
        (box_of(0, 0, 4, 4, label="other"), "a box of 'other', which is none of cell"),
        (box_of(0, 0, 4, 4, label=" "), "a box without a label"),
        (json.dumps(LINE)[:-1] + ', "image": "b.png"}', "'image' stands twice"),
        ("{", "Expecting"),
    ],
)
def test_a_line_that_is_no_sample_is_named(tmp_path: Path, line: str, says: str):
    path = tmp_path / "train.jsonl"
    path.write_text(f"{json.dumps(LINE)}\n{line}\n")
    with pytest.raises(QueryError, match=rf"train\.jsonl, line 2: .*{says}") as caught:
        read_samples(path)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mark_of_utf_8_is_no_fault(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(LINE).encode())
    assert [sample.question for sample in read_samples(path)] == ["Is it?"]


@pytest.mark.parametrize(
    "line",
    [
        line_of(answer="I cannot tell"),
        line_of(choices=[], answer="in the upper half"),
        line_of(region=[0, 0, 1, 1], mpp=0.25),
        line_of(image=[["a.png#xywh=0,0,64,64", "b.png"]]),
        box_of(-5, 0.5, 4, 4),
        line_of(task="detection", question="", answer="", choices=["cell"], boxes=[]),
    ],
)
def test_lines_that_are_right(tmp_path: Path, line: str):
    (tmp_path / "train.jsonl").write_text(line + "\n")
    (sample,) = read_samples(tmp_path / "train.jsonl")
    whole = json.loads(sample.model_dump_json(exclude_defaults=True))
    assert {key: whole[key] for key in ("image", "task")} == {
        key: json.loads(line)[key] for key in ("image", "task")
    }

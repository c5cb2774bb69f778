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


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("null", "valid dictionary"),
        (json.dumps({**LINE, "image": 5}), "image"),
        (json.dumps({**LINE, "question": "\ud800?"}), "can.t encode character"),
        (json.dumps({**LINE, "task": "\x1b[2J"}), "task: "),
        ("[" * 100_000, "recursion"),
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

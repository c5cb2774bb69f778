"""PathVQA, Quilt-VQA, PathMMU: miniatures of what the hub has."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import Options, convert


def _encoded(number, kind="JPEG", mode="RGB"):
    pixels = np.full((40, 50, 3), 20 * number, np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


def _shard(path, rows, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": data, "path": None} for data, *_ in rows]
    table = {"image": images, "question": [r[1] for r in rows], "answer": [r[2] for r in rows]}
    pq.write_table(pa.table({**table, **columns}), path, row_group_size=2)


@pytest.fixture
def pathvqa(tmp_path):
    root = tmp_path / "path-vqa"
    rows = [
        (_encoded(1), "is there tumour?", "yes"),
        (_encoded(1), "what is shown?", "a gland"),
        (_encoded(2), "where are the nuclei?", "at the edge"),
        (_encoded(1), "are nuclei seen?", "no"),
        (_encoded(3, "TIFF"), "what stain is it?", "h&e"),
    ]
    _shard(root / "data/train-00000-of-00002-ab.parquet", rows[:3])
    _shard(root / "data/train-00001-of-00002-ab.parquet", rows[3:])
    _shard(root / "data/validation-00000-of-00001-ab.parquet", [(_encoded(4), "is it?", "yes")])
    _shard(root / "data/test-00000-of-00001-ab.parquet", [(_encoded(5), "is it?", "no")])
    return root


def test_pathvqa_writes_each_picture_once_with_all_its_questions(pathvqa, run, tmp_path):
    done = run(pathvqa)
    assert done.kind == "pathvqa"
    assert done.notes == ""
    assert [len(samples) for samples in done.samples.values()] == [5, 1, 1]
    assert len(done.images("train")) == 3
    files = sorted((tmp_path / "out/images/train").iterdir())
    assert sorted(path.suffix for path in files) == [".jpg", ".jpg", ".png"]
    assert _encoded(1) in [path.read_bytes() for path in files]  # byte for byte
    told = {s.question: s for s in done.all}
    assert told["is there tumour?"].choices == ("yes", "no")
    assert told["what is shown?"].choices == ()
    assert told["what is shown?"].image == told["are nuclei seen?"].image
    assert done.pixels(told["where are the nuclei?"])[0, 0, 0] == 40
    assert done.pixels(told["what stain is it?"])[0, 0, 0] == 60


def test_pathvqa_a_picture_of_two_splits_is_said(pathvqa, run):
    _shard(pathvqa / "data/test-00000-of-00001-ab.parquet", [(_encoded(1), "is it?", "no")])
    assert "1 picture lies in more than one published split" in run(pathvqa).notes


def test_pathvqa_as_pickles_is_refused_unread(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = tmp_path / "pvqa/qas/train"
    folder.mkdir(parents=True)
    (folder / "train_qa.pkl").write_bytes(pickle.dumps(Bomb()))
    for source in (tmp_path, tmp_path / "pvqa"):
        with pytest.raises(QueryError, match="pickles is refused"):
            convert(source, tmp_path / "o")
    assert not (tmp_path / "ran").exists()


def test_broken_archives_are_named(pathvqa, tmp_path):
    _shard(pathvqa / "data/test-00000-of-00001-ab.parquet", [(b"no picture", "is it?", "no")])
    with pytest.raises(QueryError, match=r"no samples for test .*test-00000.*, row 0 of group 0"):
        convert(pathvqa, tmp_path / "o")
    (pathvqa / "data/test-00000-of-00001-ab.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(QueryError, match=r"test-00000.*download it again"):
        convert(pathvqa, tmp_path / "o")


QUILT = [
    {
        "id": 0,
        "image": "-1XuhqSPRkg_image_1.jpg",
        "question": "Is the pattern helpful?",
        "answer": "Yes, the pattern of the infiltrate is helpful.",
        "answer_type": "CLOSED",
    },
    {
        "id": 1,
        "image": "-1XuhqSPRkg_image_1.jpg",
        "question": "What is seen?",
        "answer": "No atypia, but a dense infiltrate.",
        "answer_type": "OPEN",
    },
]


def test_quiltvqa_is_test_and_a_closed_answer_is_its_first_word(tmp_path, run, save):
    root = tmp_path / "Quilt_VQA"
    save(root / "quilt_vqa/-1XuhqSPRkg_image_1.jpg")
    lost = {**QUILT[0], "image": "gone.jpg"}
    (root / "quiltvqa_test_w_ans.json").write_text(json.dumps([*QUILT, lost]))
    done = run(root)
    assert done.kind == "quiltvqa"
    assert "1 pictures are not in the folder" in done.notes
    assert [len(samples) for samples in done.samples.values()] == [0, 0, 2]
    closed, free = done.samples["test"]
    assert (closed.answer, closed.choices) == ("yes", ("yes", "no"))
    assert (free.answer, free.choices) == ("No atypia, but a dense infiltrate.", ())


def test_quiltvqa_as_parquet_needs_its_name_and_is_test_as_well(tmp_path, run):
    root = tmp_path / "Quilt_VQA"
    rows = [(_encoded(1, "PNG"), q["question"], q["answer"]) for q in QUILT]
    types = [q["answer_type"] for q in QUILT]
    _shard(root / "data/train-00000-of-00001.parquet", rows, answer_type=types)
    done = run(root, kind="quiltvqa")
    assert [len(samples) for samples in done.samples.values()] == [0, 0, 2]
    assert [s.answer for s in done.all] == ["yes", QUILT[1]["answer"]]


def _question(name, answer="B) A tumour"):
    return {
        "No": 1,
        "img": name,
        "question": "What is shown?",
        "options": ["A) Two-lobed nuclei (many)", "B) A tumour", "C) Nothing"],
        "answer": answer,
        "explanation": "not used",
    }


def test_pathmmu_takes_the_letters_off_and_keeps_its_splits(tmp_path, run, save):
    root = tmp_path / "PathMMU"
    for name in ("a.jpg", "b.png", "c.jpg"):
        save(root / "images" / name)
    data = {
        "PubMed": {"val": [_question("a.jpg")], "test": [_question("b.png", "A) whatever")]},
        "Atlas": {"test_tiny": [_question("c.jpg"), _question("c.jpg"), _question("gone.jpg")]},
    }
    (root / "data.json").write_text(json.dumps(data))
    done = run(root)
    assert done.kind == "pathmmu"
    assert "1 pictures are not in the folder" in done.notes
    assert [len(samples) for samples in done.samples.values()] == [0, 1, 2]
    (val,), (test, tiny) = done.samples["val"], done.samples["test"]
    assert val.choices == ("Two-lobed nuclei (many)", "A tumour", "Nothing")
    assert (val.answer, test.answer, tiny.answer) == (
        "A tumour",
        "Two-lobed nuclei (many)",
        "A tumour",
    )
    assert {s.topic for s in done.all} == {"pathmmu: PubMed", "pathmmu: Atlas"}


def test_pathmmu_with_another_form_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    for answer in ("D) none of them", "A"):
        question = {**_question("a.jpg", answer), "options": ["A) x"] * (answer != "A")}
        (tmp_path / "data.json").write_text(json.dumps({"Atlas": {"val": [question]}}))
        with pytest.raises(QueryError, match="not as PathMMU publishes it"):
            convert(tmp_path, tmp_path / "o", Options())

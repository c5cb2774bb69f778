"""The paper's public format reads unmodified: the published examples, and what they leave open."""

import json

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import Options, convert
from napari_pathreason.training.convert.sets import choices_in, chosen

QUESTION = "Given the histopathology image, classify the lesion. Options: (A) benign (B) malignant."


def _record(name, solution, question=QUESTION, **more):
    turns = [{"role": "user", "content": question}]
    return {"messages": turns, "images": [{"path": name}], "solution": solution, **more}


def _write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        path.write_text(json.dumps(records, indent=2))
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_choice_boxes_and_free_text(tmp_path, run, save, ending):
    names = [f"slides/{i}.png" for i in range(12)]
    for name in names:
        save(tmp_path / name, (400, 300))
    boxes = "<answer>[[120.0, 80.0, 200.0, 160.0], [300.0, 100.0, 400.0, 220.0]]</answer>"
    records = [_record(name, "<answer> (A) benign </answer>") for name in names]
    records += [
        _record(names[0], boxes, "Find the lesions."),
        _record(names[1], "<answer>[]</answer>", "Find the lesions."),
        _record(names[2], "<answer>a dense infiltrate</answer>", "<image>What is seen?"),
    ]
    done = run(_write(tmp_path / f"chats.{ending}", records))
    assert done.kind == "messages"
    assert "dealt picture by picture" in done.notes
    assert all(done.samples[split] for split in done.samples)
    assert not done.images("train") & (done.images("val") | done.images("test"))
    choice = next(s for s in done.all if s.choices == ("benign", "malignant"))
    assert choice.question == "Given the histopathology image, classify the lesion."
    assert (choice.task, choice.answer) == ("vqa", "benign")
    found = [s for s in done.all if s.task == "detection"]
    corners = sorted([box.corners for box in s.boxes] for s in found)
    assert corners == [[], [(120, 80, 200, 160), (300, 100, 400, 220)]]
    assert {s.choices for s in found} == {("lesion",)}
    (free,) = [s for s in done.all if s.topic == "messages: open"]
    assert (free.question, free.answer) == ("What is seen?", "a dense infiltrate")


def test_the_supervised_form_the_file_names_and_the_allocators_records(tmp_path, run, save):
    for name in ("a", "b", "c"):
        save(tmp_path / f"{name}.png")
    answered = {
        "messages": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": "<answer>(B) malignant</answer>"},
        ],
        "images": [str(tmp_path / "a.png")],
    }
    told = (
        f"<prompt>{QUESTION}</prompt> <img_path>/data/b.png</img_path> <max_token>512</max_token> "
        "<answer>(A) benign</answer>"
    )
    budget = _record("/data/slides/b.png", told, "Allocate the optimal token number ...")
    same = _record("/data/slides/b.png", "<answer>(A) benign</answer>")
    _write(tmp_path / "sftdata_CLS_train.json", [answered])
    _write(tmp_path / "rldata_CLS_x_train_token.json", [budget])
    _write(tmp_path / "rldata_CLS_x_train.json", [same])
    _write(tmp_path / "rldata_CLS_x_test.json", [_record("c.png", "(A) benign")])
    done = run(tmp_path, kind="messages")
    assert [(s.task, s.answer) for s in done.samples["test"]] == [("subtyping", "benign")]
    trained = done.samples["train"] + done.samples["val"]
    assert sorted(s.answer for s in trained) == ["benign", "malignant"]
    assert {s.question for s in done.all} == {choices_in(QUESTION)[0]}


def test_pictures_elsewhere_are_found_below_a_folder(tmp_path, run, save):
    save(tmp_path / "store/siteA/x.png")
    save(tmp_path / "store/siteB/x.png")
    file = _write(tmp_path / "chats/q.json", [_record("/cluster/data/siteB/x.png", "(A) benign")])
    done = run(file, images=tmp_path / "store", splits=("train",))
    assert done.all[0].image.endswith("store/siteB/x.png")
    with pytest.raises(QueryError, match=r"neither all/x\.png nor any other picture"):
        convert(file, tmp_path / "o")


def test_what_cannot_be_used_is_counted_and_said(tmp_path, run, save):
    save(tmp_path / "a.png", (100, 100))
    records = [
        _record("a.png", "(A) benign"),
        _record("a.png", "(C) something else"),
        _record("a.png", "[[1, 2, 3]]"),
        {**_record("a.png", "x"), "images": [{"path": "a.png"}, {"path": "b.png"}]},
        _record("a.png", "[[10, 10, 5000, 90]]"),
    ]
    path = _write(tmp_path / "q.jsonl", records)
    notes = "\n".join(convert(path, tmp_path / "o", Options(splits=("train",))).notes)
    assert "1 records left out: no answer, or one that is none of the options" in notes
    assert "1 records left out: boxes that are not" in notes
    assert "1 records left out: not one picture" in notes
    assert "1 boxes reach beyond their pictures" in notes
    path.write_text('{"messages": [')
    with pytest.raises(QueryError, match="is not JSON"):
        convert(path, tmp_path / "o", Options())


@pytest.mark.parametrize(
    ("prompt", "question", "options"),
    [
        ("Which? (A) a (b) c. (B) d", "Which?", ("a (b) c", "d")),
        (
            "Which?\nA. one\nB. two\nAnswer with a letter.",
            "Which?\nAnswer with a letter.",
            ("one", "two"),
        ),
        ("Which?\nChoices:\n(A) one,\n(B) two", "Which?", ("one", "two")),
        ("Is vitamin (A) seen?", "Is vitamin (A) seen?", ()),
        ("Pick (B) x or (C) y", "Pick (B) x or (C) y", ()),
    ],
)
def test_options_of_a_prompt(prompt, question, options):
    assert choices_in(prompt) == (question, options)


def test_an_answer_names_its_option_by_letter_or_name():
    options = ("benign", "malignant")
    prompt = "What is it? (A) benign (B) malignant"
    assert chosen("(B) malignant", options, prompt) == chosen("B", options, prompt) == "malignant"
    assert chosen("malignant.", options, prompt) == "malignant"
    assert chosen("(D) other", options, prompt) == ""
    assert chosen("B", options, "What is it?") == ""
    assert chosen("(A) benign", (), "What is it?") == "benign"

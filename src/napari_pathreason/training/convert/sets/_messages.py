"""Chats with pictures, as the paper's code and ms-swift read them, unmodified.

Layout (zhexu1997/BiRR4CPath, docs/DATA_FORMAT.md), a JSON array or a record a line; a file, or a
folder of them::

    {"messages": [{"role": "user", "content": "... Options: (A) benign (B) malignant."}],
     "images": [{"path": "/data/slides/sample_001.png"}],
     "solution": "<answer>(A) benign</answer>"}

The answer stands in ``solution``, or in the assistant's turn (the form for supervised training):
``(A) name``, ``[[x1, y1, x2, y2], ...]`` in pixels of the picture file, or free text. Records of
the token allocator carry the performer's question in ``<prompt>`` and give that question. Split
and task follow from the file's name (``rldata_CLS_x_train.json``) or its folder's
(``train/chats.json``), else pictures are dealt. The format names no lesion: boxes are of
``lesion``; what `data export` wrote names them (``choices``, and boxes with a ``label``). Tested on
the published examples and a miniature.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import find_option, parse_boxes
from napari_pathreason.training.samples import Area, Sample, Split
from napari_pathreason.types import TaskName

from ._labels import refuse_alike_choices
from ._layout import Kind, LabelledEntry, LeftOut, Options, PictureSet, ask_ready
from ._pictures import DOUBTFUL, PicturesByName, shown, subfolders
from ._splits import split_in, split_of, splits_in, words_of

ENDINGS = (".json", ".jsonl")
LESION = "lesion"
SUBTYPING = {"cls", "subtyping", "diagnosis"}
_OPTION = re.compile(r"\(([A-Z])\)\s*|^[ \t]*([A-Z])[).:][ \t]+", re.MULTILINE)
_LEAD = re.compile(r"\s*(?:options?|choices?|answer choices)\s*:?\s*$", re.IGNORECASE)
_BOXES = re.compile(r"\[\s*([\[{].*[\]}]\s*)?\]", re.DOTALL)


class _UnusableError(Exception):
    """Why one record gives no question."""


def _files(source: Path) -> list[Path]:
    """Files of chats in a folder and in its folders of splits, or the file itself."""
    return [path for path in _json(source) if _is_chat(path)]


def _json(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source] if source.suffix in ENDINGS else []
    folders = [source, *(path for path in subfolders(source) if split_of(path.name))]
    return [
        path
        for folder in folders
        for path in sorted(folder.glob("[!.]*.json*"))
        if path.suffix in ENDINGS
    ]


def _is_chat(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"messages"' in file.read(4000)


def _matches(source: Path) -> bool:
    return bool(_files(source))


def _split_of_file(path: Path, source: Path) -> Split | None:
    """Split that a file's name means, or the name of its folder within the source."""
    inside = source.is_dir() and path.parent != source
    own = split_in(path.stem) if splits_in(path.stem) or not inside else None
    return own or (split_of(path.parent.name) if inside else None)


def _read(source: Path, options: Options) -> PictureSet:
    """See the module.

    Raises
    ------
    QueryError
        If a file is no JSON, names two splits, or none of its records can be used; or if two
        options of a question are one after case and blanks, with the record that offers them.
    """
    questions: dict[tuple[Split | None, Path], list[Sample]] = {}
    left = LeftOut()
    files = _files(source)
    for path in files:
        split = _split_of_file(path, source)
        choice: TaskName = "subtyping" if set(words_of(path.stem)) & SUBTYPING else "vqa"
        pictures = PicturesByName(options.images or path.parent)
        for number, record in enumerate(_records(path), 1):
            where = f"{shown(path, source)}, record {number}"
            try:
                sample = _sample(record, where, choice, pictures)
            except _UnusableError as why:
                left.add(f"records left out: {why}", where)
                continue
            samples = questions.setdefault((split, Path(str(sample.image))), [])
            if sample in samples:  # the allocator's records ask what the performer's do
                left.add("records ask what another one does and were taken once", where)
            else:
                samples.append(sample)
        for name in sorted(pictures.doubtful):
            left.add(DOUBTFUL, Path(name).name)
    for path in _json(source):
        if path not in files:
            left.add("files of JSON hold no messages and were not used", shown(path, source))
    if not questions and left.notes():
        raise QueryError(f"no record of {source.name} can be used: {left.notes()[0]}")
    entries = [
        LabelledEntry(
            f"{split or 'all'}/{image.name}", str(image), partial(ask_ready, samples), split, image
        )
        for (split, image), samples in questions.items()
    ]
    return PictureSet(entries, "picture", (), left, frozenset(_json(source)))


def _records(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            yield from json.loads(text)
        else:
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
    except ValueError as error:
        raise QueryError(f"{path.name} is not JSON ({error}); export it again") from None


def _sample(record: Any, where: str, choice: TaskName, pictures: PicturesByName) -> Sample:
    if not isinstance(record, dict):
        raise _UnusableError("not a record with messages and images")
    turns = [m for m in record.get("messages") or () if isinstance(m, dict)]
    users, replies = (
        [_text_of(m.get("content")) for m in turns if m.get("role") == role]
        for role in ("user", "assistant")
    )
    solution = str(record.get("solution") or (replies[-1] if replies else ""))
    prompt, answer = _tagged(solution, "prompt"), _tagged(solution, "answer")
    answer = solution.strip() if answer is None else answer
    if len(users) != 1:
        raise _UnusableError("several turns, or none, of the user")
    question = users[0] if prompt is None else prompt
    common: dict[str, Any] = {"image": str(_picture(record, pictures)), "source": "messages"}
    if isinstance(record.get("group"), str):
        common["group"] = record["group"]
    if _BOXES.fullmatch(answer):
        boxes, whole = parse_boxes("[]" if answer.replace(" ", "") == "[[]]" else answer, LESION)
        if not whole:
            raise _UnusableError("boxes that are not [[x1, y1, x2, y2], ...]")
        areas = tuple(Area(label=b.label, corners=(b.x1, b.y1, b.x2, b.y2)) for b in boxes)
        sought = [name for name in record.get("choices") or () if isinstance(name, str)]
        names = tuple(dict.fromkeys([*sought, *(area.label for area in areas)])) or (LESION,)
        return Sample(
            **common,
            task="detection",
            question=question,
            choices=names,
            boxes=areas,
            topic="messages: boxes",
        )
    prompt = question
    question, choices = choices_in(prompt)
    refuse_alike_choices(where, choices)
    right = chosen(answer, choices, prompt)
    if not right:
        raise _UnusableError("no answer, or one that is none of the options")
    return Sample(
        **common,
        task=choice if choices else "vqa",
        question=question,
        choices=choices,
        answer=right,
        topic=f"messages: {'choice' if choices else 'open'}",
    )


def _picture(record: dict[str, Any], pictures: PicturesByName) -> Path:
    images = record.get("images")
    images = images if isinstance(images, list) else [images]
    first = images[0].get("path") if isinstance(images[0], dict) else images[0]
    if len(images) != 1 or not isinstance(first, str):
        raise _UnusableError("not one picture with a path")
    return pictures.find(first)


def _text_of(content: Any) -> str:
    """Text of a turn, without the marks that stand for pictures."""
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if part)
    return str(content or "").replace("<image>", "").strip()


def _tagged(text: str, tag: str) -> str | None:
    """What stands in the first ``<tag>...</tag>``; None where there is none."""
    match = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL | re.IGNORECASE)
    return match[1].strip() if match else None


def choices_in(prompt: str) -> tuple[str, tuple[str, ...]]:
    """Split a prompt into its question and its options ``(A) ... (B) ...``.

    Returns
    -------
    tuple
        (question, options); no options where fewer than two stand there in the order of letters.
        What follows the last option on a line of its own belongs to the question.
    """
    marks = list(_OPTION.finditer(prompt))
    letters = "".join(mark[1] or mark[2] for mark in marks)
    if len(marks) < 2 or letters != "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(letters)]:
        return prompt, ()
    ends = [mark.start() for mark in marks[1:]] + [len(prompt)]
    parts = [prompt[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    last, _, rest = parts[-1].strip().partition("\n")
    options = tuple(part.strip().rstrip(".,;").strip() for part in (*parts[:-1], last))
    question = _LEAD.sub("", prompt[: marks[0].start()]).strip()
    return "\n".join(text for text in (question, rest.strip()) if text), options


def chosen(answer: str, options: tuple[str, ...], prompt: str) -> str:
    """The option that an answer names; without options its text, the letter taken off.

    ``prompt`` holds the letters that were printed in front of the options.
    """
    if options:
        return find_option(answer, options, prompt) or ""
    return re.sub(r"^\([A-Z]\)\s*", "", answer.strip())


KIND: Kind = Kind(
    "messages", "FILE.json or .jsonl with messages, images, solution", _matches, _read
)

"""Chats with pictures, as the paper's code and ms-swift read them, unmodified.

Layout (zhexu1997/BiRR4CPath, docs/DATA_FORMAT.md), a JSON array or a record a line; a file, or a
folder of them::

    {"messages": [{"role": "user", "content": "... Options: (A) benign (B) malignant."}],
     "images": [{"path": "/data/slides/sample_001.png"}],
     "solution": "<answer>(A) benign</answer>"}

The answer stands in ``solution``, or in the assistant's turn (the form for supervised training):
``(A) name``, ``[[x1, y1, x2, y2], ...]`` in pixels of the picture file, or free text. Records of
the token allocator carry the performer's question in ``<prompt>`` and give that question. Split
and task follow from the file's name (``rldata_CLS_x_train.json``), else pictures are dealt. The
format names no lesion: boxes are of ``lesion``. Tested on the published examples and a miniature.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from napari_pathreason._errors import QueryError
from napari_pathreason._types import TaskName
from napari_pathreason.tasks import parse_boxes
from napari_pathreason.training.samples._sample import Area, Sample, Split

from ._chat_text import choices_in, chosen, tagged, text_of
from ._entry import Entry, Found, Kind, Options
from ._pictures_by_name import PicturesByName
from ._store import Store

LESION = "lesion"
SPLITS: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "dev": "val",
    "test": "test",
}
SUBTYPING = {"cls", "subtyping", "diagnosis"}
_BOXES = re.compile(r"\[\s*(\[.*\]\s*)?\]", re.DOTALL)


class _LeftOut(Exception):
    """Why one record gives no question."""


def _files(source: Path) -> list[Path]:
    paths = sorted(source.glob("*.json*")) if source.is_dir() else [source]
    return [path for path in paths if path.suffix in (".json", ".jsonl") and _is_chat(path)]


def _is_chat(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return '"messages"' in file.read(4000)


def _looks(source: Path) -> bool:
    return bool(_files(source))


def _read(source: Path, options: Options) -> Found:
    """See the module.

    Raises
    ------
    QueryError
        If a file is no JSON, or none of its records can be used.
    """
    asked: dict[tuple[Split | None, Path], list[Sample]] = {}
    lost: Counter[str] = Counter()
    beyond = 0
    for path in _files(source):
        words = set(re.split(r"[_\W]+", path.stem.lower()))
        split = next((s for name, s in SPLITS.items() if name in words), None)
        choice: TaskName = "subtyping" if words & SUBTYPING else "vqa"
        pictures = PicturesByName(options.images or path.parent)
        for record in _records(path):
            try:
                sample = _sample(record, choice, pictures)
            except _LeftOut as why:
                lost[str(why)] += 1
                continue
            beyond += _beyond(sample)
            samples = asked.setdefault((split, Path(str(sample.image))), [])
            if sample not in samples:  # the allocator's records ask what the performer's do
                samples.append(sample)
    notes = [f"{count:,} records left out: {why}" for why, count in lost.items()]
    if beyond:
        notes.append(
            f"{beyond:,} boxes reach beyond their pictures: boxes must be in pixels of these files"
        )
    if not asked and lost:
        raise QueryError(f"no record of {source.name} can be used: {next(iter(lost))}")
    entries = [
        Entry(f"{split or 'all'}/{image.name}", str(image), partial(_ask, samples), split, image)
        for (split, image), samples in asked.items()
    ]
    return Found(entries, "picture", tuple(notes))


def _records(path: Path) -> Iterator[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            yield from json.loads(text)
        else:
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
    except ValueError as error:
        raise QueryError(f"{path.name} is not JSON ({error}); export it again") from None


def _sample(record: Any, choice: TaskName, pictures: PicturesByName) -> Sample:
    if not isinstance(record, dict):
        raise _LeftOut("not a record with messages and images")
    turns = [m for m in record.get("messages") or () if isinstance(m, dict)]
    asked = [text_of(m.get("content")) for m in turns if m.get("role") == "user"]
    told = [text_of(m.get("content")) for m in turns if m.get("role") == "assistant"]
    solution = str(record.get("solution") or (told[-1] if told else ""))
    prompt, answer = tagged(solution, "prompt"), tagged(solution, "answer")
    answer = solution.strip() if answer is None else answer
    if len(asked) != 1:
        raise _LeftOut("several turns, or none, of the user")
    question = asked[0] if prompt is None else prompt
    common: dict[str, Any] = {"image": str(_picture(record, pictures)), "source": "messages"}
    if _BOXES.fullmatch(answer):
        boxes, whole = parse_boxes("[]" if answer.replace(" ", "") == "[[]]" else answer, LESION)
        if not whole:
            raise _LeftOut("boxes that are not [[x1, y1, x2, y2], ...]")
        areas = tuple(Area(label=b.label, corners=(b.x1, b.y1, b.x2, b.y2)) for b in boxes)
        names = tuple(dict.fromkeys([area.label for area in areas] or [LESION]))
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
    right = chosen(answer, choices, prompt)
    if not right:
        raise _LeftOut("no answer, or one that is none of the options")
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
        raise _LeftOut("not one picture with a path")
    return pictures.find(first)


def _beyond(sample: Sample) -> int:
    """Boxes of a sample that do not fit into its picture."""
    path = Path(str(sample.image))
    if not sample.boxes or not path.is_file():
        return 0
    with Image.open(path) as file:
        width, height = file.size
    return sum(
        not (box.corners[0] >= 0 and box.corners[1] >= 0)
        or box.corners[2] > width
        or box.corners[3] > height
        for box in sample.boxes
    )


def _ask(samples: list[Sample], split: Split, rng: Random, store: Store) -> Iterator[Sample]:
    yield from samples


KIND = Kind("messages", "FILE.json or .jsonl with messages, images, solution", _looks, _read)

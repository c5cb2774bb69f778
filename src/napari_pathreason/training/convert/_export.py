"""Samples -> what other trainers read: chats with pictures, or a data set of the Hugging Face hub.

``messages`` is the format of the paper's code and of ms-swift, a record a line, options lettered as
there; ``huggingface`` are parquet files that `datasets.load_dataset` and TRL's trainers read, in
the words that models are asked here. Pictures are written at the budgets that a run would draw,
exactly as training reads them, so that no trainer's own resizing changes what is seen.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import atomic_text, writing_alone
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.samples import (
    SPLITS,
    Pictures,
    Sample,
    Split,
    View,
    answer_pieces,
    read_view,
    score_target,
)
from napari_pathreason.types import BoxSpace

from ._summary import holds_samples, read_splits
from .sets import LESION, Store, optional

Form = Literal["messages", "huggingface"]
HUB_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
"""Names that `datasets` knows."""
ROWS = 128
"""Rows of a row group: what lies in memory at once."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """How samples are exported.

    Parameters
    ----------
    to : {"messages", "huggingface"}
    budgets : mapping
        Relative weights of visual tokens of a picture, None for native size; one is drawn for each
        sample, as training draws them.
    token_px : int
        Side of a visual token of the model that will learn: 32 for Qwen3-VL, 28 for Qwen2.5-VL.
    box_space : {"relative", "resized"}
        Whether boxes are written from 0 to 1000 of the picture, or in its pixels as it is written.
    answers : bool
        ``messages`` for supervised training: the answer stands in an assistant's turn as well.
    seed : int
        Of the budgets.
    """

    to: Form = "messages"
    budgets: Mapping[int | None, float] = field(default_factory=lambda: {None: 1.0})
    token_px: int = 32
    box_space: BoxSpace = "resized"
    answers: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Exported:
    """Samples written to each split, and what a user must know."""

    counts: dict[Split, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _ReadSample:
    """A sample, the budget that was drawn for it, and how it is seen at that."""

    sample: Sample
    budget: int | None
    view: View


def export_samples(folder: Path, out: Path, plan: ExportPlan) -> Exported:
    """Write the samples of a folder in another form.

    Parameters
    ----------
    folder : Path
        Of ``data convert``.
    out : Path
        ``messages``: ``train.jsonl``, ``val.jsonl``, ``test.jsonl`` and ``images/``;
        ``huggingface``: ``data/train-00000.parquet`` and so on.
    plan : ExportPlan

    Raises
    ------
    QueryError
        If there are no samples, ``out`` holds samples of this project, or pyarrow is missing.
    ExportError
        If ``out`` cannot be written to.
    """
    out = out.resolve()
    if out == folder.resolve():
        raise QueryError("the samples lie there themselves; choose another folder with -o")
    parts = read_splits(folder)
    for split in SPLITS:
        if holds_samples(out / f"{split}.jsonl"):
            raise QueryError(
                f"the folder {out.name} holds samples of this project; choose another folder with "
                "-o"
            )
    pictures = Pictures(folder)
    counts: dict[Split, int] = {}
    notes = [f"{split} has no samples" for split in SPLITS if split not in parts]
    notes += [
        f"{file.name} is of an earlier export: {split} has no samples any more; delete it"
        for split in SPLITS
        for file in (out / f"{split}.jsonl", _parquet(out, split))
        if split not in parts and file.exists()
    ]
    write = _write_messages if plan.to == "messages" else _write_parquet
    try:
        out.mkdir(parents=True, exist_ok=True)
        with writing_alone(out):
            for split, samples in parts.items():
                random = Random(f"{plan.seed}-{split}")
                counts[split] = write(out, split, _read_all(samples, pictures, plan, random), plan)
    except OSError as error:
        raise ExportError(
            f"{out.name} cannot be written to ({error.strerror}); choose another place with -o"
        ) from None
    if plan.to == "messages" and any(s.facts.known for part in parts.values() for s in part):
        notes.append("facts that rationales are checked against have no place in this format")
    return Exported(counts, tuple(notes))


def _read_all(
    samples: Iterable[Sample], pictures: Pictures, plan: ExportPlan, random: Random
) -> Iterator[_ReadSample]:
    for sample in tqdm(samples, "exporting", unit="sample", mininterval=1, disable=None):
        budget = random.choices(list(plan.budgets), list(plan.budgets.values()))[0]
        yield _ReadSample(sample, budget, read_view(sample, pictures, budget, plan.token_px))


def _write_messages(out: Path, split: Split, read: Iterable[_ReadSample], plan: ExportPlan) -> int:
    store, count = Store(out / "images"), 0
    with atomic_text(out / f"{split}.jsonl") as file:
        for one in read:
            files = [store.pixels(split, pixels) for pixels in one.view.pictures]
            record = _message(one, [Path(os.path.relpath(f, out)).as_posix() for f in files], plan)
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def _message(one: _ReadSample, files: list[str], plan: ExportPlan) -> dict[str, Any]:
    """A record as the paper's code writes it."""
    sample = one.sample
    solution = f"<answer>{_solution(one, plan.box_space)}</answer>"
    question = sample.question.strip() or _instruction(sample, plan.box_space)
    if sample.task != "detection" and sample.choices:
        options = " ".join(
            f"({letter}) {choice}" for letter, choice in zip(LETTERS, sample.choices, strict=False)
        )
        question = f"{question} Options: {options}"
    captions = sample.captions or ("",)
    text = "".join(f"<image>{caption}" for caption in captions) + question
    turns = [{"role": "user", "content": text}]
    if plan.answers:
        turns.append({"role": "assistant", "content": solution})
    return {
        "messages": turns,
        "images": [{"path": file} for file in files],
        "solution": solution,
        **_for_rewards(one),
        **({"group": sample.group} if sample.group else {}),
    }


def _for_rewards(one: _ReadSample) -> dict[str, Any]:
    """Columns that `grpo.make_reward` scores by; boxes from 0 to 1000 of the picture."""
    target = score_target(one.sample, one.view)
    height, width = one.view.pixels.shape[:2]
    return {
        "task": one.sample.task,
        "question": one.sample.question,
        "choices": list(one.sample.choices),
        "answer": target.text,
        "boxes": [
            {"label": box.label, "bbox_2d": [box.x1, box.y1, box.x2, box.y2]}
            for box in target.boxes
        ],
        "picture_size": [width, height],
    }


def _solution(one: _ReadSample, space: BoxSpace) -> str:
    sample, view = one.sample, one.view
    if sample.task == "detection":
        height, width = view.pixels.shape[:2]
        sides = (width, height) if space == "resized" else (1000, 1000)
        boxes = [
            (label, [round(c * side) for c, side in zip(corners, sides * 2, strict=True)])
            for label, corners in view.boxes
        ]
        if all(label == LESION for label, _ in boxes) and sample.choices in ((), (LESION,)):
            return json.dumps([sides for _, sides in boxes])
        return json.dumps([{"bbox_2d": sides, "label": label} for label, sides in boxes])
    if sample.choices:
        place = sample.choices.index(sample.answer)
        return f"({LETTERS[place]}) {sample.answer}"
    return sample.answer


def _instruction(sample: Sample, space: BoxSpace) -> str:
    """What a model that writes boxes so is asked here, behind its pictures."""
    messages = TASKS[sample.task].messages(sample.query, (), space)
    return str(messages[-1]["content"][-1]["text"])


def _parquet(out: Path, split: Split) -> Path:
    return out / "data" / f"{HUB_SPLITS[split]}-00000.parquet"


def _write_parquet(out: Path, split: Split, read: Iterable[_ReadSample], plan: ExportPlan) -> int:
    pyarrow = optional("pyarrow", "parquet files")
    parquet = optional("pyarrow.parquet", "parquet files")
    path = _parquet(out, split)
    path.parent.mkdir(exist_ok=True)
    draft, count = path.with_name(f".{path.name}.partial"), 0
    schema = _schema(pyarrow)
    with parquet.ParquetWriter(draft, schema) as writer:
        rows: list[dict[str, Any]] = []
        for one in read:
            rows.append(_row(one, plan))
            count += 1
            if len(rows) == ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    os.replace(draft, path)
    return count


def _row(one: _ReadSample, plan: ExportPlan) -> dict[str, Any]:
    """A row in TRL's forms of conversation: a prompt, a completion, and columns for rewards."""
    sample, view = one.sample, one.view
    system = TASKS[sample.task].messages(sample.query)[0]
    captions = [f"Picture {n}: {text}" for n, text in enumerate(sample.captions, 1) if text]
    question = " ".join([*captions, _instruction(sample, plan.box_space)])
    written = (
        _solution(one, plan.box_space)
        if sample.task == "detection"
        else "".join(piece.text for piece in answer_pieces(sample, view)[1:-1])
    )
    return {
        "prompt": [
            {"role": "system", "content": str(system["content"][0]["text"])},
            {"role": "user", "content": question},
        ],
        "completion": [{"role": "assistant", "content": f"<answer>{written}</answer>"}],
        "images": [{"bytes": _png(pixels), "path": None} for pixels in view.pictures],
        **_for_rewards(one),
        "source": sample.source,
        "topic": sample.kind,
        "group": sample.group,
        "visual_tokens": sum(view.visual_tokens),
    }


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _schema(pyarrow: Any) -> Any:
    """Columns, and what `datasets` reads of them: that ``images`` are pictures."""
    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())
    turns = pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", text)])
    box = pyarrow.struct([("label", text), ("bbox_2d", pyarrow.list_(pyarrow.float64()))])
    types = {
        "prompt": turns,
        "completion": turns,
        "images": pyarrow.list_(picture),
        "task": text,
        "question": text,
        "choices": texts,
        "answer": text,
        "boxes": pyarrow.list_(box),
        "picture_size": pyarrow.list_(pyarrow.int64()),
        "source": text,
        "topic": text,
        "group": text,
        "visual_tokens": pyarrow.int64(),
    }
    string = {"dtype": "string", "_type": "Value"}
    turn = {"role": string, "content": string}
    number = {"dtype": "float64", "_type": "Value"}
    boxed = {"label": string, "bbox_2d": {"feature": number, "_type": "List"}}
    features: dict[str, Any] = {
        "prompt": {"feature": turn, "_type": "List"},
        "completion": {"feature": turn, "_type": "List"},
        "images": {"feature": {"_type": "Image"}, "_type": "List"},
        "choices": {"feature": string, "_type": "List"},
        "boxes": {"feature": boxed, "_type": "List"},
        "picture_size": {"feature": {"dtype": "int64", "_type": "Value"}, "_type": "List"},
        "visual_tokens": {"dtype": "int64", "_type": "Value"},
    }
    about = {"info": {"features": {name: features.get(name, string) for name in types}}}
    return pyarrow.schema(list(types.items()), {"huggingface": json.dumps(about)})

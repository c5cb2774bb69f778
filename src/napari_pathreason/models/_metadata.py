"""What a checkpoint says of its training: the file beside its weights, written and read. No torch.

Training writes it from recipe and data, `pathreason calibrate` adds up to what size replies hold.
A folder without the file, such as a foreign checkpoint, says nothing.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, get_args

from napari_pathreason._errors import ModelError
from napari_pathreason._types import BoxSpace, Form, Metadata, Query, TaskName, Topic

METADATA = "pathreason.json"
"""Optional file beside the weights that says what a checkpoint was trained on."""
FORMAT_VERSION = 1


def write_metadata(
    folder: Path, name: str, metadata: Metadata, box_space: BoxSpace | None = None
) -> None:
    """Write `METADATA` beside the weights, whole or not at all.

    Parameters
    ----------
    folder : Path
    name : str
        How the model is called.
    metadata : Metadata
    box_space : {"relative", "resized"}, optional
        Where it is not that of the model's family.
    """
    told: dict[str, Any] = {"format_version": FORMAT_VERSION, "name": name}
    if box_space is not None:
        told["box_space"] = box_space
    told |= {
        "labels": list(metadata.labels),
        "tissues": list(metadata.tissues),
        "mpp": None if metadata.mpp is None else list(metadata.mpp),
        "max_visual_tokens": metadata.max_visual_tokens,
        "zoom_labels": list(metadata.zoom_labels),
        "topics": [
            {
                "name": topic.name,
                "form": topic.form,
                "words": sorted(topic.words),
                "example": {
                    "task": topic.example.task,
                    "question": topic.example.question,
                    "options": list(topic.example.options),
                },
            }
            for topic in metadata.topics
        ],
    }
    partial = folder / f"{METADATA}.partial"
    partial.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, folder / METADATA)


def metadata_of(card: dict[str, Any], name: str) -> Metadata | None:
    """The metadata among the values of `METADATA`.

    Returns
    -------
    Metadata or None
        None where the file is missing or says nothing of the training but a name and a box space.

    Raises
    ------
    ModelError
        If a value is of the wrong kind, or the file is of a later version.
    """
    if not card.keys() - {"name", "box_space"}:
        return None
    version = card.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise _wrong("format_version", name, f"must be {FORMAT_VERSION}")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{METADATA} of the model {name} is of version {version}, later than this "
            f"installation knows ({FORMAT_VERSION}); install a newer napari-pathreason"
        )
    most, mpp = card.get("max_visual_tokens"), card.get("mpp")
    if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
        raise _wrong("max_visual_tokens", name, "must be a number of visual tokens")
    if mpp is not None and not _is_range(mpp):
        raise _wrong("mpp", name, "must be the least and the most um per pixel")
    topics = card.get("topics", [])
    if not isinstance(topics, list):
        raise _wrong("topics", name, "must be a list")
    return Metadata(
        topics=tuple(_topic(topic, name) for topic in topics),
        labels=_texts(card, "labels", name),
        tissues=_texts(card, "tissues", name),
        mpp=None if mpp is None else (float(mpp[0]), float(mpp[1])),
        max_visual_tokens=most,
        zoom_labels=_texts(card, "zoom_labels", name),
    )


def _topic(told: Any, name: str) -> Topic:
    try:
        example = told["example"]
        topic = Topic(
            _one_of(told["name"]),
            _one_of(told["form"], get_args(Form)),
            frozenset(map(_one_of, told["words"])),
            Query(
                _one_of(example["task"], get_args(TaskName)),
                _one_of(example["question"]),
                tuple(map(_one_of, example["options"])),
            ),
        )
    except (KeyError, TypeError) as error:
        raise _wrong("a topic", name, "must hold name, form, words and an example") from error
    return topic


def _one_of(value: Any, allowed: tuple[str, ...] = ()) -> Any:
    if not isinstance(value, str) or (allowed and value not in allowed):
        raise TypeError
    return value


def _texts(card: dict[str, Any], key: str, name: str) -> tuple[str, ...]:
    words = card.get(key, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise _wrong(key, name, "must be a list of texts")
    return tuple(words)


def _wrong(key: str, name: str, why: str) -> ModelError:
    return ModelError(f"{key} in {METADATA} of the model {name} {why}")


def _is_range(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        and 0 < values[0] <= values[1] < math.inf
    )

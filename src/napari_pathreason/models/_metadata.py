"""What a checkpoint says of its training: the file beside its weights, written and read. No torch.

Training writes it from recipe and data, `pathreason calibrate` where training did not. A folder
without the file, such as a foreign checkpoint, says nothing. docs/training.md lists its keys.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_text
from napari_pathreason.types import BoxSpace, Form, Metadata, Query, TaskName, Topic

from ._limits import TEXT

METADATA = "pathreason.json"
"""Optional file beside the weights that says what a checkpoint was trained on."""
FORMAT_VERSION = 1


def write_metadata(
    folder: Path, name: str, metadata: Metadata | None, box_space: BoxSpace | None = None
) -> None:
    """Write `METADATA` beside the weights, whole or not at all.

    Parameters
    ----------
    folder : Path
    name : str
        How the model is called.
    metadata : Metadata or None
        None says nothing of the training.
    box_space : {"relative", "resized"}, optional
        None leaves it to the model's family.
    """
    values: dict[str, Any] = {} if metadata is None else {"format_version": FORMAT_VERSION}
    values["name"] = name
    if box_space is not None:
        values["box_space"] = box_space
    if metadata is not None:
        values |= _values(metadata)
    with atomic_text(folder / METADATA) as file:
        file.write(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _values(metadata: Metadata) -> dict[str, Any]:
    return {
        "labels": list(metadata.labels),
        "tissues": list(metadata.tissues),
        "mpp": None if metadata.mpp is None else list(metadata.mpp),
        "max_visual_tokens": metadata.max_visual_tokens,
        "zoom_labels": list(metadata.zoom_labels),
        "window": metadata.window,
        "joint": metadata.joint,
        "conversation": metadata.conversation,
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


def metadata_of(metadata_json: dict[str, Any], name: str) -> Metadata | None:
    """The metadata among the values of `METADATA`.

    Returns
    -------
    Metadata or None
        None where the file is missing, or has no format version: then it says nothing of the
        training that could be relied on, such as one that holds a name alone.

    Raises
    ------
    ModelError
        If a value is of the wrong kind, or the file is of a later version.
    """
    if "format_version" not in metadata_json:
        return None
    version = metadata_json["format_version"]
    if not _is_whole(version) or version < 1:
        raise _wrong("format_version", name, f"must be {FORMAT_VERSION}")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{METADATA} of the model {name} is of version {version}, later than this "
            f"installation knows ({FORMAT_VERSION}); install a newer napari-pathreason"
        )
    most, mpp = metadata_json.get("max_visual_tokens"), metadata_json.get("mpp")
    if most is not None and (not _is_whole(most) or most < 1):
        raise _wrong("max_visual_tokens", name, "must be a number of visual tokens")
    if mpp is not None and not _is_range(mpp):
        raise _wrong("mpp", name, "must be the least and the most µm per pixel")
    window = metadata_json.get("window")
    if window is not None and (not _is_whole(window) or window < 1):
        raise _wrong("window", name, "must be a side in pixels")
    topics = metadata_json.get("topics", [])
    if not isinstance(topics, list):
        raise _wrong("topics", name, "must be a list")
    return Metadata(
        topics=tuple(_topic(topic, name) for topic in topics),
        labels=_texts(metadata_json, "labels", name),
        tissues=_texts(metadata_json, "tissues", name),
        mpp=None if mpp is None else (float(mpp[0]), float(mpp[1])),
        max_visual_tokens=most,
        zoom_labels=_texts(metadata_json, "zoom_labels", name),
        window=window,
        joint=_flag(metadata_json, "joint", name),
        conversation=_flag(metadata_json, "conversation", name),
    )


def _topic(value: Any, name: str) -> Topic:
    try:
        example = value["example"]
        topic = Topic(
            _one_of(value["name"]),
            _one_of(value["form"], get_args(Form)),
            frozenset(_all_of(value["words"])),
            Query(
                _one_of(example["task"], get_args(TaskName)),
                _one_of(example["question"]),
                _all_of(example["options"]),
            ),
        )
    except (KeyError, TypeError) as error:
        raise _wrong("a topic", name, "must hold name, form, words and an example") from error
    return topic


def _one_of(value: Any, allowed: tuple[str, ...] = ()) -> Any:
    if not isinstance(value, str) or len(value) > TEXT or (allowed and value not in allowed):
        raise TypeError
    return value


def _all_of(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError
    return tuple(map(_one_of, values))


def _texts(metadata_json: dict[str, Any], key: str, name: str) -> tuple[str, ...]:
    try:
        return _all_of(metadata_json.get(key, []))
    except TypeError:
        raise _wrong(key, name, "must be a list of texts") from None


def _flag(metadata_json: dict[str, Any], key: str, name: str) -> bool:
    value = metadata_json.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(key, name, "must be true or false")
    return value


def _wrong(key: str, name: str, why: str) -> ModelError:
    return ModelError(f"{key} in {METADATA} of the model {name} {why}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_range(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(_is_whole(v) or isinstance(v, float) for v in values)
        and 0 < values[0] <= values[1] <= sys.float_info.max
    )

"""Total parsers of ``<think>rationale</think><answer>...</answer>`` and of what stands inside."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from napari_pathreason._types import AnswerBox

_FRAME = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_OPTION = re.compile(r"\(?\s*([A-Za-z]|\d{1,2})\s*(?:[).:]\s*(.*))?", re.DOTALL)


def split_frame(text: str) -> tuple[str, str, bool]:
    """Split a completion into rationale and answer.

    Returns
    -------
    tuple
        (rationale, answer, whole): ``whole`` is False where the frame is broken; then whatever
        follows ``</think>`` (or everything) counts as the answer.
    """
    found = _FRAME.fullmatch(text)
    if found and text.count("<answer>") == 1 and text.count("<think>") == 1:
        return found[1].strip(), found[2].strip(), True
    rationale, closed, rest = text.partition("</think>")
    if not closed:
        rationale, rest = "", text
        if text.lstrip().startswith("<think>") and "<answer>" not in text:
            rationale, rest = text, ""  # cut off while still thinking: there is no answer
    answer = rest.rpartition("<answer>")[2].partition("</answer>")[0]
    return rationale.replace("<think>", "").strip(), answer.strip(), False


def find_option(text: str, options: Sequence[str]) -> str | None:
    """Option that an answer names, by its name, its letter or its number; None if none."""
    plain = normalise(text)
    for option in options:
        if normalise(option) == plain:
            return option
    found = _OPTION.fullmatch(text.strip())
    if found is None:
        return None
    if found[2] and (named := find_option(found[2], options)) is not None:
        return named
    mark = found[1]
    index = int(mark) - 1 if mark.isdigit() else ord(mark.upper()) - ord("A")
    return options[index] if 0 <= index < len(options) else None


def normalise(text: str) -> str:
    """Lower case, without articles, punctuation and doubled spaces."""
    words = re.sub(r"[^\w\s.%-]|(?<!\d)[.]|[.](?!\d)", " ", text.lower()).split()
    return " ".join(word for word in words if word not in {"a", "an", "the"})


def parse_boxes(text: str, default_label: str) -> tuple[tuple[AnswerBox, ...], bool]:
    """Read boxes: ``[{"bbox_2d": [x1, y1, x2, y2], "label": name}]`` or plain lists of numbers.

    Returns
    -------
    tuple
        (boxes, whole): ``whole`` is False where anything had to be dropped. Corners are put in
        order; boxes without area are dropped.
    """
    fenced = _FENCE.search(text)
    body = (fenced[1] if fenced else text).strip()
    try:
        items = json.loads(body)
    except (ValueError, RecursionError):
        items, salvaged = _salvage(body), False
    else:
        salvaged = True
    if isinstance(items, dict) or (_is_corners(items)):
        items = [items]
    if not isinstance(items, list):
        return (), False
    boxes = [_read_box(item, default_label) for item in items]
    kept = tuple(box for box in boxes if box is not None)
    return kept, salvaged and len(kept) == len(boxes)


def _read_box(item: object, default_label: str) -> AnswerBox | None:
    label: object = default_label
    if isinstance(item, dict):
        label = item.get("label", default_label)
        item = item.get("bbox_2d", item.get("bbox"))
    if not _is_corners(item):
        return None
    x1, y1, x2, y2 = (float(value) for value in item)  # type: ignore[attr-defined]
    left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if right <= left or bottom <= top or not isinstance(label, str):
        return None
    return AnswerBox(label.strip(), left, top, right, bottom)


def _is_corners(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) == 4
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in item)
        and all(abs(v) < 1e9 for v in item)  # also drops NaN and infinity
    )


def _salvage(text: str) -> list[object]:
    """Whole boxes out of a list that was cut off or is not JSON."""
    items: list[object] = []
    for found in re.finditer(r"\{[^{}]*\}", text):
        try:
            items.append(json.loads(found[0]))
        except (ValueError, RecursionError):
            continue
    return items

"""Total parsers of ``<think>rationale</think><answer>...</answer>`` and of what stands inside."""

from __future__ import annotations

import json
import re

from napari_pathreason.types import AnswerBox

_FRAME = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_ANSWER_ALONE = re.compile(r"\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_CORNERS = ("bbox_2d", "bbox", "box_2d")
"""Keys that a box's corners stand under; the last where a model writes y first."""
_JSON = re.compile(r"\[\s*(?:[\[{\"\d-]|\])|\{\s*[\"}]")


def split_frame(text: str) -> tuple[str, str, bool]:
    """Split a completion into rationale and answer.

    Returns
    -------
    tuple
        (rationale, answer, whole): ``whole`` is False where the frame is broken; then whatever
        follows ``</think>`` (or everything) counts as the answer. An answer without a rationale is
        whole: so writes a model that learnt answers alone.
    """
    # counted first: of many frames each beginning would be tried with each end
    if text.count("<answer>") == 1:
        match = _FRAME.fullmatch(text) if text.count("<think>") == 1 else None
        if match:
            return match[1].strip(), match[2].strip(), True
        alone = _ANSWER_ALONE.fullmatch(text)
        if alone:
            return "", alone[1].strip(), True
    rationale, closed, rest = text.partition("</think>")
    if not closed:
        rationale, rest = "", text
        if text.lstrip().startswith("<think>") and "<answer>" not in text:
            rationale, rest = text, ""  # cut off while still thinking: there is no answer
    answer = rest.rpartition("<answer>")[2].partition("</answer>")[0]
    return rationale.replace("<think>", "").strip(), answer.strip(), False


def is_json(text: str) -> bool:
    """Whether an answer begins as a JSON list or object, whole or cut off: no answer in words."""
    return _JSON.match(_unfenced(text)) is not None


def parse_boxes(text: str, default_label: str | None) -> tuple[tuple[AnswerBox, ...], bool]:
    """Read boxes: ``[{"bbox_2d": [x1, y1, x2, y2], "label": name}]`` or plain lists of numbers.

    Parameters
    ----------
    text : str
    default_label : str or None
        Of boxes that name none; None where those cannot be told from one another, and are dropped.

    Returns
    -------
    tuple
        (boxes, whole): ``whole`` is False where anything had to be dropped, or where there is no
        list at all: no boxes of a whole list means that there are none. Corners are put in order;
        boxes without area are dropped.
    """
    body = _unfenced(text)
    try:
        items = json.loads(body)
    except (ValueError, RecursionError):
        items, complete = _salvage(body), False
    else:
        complete = True
    if isinstance(items, dict) or (_is_corners(items)):
        items = [items]
    if not isinstance(items, list):
        return (), False
    if items == [[]]:  # how the paper's data write that there are none
        items = []
    boxes = [_read_box(item, default_label) for item in items]
    whole = tuple(box for box in boxes if box is not None)
    return whole, complete and len(whole) == len(boxes)


def _unfenced(text: str) -> str:
    fenced = _FENCE.search(text)
    return (fenced[1] if fenced else text).strip()


def _read_box(item: object, default_label: str | None) -> AnswerBox | None:
    label: object = default_label
    if isinstance(item, dict):
        label = item.get("label", default_label)
        item = next((item[key] for key in _CORNERS if key in item), None)
    if not _is_corners(item):
        return None
    x1, y1, x2, y2 = (float(value) for value in item)  # type: ignore[attr-defined]
    left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if right <= left or bottom <= top or not isinstance(label, str) or not label.strip():
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
    for match in re.finditer(r"\{[^{}]*\}", text):
        try:
            items.append(json.loads(match[0]))
        except (ValueError, RecursionError):
            continue
    return items

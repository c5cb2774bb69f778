"""What a server does for a model, found out by a few small requests and remembered.

Servers differ in what they take, and ignore in silence what they do not know; so each thing is
tried, and counts only where its effect was seen. All prompts are short and their pictures small.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from threading import Event
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import ModelError
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import BoxSpace, Messages, Query

from ._address import Address
from ._choices import TRIED, Structured, bound_to
from ._client import Client
from ._families import family_named
from ._memory import recall, remember
from ._request import body_of, without_pictures
from ._stream import Usage
from ._trouble import Refused

PROBE = "probe"
MANY = 999
VERSION = 2
"""Of what is remembered; raised with every change of what is tried."""
LASTS = 7 * 24 * 3600
"""Seconds after which a server is asked anew: it may have been started otherwise."""
MOST_LOGPROBS = 20
"""Alternatives of a token that servers give, at the most, unless started otherwise."""
Pixels = Literal["", "mm_processor_kwargs", "chat_template_kwargs"]
"""Field through which the bounds of a picture's pixels take effect; empty for none."""
_COUNTED = {"stream_options": {"include_usage": True}}
_LOGPROBS = {"logprobs": True, "top_logprobs": MOST_LOGPROBS}
_TOKEN_SIDES = (32, 28, 16, 14)
_MARGIN = 40  # of the box on the probe picture that tells conventions apart
_QUESTION = Query("vqa", "Is this picture white?", ("yes", "no"))


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server does for a model.

    Parameters
    ----------
    pictures : int
        In one prompt, at the most; `MANY` where several were taken and no bound is known.
    logprobs : bool
        Whether it tells how probable each token was.
    usage, stream_usage : bool
        Whether it counts tokens, in streams too; and whether it wants to be asked for that.
    seed : bool
        Whether it takes one.
    pixels : str
        See `Pixels`.
    counts : bool
        Whether the chat template writes the number of visual tokens that it is told.
    continues : bool
        Whether it goes on with an answer that was begun.
    structured : str
        Field that holds an answer to given choices, see `Structured`.
    thinks_in : str
        Field in which what it thinks comes: ``content``, ``reasoning_content`` or ``reasoning``;
        empty while that was not seen.
    token_px : int
        Side of a visual token in pixels, 0 where it could not be measured.
    marks : int
        Tokens around each picture that are none of it.
    least, fixed : int
        Visual tokens of the smallest picture; of every picture where all have the same number,
        else 0.
    boxes : {"relative", "resized", "relative_yx"} or None
        That the answer to a probe picture suggests.
    context : int or None
        Its context length in tokens.
    """

    pictures: int = 1
    logprobs: bool = False
    usage: bool = False
    stream_usage: bool = False
    seed: bool = False
    pixels: Pixels = ""
    counts: bool = False
    continues: bool = False
    structured: Structured = ""
    thinks_in: str = ""
    token_px: int = 0
    marks: int = 0
    least: int = 0
    fixed: int = 0
    boxes: BoxSpace | None = None
    context: int | None = None


def remembered(address: Address) -> Capabilities | None:
    """What was found out of a model of a server, or None."""
    value = recall(address, PROBE)
    made = value.get("made")
    if value.get("version") != VERSION or not isinstance(made, int | float):
        return None
    if not 0 <= time.time() - made < LASTS:
        return None
    kinds = {field.name for field in fields(Capabilities)}
    found = value.get("found")
    if not isinstance(found, dict) or set(found) != kinds:
        return None
    return Capabilities(**found)


def keep(address: Address, found: Capabilities) -> None:
    """Remember what was found out."""
    remember(address, PROBE, {"version": VERSION, "made": time.time(), "found": asdict(found)})


def capabilities(client: Client, context: int | None = None) -> Capabilities:
    """What is remembered of the client's model, else what is found out now.

    Raises
    ------
    ModelError
        As `probe`.
    """
    found = remembered(client.address)
    if found is None:
        found = probe(client, context)
        keep(client.address, found)
    return found


def probe(
    client: Client, context: int | None = None, tell: Callable[[str], object] | None = None
) -> Capabilities:
    """Find out what a server does for the client's model.

    Parameters
    ----------
    client : Client
        Its address names the model.
    context : int, optional
        Context length as the server lists it.
    tell : callable, optional
        Takes what is being tried, in a word or two.

    Raises
    ------
    NoPictures
        If the model reads no pictures.
    ModelError
        If the server cannot be used for another reason.
    """
    found = Capabilities(context=context)
    tell = tell or (lambda _: None)
    text = TASKS["vqa"].messages(_QUESTION)
    tell("fields")
    found, alone = _try_fields(client, found, without_pictures(text))
    tell("pictures")
    near, far = _white(256, 256), _white(256, 288)
    one = _ask(client, found, text, [near], new=24)
    found = replace(found, logprobs=one.logprobs, thinks_in=one.thinks_in)
    try:
        two = _ask(client, found, _several(text), [near, far])
        found = replace(found, pictures=MANY)
        second = two.tokens - one.tokens
    except Refused as error:
        if not error.names_fields and error.status < 500:
            raise
        second = _ask(client, found, text, [far]).tokens - alone.tokens
    if found.usage:
        tell("tokens")
        found = _measure(client, found, text, alone.tokens, one.tokens - alone.tokens, second)
    tell("going on with an answer")
    found = replace(found, continues=found.usage and _continues(client, found, text, alone.tokens))
    tell("choices")
    found = replace(found, structured=_structured(client, found, text))
    if family_named(client.address.model).boxes is None:
        tell("boxes")
        found = replace(found, boxes=_box_space(client, found))
    return found


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str
    tokens: int
    counted: bool
    logprobs: bool
    thinks_in: str


def optional_fields(found: Capabilities) -> dict[str, Any]:
    """Fields that go with every request to a server."""
    body: dict[str, Any] = {}
    if found.stream_usage:
        body |= _COUNTED
    if found.logprobs:
        body |= _LOGPROBS
    return body


def _ask(
    client: Client,
    found: Capabilities,
    messages: Messages,
    pictures: list[NDArray[np.uint8]],
    new: int = 1,
    **more: Any,
) -> _Reply:
    body = {"temperature": 0.0, "max_tokens": new, **optional_fields(found), **more}
    body["messages"] = [*body_of(messages, pictures), *body.pop("begun", [])]
    text, field, logprobs = "", "", False
    usage: Usage | None = None
    for chunk in client.chat(body, Event()):
        usage = chunk.usage or usage
        logprobs = logprobs or bool(chunk.tokens)
        if chunk.reasoning:
            field = chunk.field
        text += chunk.text
    if not field and "<think>" in text:
        field = "content"
    return _Reply(text, usage.prompt if usage else 0, usage is not None, logprobs, field)


def _try_fields(client: Client, found: Capabilities, text: Messages) -> tuple[Capabilities, _Reply]:
    """Which optional fields are not refused; the first request also meets what is wrong."""
    wanted = replace(found, stream_usage=True, logprobs=True, seed=True)
    try:
        reply = _ask(client, wanted, text, [], seed=0)
        return replace(wanted, usage=reply.counted), reply
    except Refused as error:
        if not error.names_fields:
            raise
    reply = _ask(client, found, text, [])  # what is refused now is no matter of the fields
    for tried in (replace(found, stream_usage=True), replace(found, logprobs=True)):
        try:
            reply = _ask(client, tried, text, [])
            found = replace(
                found,
                stream_usage=found.stream_usage or tried.stream_usage,
                logprobs=found.logprobs or tried.logprobs,
            )
        except Refused:
            continue
    try:
        reply = _ask(client, found, text, [], seed=0)
        found = replace(found, seed=True)
    except Refused:
        pass
    return replace(found, usage=reply.counted), reply


def _measure(
    client: Client, found: Capabilities, text: Messages, alone: int, first: int, second: int
) -> Capabilities:
    """How many tokens pictures take; of two sizes that one prompt or two showed.

    Parameters
    ----------
    client, found, text
    alone : int
        Tokens of the text.
    first, second : int
        What pictures of 256 x 256 and 256 x 288 px added, the marks around them included.
    """
    if first == second:
        return replace(found, fixed=first, least=first)
    for side in _TOKEN_SIDES:
        rows, columns = round(256 / side), round(288 / side)
        if second - first == rows * (columns - rows) and first >= rows * rows:
            found = replace(found, token_px=side, marks=first - rows * rows)
            break
    if not found.token_px:
        return found
    side = found.token_px
    small = [_white(side, side)]
    added = _ask(client, found, text, small).tokens - alone - found.marks
    found = replace(found, least=max(added, 1))
    if found.least > 1:
        for field in get_args(Pixels)[1:]:
            bounds: dict[str, Any] = {field: pixel_bounds(side, side * side)}
            try:
                fewer = _ask(client, found, text, small, **bounds).tokens - alone - found.marks
            except Refused:
                continue
            if fewer < found.least:
                found = replace(found, pixels=cast("Pixels", field), least=max(fewer, 1))
                break
    numbers: dict[str, Any] = {"chat_template_kwargs": {"visual_tokens": 64}}
    template = numbers["chat_template_kwargs"]
    if found.pixels == "chat_template_kwargs":
        template |= pixel_bounds(side, 256 * 256)
    try:
        more = _ask(client, found, text, [_white(256, 256)], **numbers).tokens
    except Refused:
        return found
    return replace(found, counts=more > alone + first)


def pixel_bounds(token_px: int, most: int) -> dict[str, int]:
    """Bounds between which a server leaves a picture as it is."""
    return {"min_pixels": token_px * token_px, "max_pixels": most}


BEGUN = {"add_generation_prompt": False, "continue_final_message": True}
"""Fields that let a server go on with an answer that was begun."""


def _continues(client: Client, found: Capabilities, text: Messages, alone: int) -> bool:
    """Whether an answer that was begun is gone on with: its turn is then not closed."""
    begun = [{"role": "assistant", "content": "yes"}]
    try:
        reply = _ask(client, found, without_pictures(text), [], begun=begun, **BEGUN)
    except ModelError:
        return False
    return reply.counted and 0 < reply.tokens - alone <= 2


_UNLIKELY = ("maple", "birch")
"""What no model answers to a question about white, unless it can answer nothing else."""


def _structured(client: Client, found: Capabilities, text: Messages) -> Structured:
    """The field by which an answer is held to choices; empty where none of them is obeyed."""
    for field in TRIED:
        bounds = bound_to(cast("Structured", field), _UNLIKELY, rationale=False)
        try:
            reply = _ask(client, found, without_pictures(text), [], new=16, **bounds)
        except ModelError:
            continue
        if any(f"<answer>{choice}</answer>" in reply.text for choice in _UNLIKELY):
            return cast("Structured", field)
    return ""


def _box_space(client: Client, found: Capabilities) -> BoxSpace | None:
    """The convention in which an answer boxes a dark rectangle, or None where it boxes none."""
    side = 448
    left, top, right, bottom = 280, 56, 420, 168  # off the diagonal: x and y cannot be mistaken
    picture = _white(side, side)
    picture[top:bottom, left:right] = (40, 20, 60)
    query = Query("detection", "Find the dark rectangle.", ("rectangle",))
    try:
        reply = _ask(client, found, TASKS["detection"].messages(query), [picture], new=96)
    except ModelError:
        return None
    boxes = TASKS["detection"].parse(reply.text, query).boxes
    if len(boxes) != 1:
        return None
    (box,) = boxes
    written = (box.x1, box.y1, box.x2, box.y2)
    scale = 1000 / side
    shown = {
        "relative": (left * scale, top * scale, right * scale, bottom * scale),
        "resized": (left, top, right, bottom),
        "relative_yx": (top * scale, left * scale, bottom * scale, right * scale),
    }
    for name, corners in shown.items():
        if max(abs(a - b) for a, b in zip(written, corners, strict=True)) <= _MARGIN:
            return cast("BoxSpace", name)
    return None


def _several(text: Messages) -> Messages:
    """The same question with a second picture."""
    *before, last = text
    return [*before, {**last, "content": [{"type": "image"}, *last["content"]]}]


def _white(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)

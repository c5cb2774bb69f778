"""Chat messages of a conversation: pictures once, then question and answer by turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_pathreason.types import BoxSpace, Messages, Query, Turn

from ._tasks import TASKS

UNSAID = "<answer></answer>"
"""Stands for an empty reply, which chat templates and servers refuse."""


def conversation(
    turns: Sequence[Turn],
    query: Query,
    captions: Sequence[str] = (),
    box_space: BoxSpace = "relative",
) -> Messages:
    """Messages of a question that follows on others about the same pictures.

    The pictures stand in the first turn, before its question, just as they did when that was asked:
    what a model has read of it need not be read again. Replies stand as they were written, and as
    parts, since not every chat template takes plain text there.

    Parameters
    ----------
    turns : sequence of Turn
        What was said before, oldest first; none at all: the messages of a question by itself.
    query : Query
        What is asked now.
    captions : sequence of str
        See `Task.messages`.
    box_space : BoxSpace
        How the model writes boxes.
    """
    queries = [*(turn.query for turn in turns), query]
    messages = TASKS[queries[0].task].messages(queries[0], captions, box_space)
    for turn, following in zip(turns, queries[1:], strict=True):
        *_, last = TASKS[following.task].messages(following, (), box_space)
        messages.append(_message("assistant", turn.reply.strip() or UNSAID))
        messages.append({**last, "content": [p for p in last["content"] if p["type"] == "text"]})
    return messages


def _message(role: str, words: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": words}]}

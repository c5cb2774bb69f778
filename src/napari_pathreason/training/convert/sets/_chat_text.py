"""The text of a chat's turns: tags, options, answers."""

from __future__ import annotations

import re
from typing import Any

from napari_pathreason.tasks import find_option

_OPTION = re.compile(r"\(([A-Z])\)\s*|^[ \t]*([A-Z])[).:][ \t]+", re.MULTILINE)
_LEAD = re.compile(r"\s*(?:options?|choices?|answer choices)\s*:?\s*$", re.IGNORECASE)


def text_of(content: Any) -> str:
    """Text of a turn, without the marks that stand for pictures."""
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if part)
    return str(content or "").replace("<image>", "").strip()


def tagged(text: str, tag: str) -> str | None:
    """What stands in the first ``<tag>...</tag>``; None where there is none."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL | re.IGNORECASE)
    return found[1].strip() if found else None


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

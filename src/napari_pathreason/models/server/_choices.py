"""Answers held to the choices of a question, on servers that can write by a pattern.

The rationale stays free; only what stands inside the tags of the answer is bound. Each server has a
field of its own for it, and many ignore those of others in silence: which one works is seen in an
answer that no model would give unbound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

Structured = Literal["", "structured_outputs", "guided_regex", "regex", "grammar"]
"""Field by which a server binds an answer: of vLLM, of vLLM before 0.11, of SGLang and of
llama.cpp; empty for none."""
TRIED = tuple(name for name in get_args(Structured) if name)
_SPECIAL = re.compile(r"([\\.^$*+?{}\[\]|()])")


def bound_to(
    field: Structured, choices: Sequence[str], *, rationale: bool = True
) -> dict[str, Any]:
    """Fields of a request that hold its answer to one of some choices.

    A rationale may stand before it, also where the chat template has opened that already.

    Parameters
    ----------
    field : Structured
        That the server obeys.
    choices : sequence of str
        None at all bind nothing.
    rationale : bool
        Whether one stands before it.
    """
    if not field or not choices:
        return {}
    if field == "grammar":
        return {field: _rules(choices, rationale)}
    pattern = _pattern(choices, rationale)
    return {field: {"regex": pattern} if field == "structured_outputs" else pattern}


def _pattern(choices: Sequence[str], rationale: bool) -> str:
    options = "|".join(_SPECIAL.sub(r"\\\1", choice.strip()) for choice in choices)
    before = r"(<think>)?[^<]*</think>\n?" if rationale else ""
    return f"{before}<answer>({options})</answer>"


def _rules(choices: Sequence[str], rationale: bool) -> str:
    """The same in GBNF."""
    options = " | ".join(
        '"' + choice.strip().replace("\\", "\\\\").replace('"', '\\"') + '"' for choice in choices
    )
    before = '"<think>"? [^<]* "</think>" "\\n"? ' if rationale else ""
    return f'root ::= {before}"<answer>" ({options}) "</answer>"'

"""Tokenizers are tables and rules of a checkpoint's author: held to limits before they are used.

Their library is written in Rust. What goes wrong in there may be a panic, whose class is none of
`Exception`; and its rules of spelling may make any text of a letter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari_pathreason.errors import ModelError, in_words, reading
from napari_pathreason.types import Messages

from ._limits import GROWTH

_RUST = "pyo3_runtime"
"""Module of the class of panics, which no package offers by a name."""


def check_spelling(tokenizer: Any, name: str) -> None:
    """Refuse rules that make far more of a text than it is, before any text is given to them.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    name : str
        How the model is called.

    Raises
    ------
    ModelError
        If the limit `GROWTH` is passed.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    for rules in (getattr(core, "normalizer", None), getattr(core, "decoder", None)):
        if rules is not None and _growth(json.loads(rules.__getstate__())) > GROWTH:
            raise ModelError(
                f"the tokenizer of the model {name} makes far more of a text than it is; fetch the "
                "model from where it was released"
            )


def _growth(rule: Any) -> int:
    """How many times as long a text may become by a rule, or by several one after the other."""
    if not isinstance(rule, dict):
        return 1
    growth = 1
    for one in (*rule.get("normalizers", ()), *rule.get("decoders", ())):
        growth = min(growth * _growth(one), GROWTH + 1)
    written = (rule.get("content"), rule.get("prepend"), rule.get("replacement"))
    return growth * max([1, *(len(text) for text in written if isinstance(text, str))])


def check_count(ids: list[int], text: str) -> list[int]:
    """The ids of a text, as long as there are not far more of them than it has bytes.

    Raises
    ------
    ModelError
    """
    if len(ids) > GROWTH * (1 + len(text.encode("utf-8", "replace"))):
        raise ModelError(
            f"the tokenizer makes {len(ids):,} tokens of {len(text):,} characters; fetch the model "
            "from where it was released"
        )
    return ids


@contextmanager
def panics_told() -> Iterator[None]:
    """Turn a panic of the library into one line.

    Raises
    ------
    ModelError
    """
    try:
        yield
    except BaseException as error:
        if type(error).__module__ != _RUST:
            raise
        raise ModelError(
            f"the model's tokenizer fails at this text ({in_words(error)}); fetch the whole model"
        ) from error


def render(tokenizer: Any, messages: Messages, **values: Any) -> str:
    """What the chat template makes of messages, up to where the answer begins.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        With the checkpoint's chat template.
    messages : list of dict
        Without texts that pose as control tokens.
    **values
        That the template may ask for.

    Raises
    ------
    ModelError
        If it fails: it is a program of the checkpoint's author.
    """
    with reading("the model's chat template", ModelError, "fetch the whole model"):
        text: str = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # the rationale that the question asks for is enough
            **values,
        )
        return text

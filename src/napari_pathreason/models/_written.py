"""The tokens of an answer with what stood beside each, out of what the decoding loop drew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_pathreason._types import WrittenToken

from ._decode import Drawn

OPENING = "<answer>"


class AnswerTokens:
    """Tells the tokens of answers as text.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}  # the same few hundred tokens come again and again

    def of(self, drawn: Sequence[Drawn]) -> tuple[WrittenToken, ...]:
        """Tokens from the one that ends the last ``<answer>``; empty where there is none.

        That one is among them since a tokenizer may write it and the first letters as one token.
        """
        texts = [self._text(one.token) for one in drawn]
        opened = "".join(texts).rfind(OPENING)
        if opened < 0:
            return ()
        start, length = 0, len(texts[0])
        while length < opened + len(OPENING):
            start += 1
            length += len(texts[start])
        return tuple(self._written(one) for one in drawn[start:])

    def _written(self, one: Drawn) -> WrittenToken:
        ids, chances = one.beside.tolist(), one.chances.tolist()
        if one.token not in ids:  # drawn at a high temperature, against all likelihood
            ids, chances = [*ids, one.token], [*chances, float(one.own)]
        choices = tuple((self._text(i), c) for i, c in zip(ids, chances, strict=True))
        return WrittenToken(choices, ids.index(one.token))

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._tokenizer.decode(
                [token], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return self._texts[token]

"""Tokens as text: piece by piece while an answer is written, and each with its alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

from napari_pathreason.types import TokenLogprobs

from ._decode import SampledToken


class TextStream:
    """Decodes an answer as it is written.

    The pieces, joined, are what the tokenizer makes of all ids at once. Characters of several
    bytes may span tokens: a piece is held back while its end is not a whole character.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        One of the tokenizers library, as those of all families here are.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._length = 0  # of the text that is out

    def push(self, token: int) -> str:
        """Take one more token; return the text that is now certain, maybe empty."""
        self._ids.append(token)
        piece: str = self._stream.step(self._tokenizer.backend_tokenizer, token) or ""
        self._length += len(piece)
        return piece

    def close(self) -> str:
        """Return what was held back; a character that was never finished shows as U+FFFD."""
        return text_of(self._tokenizer, self._ids)[self._length :]


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """All that tokens say, special ones left out."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


class LogprobsReader:
    """Reads sampled tokens: what each says, and what stood beside it.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}  # the same few hundred tokens come again and again

    def read(self, sampled: Sequence[SampledToken]) -> tuple[TokenLogprobs, ...]:
        """Texts of tokens, each with its choices; all come from the device in one transfer."""
        if not sampled:
            return ()
        ids = torch.stack([one.beside for one in sampled]).tolist()
        probabilities = torch.stack([one.probabilities for one in sampled]).tolist()
        own = torch.stack([one.own for one in sampled]).tolist()
        return tuple(
            self._logprobs(one.token, *row)
            for one, row in zip(sampled, zip(ids, probabilities, own, strict=True), strict=True)
        )

    def _logprobs(
        self, token: int, ids: list[int], probabilities: list[float], own: float
    ) -> TokenLogprobs:
        if token not in ids:  # sampled at a high temperature, against all likelihood
            ids, probabilities = [*ids, token], [*probabilities, own]
        choices = tuple((self._text(i), c) for i, c in zip(ids, probabilities, strict=True))
        return TokenLogprobs(choices, ids.index(token))

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = text_of(self._tokenizer, [token])
        return self._texts[token]

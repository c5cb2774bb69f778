"""Token ids to pieces of text, never cutting a character in two."""

from __future__ import annotations

from typing import Any


class TextStream:
    """Decodes an answer as it is written.

    The pieces, joined, are what the tokenizer makes of all ids at once. Characters of several
    bytes may span tokens: a piece is held back while its end is not a whole character.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # ids[start:shown] are out already; they stay in the window because some tokenizers
        # decode a token by what stands before it
        self._start = 0
        self._shown = 0

    def push(self, token: int) -> str:
        """Take one more token; return the text that is now certain, maybe empty."""
        self._ids.append(token)
        piece = self._new_text()
        if not piece or piece.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return piece

    def close(self) -> str:
        """Return what was held back; a character that was never finished shows as U+FFFD."""
        piece = self._new_text()
        self._start = self._shown = len(self._ids)
        return piece

    def _new_text(self) -> str:
        known = self._decode(self._ids[self._start : self._shown])
        return self._decode(self._ids[self._start :])[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

"""The tokens of a text with what stood beside each, out of what the decoding loop drew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from napari_pathreason.types import TokenLogprobs

from ._decode import Drawn


class LogprobsReader:
    """Tells drawn tokens as text.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}  # the same few hundred tokens come again and again

    def tell(self, drawn: Sequence[Drawn]) -> tuple[TokenLogprobs, ...]:
        """Tokens, each with its choices; all come from the device in one transfer."""
        if not drawn:
            return ()
        ids = torch.stack([one.beside for one in drawn]).tolist()
        probabilities = torch.stack([one.probabilities for one in drawn]).tolist()
        own = torch.stack([one.own for one in drawn]).tolist()
        return tuple(
            self._written(one.token, *row)
            for one, row in zip(drawn, zip(ids, probabilities, own, strict=True), strict=True)
        )

    def _written(
        self, token: int, ids: list[int], probabilities: list[float], own: float
    ) -> TokenLogprobs:
        if token not in ids:  # drawn at a high temperature, against all likelihood
            ids, probabilities = [*ids, token], [*probabilities, own]
        choices = tuple((self._text(i), c) for i, c in zip(ids, probabilities, strict=True))
        return TokenLogprobs(choices, ids.index(token))

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._tokenizer.decode(
                [token], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        return self._texts[token]

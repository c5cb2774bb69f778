"""What a model has read of its last question, kept for the question that follows on it.

A conversation shows its pictures once: the keys and values of all that its prompts have in common
with what was read before are taken over, and neither pictures nor words of it are computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.types import Messages

from ._decode import Prefill, decode_step
from ._inputs import ModelInputs
from ._prompts import rope_positions


@dataclass(frozen=True, slots=True)
class Known:
    """The beginning of a prompt that a model has read: its keys and values, and its tokens."""

    cache: Any
    tokens: int


class PrefixCache:
    """Keys and values of the last answer of a model, with the tokens that they are of.

    One conversation is known at a time; whatever else is asked forgets it, so that no more memory
    is held than one answer takes.

    Parameters
    ----------
    cut : bool
        Whether keys and values of the last tokens can be left out: not where a layer keeps a
        running state.
    """

    def __init__(self, *, cut: bool = True) -> None:
        self._cut = cut
        self._last: tuple[Any, list[int], str] | None = None

    def forget(self) -> None:
        """Free what is kept."""
        self._last = None

    def keep(
        self, cache: Any, tokens: Sequence[int], pictures: Sequence[NDArray[np.uint8]]
    ) -> None:
        """Keep what was read and written.

        Parameters
        ----------
        cache : transformers cache of one row
            It holds the first of the tokens, as many as it has read.
        tokens : sequence of int
            Of the prompt and of the answer.
        pictures : sequence of uint8 array
        """
        self._last = cache, [*tokens][: cache.get_seq_length()], _digest(pictures)

    def take(
        self, inputs: ModelInputs, messages: Messages, pictures: Sequence[NDArray[np.uint8]]
    ) -> Known | None:
        """What is known of a prompt, which is then kept no more; None where that is no picture.

        A question by itself is always read whole: nothing tells that the weights are still those
        that read it before.
        """
        last, self._last = self._last, None
        follows = any(message["role"] == "assistant" for message in messages)
        if last is None or not follows or last[2] != _digest(pictures):
            return None
        cache, before, _ = last
        ids = inputs["input_ids"][0].tolist()
        pairs = zip(before, ids[:-1], strict=False)  # at least one token is read: it is answered
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if int(inputs["mm_token_type_ids"][0, same:].sum()):
            return None
        if same < len(before):
            if not self._cut:
                return None
            cache.crop(same - len(before))
        return Known(cache, same)


def go_on(model: Any, inputs: ModelInputs, known: Known, merge: int) -> Prefill:
    """Read the rest of a prompt.

    Parameters
    ----------
    model : transformers model of one of Qwen's families
    inputs : ModelInputs
        Of the whole prompt; behind what is known stand words alone.
    known : Known
        Used up by this.
    merge : int
        Patches a side of one visual token.
    """
    ids = inputs["input_ids"]
    shapes = inputs["image_grid_thw"].tolist()
    grids = [(rows // merge, columns // merge) for _, rows, columns in shapes]
    (places,) = rope_positions(inputs["mm_token_type_ids"].tolist(), grids)
    before = Prefill(
        known.cache,
        None,
        torch.empty(0),
        places[0, known.tokens][None].to(model.device),
        known.tokens,
    )
    hidden = decode_step(model, before, ids[:, known.tokens :].to(model.device))
    following = places.max()[None].to(model.device) + 1
    return Prefill(known.cache, None, hidden[:, -1], following, ids.shape[1])


def _digest(pictures: Sequence[NDArray[np.uint8]]) -> str:
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{picture.shape}".encode())
        digest.update(picture.tobytes())
    return digest.hexdigest()

"""The decoding loop: a prefill, then one token at a time on the key-value cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from napari_pathreason.types import GenerationSettings

from ._inputs import ModelInputs

BESIDE = 16
"""Likeliest tokens that are kept beside the one drawn, for the confidence of the choice."""


class SampledToken(NamedTuple):
    """A token, and what stood beside it.

    ``beside`` int64 (kept,) are the likeliest ids, ``probabilities`` float32 (kept,) the logarithms
    of their probabilities at temperature 1, ``own`` float32 () that of the token itself; all on the
    model's device, so that a token that nobody asks about costs no transfer.
    """

    token: int
    beside: torch.Tensor
    probabilities: torch.Tensor
    own: torch.Tensor


@torch.inference_mode()
def decode(
    model: Any,
    inputs: ModelInputs,
    settings: GenerationSettings,
    suppressed: Sequence[int],
    merge: int,
) -> Iterator[SampledToken]:
    """Draw tokens without end; each is computed when it is asked for.

    A loop of its own instead of ``model.generate`` in a thread with a streamer: the caller stops
    it between any two tokens just by not asking for more, nothing runs on behind its back, errors
    come out where they happen, and the random numbers are this answer's alone. Greedy output
    equals that of ``model.generate``. Left out, since one answer at a time is drawn: batches
    (`decode_batch` has those), beams, top-k and top-p, repetition penalties (a
    checkpoint's own sampling defaults are not read).

    Parameters
    ----------
    model : transformers model of either family
    inputs : ModelInputs
        On any device.
    settings : GenerationSettings
        ``max_new_tokens`` is the caller's to watch.
    suppressed : sequence of int
        Token ids that are never drawn.
    merge : int
        Patches a side of one visual token.

    Yields
    ------
    SampledToken
        The next token.
    """
    random = torch.Generator().manual_seed(settings.seed)
    _, rows, columns = inputs["image_grid_thw"][0].tolist()
    rows, columns = rows // merge, columns // merge
    # a picture of rows * columns tokens moves the position on by its longer side only
    position = inputs["input_ids"].shape[1] - rows * columns + max(rows, columns)
    arguments: dict[str, Any] = {
        "input_ids": inputs["input_ids"].to(model.device),
        "mm_token_type_ids": inputs["mm_token_type_ids"].to(model.device),
        "pixel_values": inputs["pixel_values"].to(model.device),
        "image_grid_thw": inputs["image_grid_thw"].to(model.device),
    }
    cache = None
    while True:
        output = model(**arguments, past_key_values=cache, use_cache=True, logits_to_keep=1)
        sampled = draw(output.logits[0, -1].float(), settings.temperature, suppressed, random)
        yield sampled
        cache = output.past_key_values
        # positions are given, not left to the model: it keeps the last picture's offset as state,
        # which a second answer that runs in between would overwrite
        arguments = {
            "input_ids": torch.tensor([[sampled.token]], device=model.device),
            "position_ids": torch.full((3, 1, 1), position, device=model.device),
        }
        position += 1


def draw(
    logits: torch.Tensor, temperature: float, suppressed: Sequence[int], random: torch.Generator
) -> SampledToken:
    """Draw a token from logits, float32 (vocabulary,), which are changed."""
    logits[list(suppressed)] = -torch.inf
    token = _draw(logits, temperature, random)
    whole = logits.logsumexp(-1)
    values, beside = logits.topk(min(BESIDE, len(logits)))
    return SampledToken(token, beside, values - whole, logits[token] - whole)


def _draw(logits: torch.Tensor, temperature: float, random: torch.Generator) -> int:
    if temperature <= 0:
        return int(logits.argmax())
    # on the CPU, so that a seed means the same on every device
    probabilities = (logits.cpu() / temperature).softmax(-1)
    return int(torch.multinomial(probabilities, 1, generator=random))

"""What the language model would write of a visual token that it looks at: the corners of its box.

Each corner value has a query head of its own in one layer. Where that head looks at a visual
token, it adds to the stream what its values tell of that token. Said through the last
normalisation in number words, this can be taught of every cell of every box, whereas an answer
writes a handful of coordinates (docs/experiments.md).
"""

from __future__ import annotations

from typing import Any

import torch

from napari_pathreason.errors import QueryError

from ._batch import Batch

CORNERS = 4
"""Values of a box: left, top, right, bottom."""


def readers(attention: Any) -> slice:
    """The query heads that read corners, one for each, of as many groups as there are.

    Raises
    ------
    QueryError
        If the layer's query heads are no multiple of `CORNERS`.
    """
    heads = attention.config.num_attention_heads
    if heads % CORNERS:
        raise QueryError(
            f"sft.read_weight gives each of the {CORNERS} values of a box a head of the language "
            "model, "
            f"which has {heads}; set it to 0, or model.text_heads to a multiple of {CORNERS}"
        )
    return slice(0, heads, heads // CORNERS)


def read_off(attention: Any, norm: Any, hidden: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of each corner value of what visual tokens show.

    Parameters
    ----------
    attention : Qwen3VLTextAttention
    norm : Qwen3VLTextRMSNorm
        The last one of the language model.
    hidden : float tensor (visual tokens, width)
        What the layer is given of them, normalised.
    words : float tensor (numbers, width)
        Embeddings of the numbers that may be written.

    Returns
    -------
    float tensor (visual tokens, 4, numbers)
    """
    values = attention.v_proj(hidden).unflatten(1, (-1, attention.head_dim))
    values = values.repeat_interleave(attention.num_key_value_groups, dim=1)
    added = attention.o_proj.weight.unflatten(1, (-1, attention.head_dim))
    heads = readers(attention)
    told = torch.einsum("nhd,whd->nhw", values[:, heads], added[:, heads])
    return (norm(told) @ words.T).float().log_softmax(dim=-1)


def corners_due(batch: Batch) -> torch.Tensor:
    """Which corner value each token has to write next, int64 (pictures, length - 1); -1: none."""
    written = (batch.spread[:, 1:] > 0) & (batch.step[:, 1:] > 0)
    return torch.where(written, (written.cumsum(dim=1) - 1) % CORNERS, -1)

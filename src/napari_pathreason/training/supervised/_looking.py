"""Where a language model looks while it writes: attention of one layer to what lies before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(slots=True)
class Watched:
    """What the attention of a layer was given in the last forward pass.

    ``hidden`` (rows, length, width); ``rotary`` is (cos, sin), each (rows, length, head width).
    """

    hidden: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    rotary: tuple[torch.Tensor, torch.Tensor] = field(
        default_factory=lambda: (torch.empty(0), torch.empty(0))
    )


@contextmanager
def watch(attention: torch.nn.Module) -> Iterator[Watched]:
    """Keep what a Qwen3-VL text attention is given while the context lasts."""
    watched = Watched()

    def keep(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        watched.hidden = arguments[0] if arguments else named["hidden_states"]
        watched.rotary = named["position_embeddings"]

    handle = attention.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield watched
    finally:
        handle.remove()


def looks(
    attention: Any,
    watched: Watched,
    wanted: torch.Tensor,
    seen: torch.Tensor,
    heads: slice,
) -> list[torch.Tensor]:
    """Log of the attention that some tokens pay to every token of their row.

    The layer computes the same again inside its own kernel, which does not tell weights.

    Parameters
    ----------
    attention : Qwen3VLTextAttention
    watched : Watched
    wanted : bool tensor (rows, length)
        The tokens whose attention is wanted.
    seen : bool tensor (rows, length, length)
        What each token may look at.
    heads : slice
        The query heads that are looked at.

    Returns
    -------
    list of float tensor (tokens wanted of a row, heads, length)
        One for each row; minus infinity where a token may not look.
    """
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

    rows, length, _ = watched.hidden.shape
    shape = (rows, length, -1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(watched.hidden).view(shape))
    groups = attention.num_key_value_groups
    query = query[:, :, heads]
    key = attention.k_norm(attention.k_proj(watched.hidden).view(shape))
    key = key.repeat_interleave(groups, dim=2)[:, :, heads]
    query, key = apply_rotary_pos_emb(query, key, *watched.rotary, unsqueeze_dim=2)
    each = []
    for row in range(rows):
        asked = query[row, wanted[row]] * attention.scaling
        score = torch.einsum("thd,lhd->thl", asked, key[row]).float()
        hidden = ~seen[row, wanted[row]][:, None]
        each.append(score.masked_fill(hidden, -torch.inf).log_softmax(dim=-1))
    return each

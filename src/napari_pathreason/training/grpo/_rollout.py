"""Groups of completions, drawn together on the key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch

from ._actor import Actor, Read
from ._prompts import Prompts


@dataclass(frozen=True, slots=True)
class Rollout:
    """Completions, padded on the right; those of one prompt stand together.

    ``tokens`` int64 (prompts * group, longest); ``mask`` bool of the same shape, True up to and
    with the token that ended a completion; ``finished`` bool (prompts * group,), False where the
    limit cut one off.
    """

    tokens: torch.Tensor
    mask: torch.Tensor
    finished: torch.Tensor

    def texts(self, tokenizer: Any) -> list[str]:
        """Completions as text, without special tokens, as answers are read."""
        return [
            tokenizer.decode(
                row[kept], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            for row, kept in zip(self.tokens.cpu(), self.mask.cpu(), strict=True)
        ]


@torch.no_grad()
def roll_out(
    actor: Actor,
    prompts: Prompts,
    group: int,
    longest: int,
    stops: Collection[int],
    pad: int,
    random: torch.Generator | None,
    may_end: Callable[[bool], bool] = bool,
) -> Rollout:
    """Draw ``group`` completions of each prompt.

    Tokens are drawn from the whole distribution: top-k or top-p would draw from another one than
    the losses speak of. Rows that have ended leave the batch once they are half of it.

    Parameters
    ----------
    actor : Actor
        In evaluation mode.
    prompts : Prompts
        On the actor's device.
    group, longest : int
        Completions of a prompt; tokens of a completion, its end included.
    stops : collection of int
        Token ids that end a completion.
    pad : int
        Token id behind the end.
    random : torch.Generator or None
        On the CPU, so that a seed means the same on every device; None takes the likeliest token.
    may_end : callable
        Tells, given whether all completions have ended, whether to end: where other processes need
        this one's passes, it goes on with one row, and all processes have as many columns.
    """
    read = actor.read(prompts, group)
    device, rows = read.last.device, len(read.last)
    ends = torch.tensor(sorted(stops), device=device)
    tokens = torch.full((rows, longest), pad, device=device)
    mask = torch.zeros((rows, longest), dtype=torch.bool, device=device)
    here = torch.arange(rows, device=device)  # which completion each row of the batch is
    done = torch.zeros(rows, dtype=torch.bool, device=device)
    hidden, attention = read.last, read.attention
    for at in range(longest):
        drawn = _draw(actor.log_probs(hidden), random).masked_fill(done, pad)
        tokens[here, at] = drawn
        mask[here, at] = ~done
        done = done | torch.isin(drawn, ends)
        if may_end(bool(done.all())) or at + 1 == longest:
            break
        attention = torch.cat([attention, torch.ones_like(attention[:, :1])], 1)
        if 2 * int(done.sum()) >= len(done):
            kept = (~done).nonzero()[:, 0]
            kept = kept if len(kept) else kept.new_zeros(1)  # one goes on for the others' sake
            read = _keep(read, kept)
            here, attention, drawn, done = (x[kept] for x in (here, attention, drawn, done))
        hidden = actor.go_on(read, drawn[:, None], attention)[:, -1]
    tokens, mask = tokens[:, : at + 1], mask[:, : at + 1]
    finished = (torch.isin(tokens, ends) & mask).any(1)
    return Rollout(tokens, mask, finished)


def _draw(log_probs: torch.Tensor, random: torch.Generator | None) -> torch.Tensor:
    if random is None:
        return log_probs.argmax(-1)
    drawn = torch.multinomial(log_probs.exp().cpu(), 1, generator=random)[:, 0]
    return drawn.to(log_probs.device)


def _keep(read: Read, rows: torch.Tensor) -> Read:
    read.cache.batch_select_indices(rows)
    return Read(read.cache, read.attention[rows], read.last[rows], read.position[rows])


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end a completion: the checkpoint's own, and the end of a turn."""
    named = model.generation_config.eos_token_id
    ids = {*named} if isinstance(named, list) else {named}
    ids |= {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    return frozenset(ids - {None, tokenizer.unk_token_id})

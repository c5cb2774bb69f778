"""The performer as a policy: it reads prompts once and writes groups of completions behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from napari_pathreason.models._patch_embedding import embed_by_product

from ._prompts import Prompts


class Read(NamedTuple):
    """Prompts that were read, one row for each completion: a group's rows stand together.

    ``cache`` holds their keys and values, ``attention`` (rows, length) which of them count,
    ``last`` (rows, hidden) the state that the first token is drawn from, ``position`` (rows,)
    the place of that token.
    """

    cache: Any
    attention: torch.Tensor
    last: torch.Tensor
    position: torch.Tensor


class Said(NamedTuple):
    """Of each drawn token (completions, tokens), 0 where one has ended.

    ``log_p`` is its log-probability, ``entropy`` that of the choice it was drawn from (nats,
    without gradient).
    """

    log_p: torch.Tensor
    entropy: torch.Tensor


class Actor(torch.nn.Module):
    """A Qwen3-VL model that completes each prompt several times.

    A picture goes through the vision tower once, and a prompt through the language model once,
    however many completions follow: they share its keys and values, with gradient too. Vision
    tokens have no probability, in drawing as in learning, so that both look at one distribution.

    Parameters
    ----------
    model : transformers model of the Qwen3-VL family
    suppressed : sequence of int
        Token ids that are never written.
    temperature : float
        Logits are divided by it.
    """

    def __init__(self, model: Any, suppressed: Sequence[int], temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self._suppressed = list(suppressed)
        self._temperature = temperature
        embed_by_product(model.model.visual)

    def read(self, prompts: Prompts, group: int) -> Read:
        """Read prompts, and make room for ``group`` completions of each."""
        stem = self.model.model
        seen = stem.get_image_features(
            prompts.pixel_values, prompts.image_grid_thw, return_dict=True
        )
        owner = prompts.owner.tolist()
        seen.pooler_output = [seen.pooler_output[i] for i in owner]
        seen.deepstack_features = [[layer[i] for i in owner] for layer in seen.deepstack_features]
        grids = prompts.image_grid_thw[prompts.owner]
        # positions are given, not left to the model, which would keep them as state
        positions, _ = stem.get_rope_index(
            prompts.input_ids,
            mm_token_type_ids=prompts.mm_token_type_ids,
            image_grid_thw=grids,
            attention_mask=prompts.attention_mask,
        )
        output = stem(
            input_ids=prompts.input_ids,
            attention_mask=prompts.attention_mask,
            mm_token_type_ids=prompts.mm_token_type_ids,
            image_grid_thw=grids,
            position_ids=positions,
            mm_encoder_outputs={"image": seen},
            use_cache=True,
        )
        ends = prompts.attention_mask.sum(1) - 1
        last = output.last_hidden_state[torch.arange(len(ends), device=ends.device), ends]
        output.past_key_values.batch_repeat_interleave(group)
        return Read(
            output.past_key_values,
            prompts.attention_mask.repeat_interleave(group, 0),
            last.repeat_interleave(group, 0),
            (positions.amax(dim=(0, 2)) + 1).repeat_interleave(group),
        )

    def go_on(self, read: Read, tokens: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """Hidden states (rows, tokens, hidden) of tokens that follow; grows ``read.cache``.

        ``attention`` covers all that stands before and the tokens themselves.
        """
        before = attention.shape[1] - read.attention.shape[1] - tokens.shape[1]
        steps = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        positions = (read.position[:, None] + steps)[None].expand(3, -1, -1)
        output = self.model.model(
            input_ids=tokens,
            attention_mask=attention,
            position_ids=positions,
            past_key_values=read.cache,
            use_cache=True,
        )
        return output.last_hidden_state

    def log_chances(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (..., vocabulary) of what follows hidden states (..., hidden)."""
        logits = self.model.lm_head(hidden).float() / self._temperature
        logits[..., self._suppressed] = -torch.inf
        return logits.log_softmax(-1)

    def forward(
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, group: int
    ) -> Said:
        """Log-probabilities of completions.

        Parameters
        ----------
        prompts : Prompts
        tokens : int64 tensor (prompts * group, tokens)
            Padded on the right; completions of one prompt stand together.
        mask : bool tensor (prompts * group, tokens)
        group : int
        """
        read = self.read(prompts, group)
        hidden = read.last[:, None]
        if tokens.shape[1] > 1:
            attention = torch.cat([read.attention, mask[:, :-1].to(read.attention.dtype)], 1)
            hidden = torch.cat([hidden, self.go_on(read, tokens[:, :-1], attention)], 1)
        chances = self.log_chances(hidden[mask])
        log_p = chances.gather(1, tokens[mask][:, None])[:, 0]
        with torch.no_grad():
            kept = chances.masked_fill(chances.isinf(), 0.0)
            entropy = -(kept.exp() * kept).sum(1)
        blank = torch.zeros_like(tokens, dtype=log_p.dtype)
        return Said(blank.masked_scatter(mask, log_p), blank.masked_scatter(mask, entropy))

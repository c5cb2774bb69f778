"""The performer as a policy: it reads prompts once and writes groups of completions behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

from napari_pathreason.models import embed_by_product
from napari_pathreason.training.model import recomputing

from ._prompts import Prompts

T = TypeVar("T")

SLICE = 256
"""Tokens whose probabilities over a large vocabulary are held at once."""


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
    """A model of either family that completes each prompt several times.

    A picture goes through the vision encoder once, and a prompt through the language model once,
    however many completions follow: they share its keys and values, with gradient too. Vision
    tokens have no probability, in drawing as in learning, so that both look at one distribution.
    Where gradient checkpointing spares memory, nothing is kept to be shared while it learns: then
    each row holds prompt and completion, and only the picture is shared.

    Parameters
    ----------
    model : transformers model
    suppressed : sequence of int
        Token ids that are never written.
    temperature : float
        Logits are divided by it.
    sparing : bool
        The model has gradient checkpointing.
    """

    def __init__(
        self,
        model: Any,
        suppressed: Sequence[int],
        temperature: float = 1.0,
        sparing: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self._suppressed = list(suppressed)
        self._temperature = temperature
        self._sparing = sparing
        self._no_split_modules = model._no_split_modules  # what FSDP shards by
        embed_by_product(model.model.visual)

    def at_hand(self, act: Callable[[], T]) -> T:
        """What a function gives that uses this actor, with parameters gathered as in `forward`."""
        return act()

    def read(self, prompts: Prompts, group: int) -> Read:
        """Read prompts, and make room for ``group`` completions of each."""
        seen, positions = self._look(prompts)
        output = self.model.model(
            input_ids=prompts.input_ids,
            attention_mask=prompts.attention_mask,
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

    def _look(self, prompts: Prompts) -> tuple[Any, torch.Tensor]:
        """What is seen, picture by question, and positions (3, questions, length)."""
        stem = self.model.model
        seen = stem.get_image_features(
            prompts.pixel_values, prompts.image_grid_thw, return_dict=True
        )
        seen = _each(seen, prompts.owner.tolist())
        # positions are given, not left to the model, which would keep them as state
        positions, _ = stem.get_rope_index(
            prompts.input_ids,
            mm_token_type_ids=prompts.mm_token_type_ids,
            image_grid_thw=prompts.image_grid_thw[prompts.owner],
            attention_mask=prompts.attention_mask,
        )
        return seen, positions

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

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
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
        whole = self._sparing and torch.is_grad_enabled()
        states = self._states_of_rows if whole else self._states_behind
        hidden, drawn = states(prompts, tokens, mask, group)[mask], tokens[mask]
        if self._sparing:  # the vocabulary of a large model is large too
            parts = [
                checkpoint(self._tell, *part, use_reentrant=False)
                for part in zip(hidden.split(SLICE), drawn.split(SLICE), strict=True)
            ]
            log_p, entropy = (torch.cat(each) for each in zip(*parts, strict=True))
        else:
            log_p, entropy = self._tell(hidden, drawn)
        blank = torch.zeros_like(tokens, dtype=log_p.dtype)
        return Said(blank.masked_scatter(mask, log_p), blank.masked_scatter(mask, entropy))

    def _states_behind(
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, group: int
    ) -> torch.Tensor:
        """States (completions, tokens, hidden) that tokens are drawn from, on a shared cache."""
        read = self.read(prompts, group)
        hidden = read.last[:, None]
        if tokens.shape[1] > 1:
            attention = torch.cat([read.attention, mask[:, :-1].to(read.attention.dtype)], 1)
            hidden = torch.cat([hidden, self.go_on(read, tokens[:, :-1], attention)], 1)
        return hidden

    def _states_of_rows(
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, group: int
    ) -> torch.Tensor:
        """The same states, prompt and completion in one row, computed again when needed."""
        with recomputing(self.model):
            seen, positions = self._look(prompts)
            before, length = positions.shape[2], tokens.shape[1]
            ends = prompts.attention_mask.sum(1).repeat_interleave(group) - 1
            first = (positions.amax(dim=(0, 2)) + 1).repeat_interleave(group)
            behind = first[:, None] + torch.arange(length - 1, device=tokens.device)
            ids = prompts.input_ids.repeat_interleave(group, 0)
            known = prompts.attention_mask.repeat_interleave(group, 0)
            rows = [row for row in range(len(prompts.owner)) for _ in range(group)]
            hidden = self.model.model(
                input_ids=torch.cat([ids, tokens[:, :-1]], 1),
                attention_mask=torch.cat([known, mask[:, :-1].to(known.dtype)], 1),
                position_ids=torch.cat(
                    [
                        positions.repeat_interleave(group, 1),
                        behind[None].expand(3, -1, -1),
                    ],
                    2,
                ),
                mm_encoder_outputs={"image": _each(seen, rows)},
                use_cache=False,
            ).last_hidden_state
        last = hidden[torch.arange(len(ends), device=ends.device), ends]
        return torch.cat([last[:, None], hidden[:, before:]], 1)

    def _tell(
        self, hidden: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each token and entropy of the choice, float (tokens,)."""
        probabilities = self.log_probs(hidden)
        log_p = probabilities.gather(1, tokens[:, None])[:, 0]
        with torch.no_grad():
            kept = probabilities.masked_fill(probabilities.isinf(), 0.0)
            entropy = -(kept.exp() * kept).sum(1)
        return log_p, entropy


def _each(seen: Any, picks: Sequence[int]) -> Any:
    """What is seen of pictures, once for each of ``picks``."""
    picked = copy(seen)
    picked.pooler_output = [seen.pooler_output[i] for i in picks]
    if "deepstack_features" in seen:  # of Qwen3-VL
        picked.deepstack_features = [[layer[i] for i in picks] for layer in seen.deepstack_features]
    return picked

"""The performer as a policy, and the prompts that it is given.

It reads a batch of prompts once (prefill) and has groups of completions behind each, in sampling as
in learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.checkpoint import checkpoint

from napari_pathreason import models
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.model import gradient_checkpointing
from napari_pathreason.training.samples import Sample, View
from napari_pathreason.types import BoxSpace, Messages, ModelDims

T = TypeVar("T")

SLICE = 256
"""Tokens whose probabilities over a large vocabulary are held at once."""


def build_prompts(
    pictures: Sequence[Sequence[tuple[Sample, View]]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: models.Normalisation,
    box_space: BoxSpace = "relative",
) -> models.PromptBatch:
    """Prompts of pictures, or of views, each with one question or several that share the pixels.

    ``box_space`` is how the model writes boxes; the prompt names it.
    """
    return prompts_of(
        [questions[0][1].pictures for questions in pictures],
        [
            [TASKS[s.task].messages(s.query, s.captions, box_space) for s, _ in questions]
            for questions in pictures
        ],
        tokenizer,
        dims,
        normalisation,
    )


def prompts_of(
    pictures: Sequence[Sequence[NDArray[np.uint8]]],
    chats: Sequence[Sequence[Messages]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: models.Normalisation,
) -> models.PromptBatch:
    """Prompts of chats about pictures.

    Parameters
    ----------
    pictures : sequence of sequence of uint8 arrays (height, width, 3)
        Sides multiples of ``dims.token_px``; those of each group of chats, in their order.
    chats : sequence of sequence of Messages
        Those about each group of pictures.
    tokenizer : transformers tokenizer
    dims : ModelDims
    normalisation : Normalisation
    """
    patches = [
        models.patchify(each, dims.patch, dims.merge, normalisation)
        for group in pictures
        for each in group
    ]
    pad = tokenizer.convert_tokens_to_ids(models.IMAGE_PAD)
    rows: list[list[int]] = []
    shown: list[tuple[int, ...]] = []
    places = iter(range(len(patches)))
    for group, about in zip(pictures, chats, strict=True):
        visual = [one.shape[0] * one.shape[1] // dims.token_px**2 for one in group]
        rows += [models.prompt_ids(tokenizer, messages, visual) for messages in about]
        shown += [tuple(islice(places, len(group)))] * len(about)
    return models.pad_rows(
        rows,
        [[int(token == pad) for token in row] for row in rows],
        torch.cat([values for values, _ in patches]),
        torch.tensor([grid for _, grid in patches], dtype=torch.int64),
        shown,
        dims.merge,
    )


class LogProbs(NamedTuple):
    """Of each token of completions (completions, tokens), 0 where one has ended.

    ``log_p`` is its log-probability, ``entropy`` that of the distribution it was sampled from
    (nats, without gradient).
    """

    log_p: torch.Tensor
    entropy: torch.Tensor


class Actor(torch.nn.Module):
    """A model of one of Qwen's families that completes each prompt several times.

    A picture goes through the vision encoder once, and a prompt through the language model once,
    however many completions follow: they share its keys and values, with gradient too. Vision
    tokens have no probability, in sampling as in learning, so that both are of one distribution.
    Under gradient checkpointing nothing is kept to be shared while it learns: then each row holds
    prompt and completion, and only the picture is shared.

    Parameters
    ----------
    model : transformers model
    suppressed : sequence of int
        Token ids that are never written.
    temperature : float
        Logits are divided by it.
    checkpointing : bool
        The model has gradient checkpointing.
    """

    def __init__(
        self,
        model: Any,
        suppressed: Sequence[int],
        temperature: float = 1.0,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self._suppressed = list(suppressed)
        self._temperature = temperature
        self._checkpointing = checkpointing
        self._no_split_modules = model._no_split_modules  # what FSDP shards by
        models.embed_by_product(model.model.visual)

    def with_gathered_params(self, act: Callable[[], T]) -> T:
        """What a function gives that uses this actor, with parameters gathered as in `forward`."""
        return act()

    def prefill(self, prompts: models.PromptBatch, num_generations: int) -> models.Prefill:
        """Read prompts, with room for ``num_generations`` completions of each."""
        return models.prefill(self.model, prompts, num_generations)

    def decode_step(self, prefill: models.Prefill, tokens: torch.Tensor) -> torch.Tensor:
        """Hidden states (rows, tokens, hidden) of tokens that follow; grows ``prefill.cache``."""
        return models.decode_step(self.model, prefill, tokens)

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (..., vocabulary) of what follows hidden states (..., hidden)."""
        logits = self.model.lm_head(hidden).float() / self._temperature
        logits[..., self._suppressed] = -torch.inf
        return logits.log_softmax(-1)

    def forward(
        self,
        prompts: models.PromptBatch,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        num_generations: int,
    ) -> LogProbs:
        """Log-probabilities of completions.

        Parameters
        ----------
        prompts : PromptBatch
        tokens : int64 tensor (prompts * num_generations, tokens)
            Padded on the right; completions of one prompt stand together.
        mask : bool tensor (prompts * num_generations, tokens)
        num_generations : int
        """
        apart = self._checkpointing and torch.is_grad_enabled()
        states = self._states_of_rows if apart else self._states_behind
        hidden, written = states(prompts, tokens, mask, num_generations)[mask], tokens[mask]
        if self._checkpointing:  # the vocabulary of a large model is large too
            parts = [
                checkpoint(self._log_p_and_entropy, *part, use_reentrant=False)
                for part in zip(hidden.split(SLICE), written.split(SLICE), strict=True)
            ]
            log_p, entropy = (torch.cat(each) for each in zip(*parts, strict=True))
        else:
            log_p, entropy = self._log_p_and_entropy(hidden, written)
        blank = torch.zeros_like(tokens, dtype=log_p.dtype)
        return LogProbs(blank.masked_scatter(mask, log_p), blank.masked_scatter(mask, entropy))

    def _states_behind(
        self,
        prompts: models.PromptBatch,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        num_generations: int,
    ) -> torch.Tensor:
        """States (completions, tokens, hidden) that tokens are sampled from, on a shared cache."""
        prefill = self.prefill(prompts, num_generations)
        hidden = prefill.last[:, None]
        if tokens.shape[1] > 1:
            behind = self.decode_step(prefill, tokens[:, :-1])
            hidden = torch.cat([hidden, behind], 1)
        return hidden

    def _states_of_rows(
        self,
        prompts: models.PromptBatch,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        num_generations: int,
    ) -> torch.Tensor:
        """The same states, prompt and completion in one row, computed again when needed."""
        with gradient_checkpointing(self.model):
            features = self.model.model.get_image_features(
                prompts.pixel_values, prompts.image_grid_thw, return_dict=True
            )
            positions = prompts.position_ids
            before, length = positions.shape[2], tokens.shape[1]
            ends = prompts.attention_mask.sum(1).repeat_interleave(num_generations) - 1
            first = prompts.next_positions.repeat_interleave(num_generations)
            behind = first[:, None] + torch.arange(length - 1, device=tokens.device)
            ids = prompts.input_ids.repeat_interleave(num_generations, 0)
            attended = prompts.attention_mask.repeat_interleave(num_generations, 0)
            shown = [picture for row in prompts.pictures for picture in row * num_generations]
            hidden = self.model.model(
                input_ids=torch.cat([ids, tokens[:, :-1]], 1),
                attention_mask=torch.cat([attended, mask[:, :-1].to(attended.dtype)], 1),
                position_ids=torch.cat(
                    [
                        positions.repeat_interleave(num_generations, 1),
                        behind[None].expand(3, -1, -1),
                    ],
                    2,
                ),
                mm_encoder_outputs={"image": models.pick_pictures(features, shown)},
                use_cache=False,
            ).last_hidden_state
        last = hidden[torch.arange(len(ends), device=ends.device), ends]
        return torch.cat([last[:, None], hidden[:, before:]], 1)

    def _log_p_and_entropy(
        self, hidden: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each token, and entropy of what it was sampled from, (tokens,)."""
        log_probs = self.log_probs(hidden)
        log_p = log_probs.gather(1, tokens[:, None])[:, 0]
        with torch.no_grad():
            finite = log_probs.masked_fill(log_probs.isinf(), 0.0)
            entropy = -(finite.exp() * finite).sum(1)
        return log_p, entropy

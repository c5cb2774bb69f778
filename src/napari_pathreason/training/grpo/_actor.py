"""The performer as a policy, and the prompts that it is given.

It reads a batch of prompts once (prefill) and has groups of completions behind each, in sampling as
in learning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.checkpoint import checkpoint

from napari_pathreason import models
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.model import gradient_checkpointing
from napari_pathreason.training.samples import Sample, View
from napari_pathreason.types import Messages, ModelDims

T = TypeVar("T")

SLICE = 256
"""Tokens whose probabilities over a large vocabulary are held at once."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Tensors of a step's questions.

    Of pictures: ``pixel_values`` (patches, values), ``image_grid_thw`` (pictures, 3). Of
    questions, padded on the right to (questions, length): ``input_ids``, ``attention_mask``,
    ``mm_token_type_ids``; ``owner`` (questions,) is the picture that each is about.
    """

    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    mm_token_type_ids: torch.Tensor
    owner: torch.Tensor

    def to(self, device: torch.device) -> Prompts:
        """The same prompts on another device."""
        return Prompts(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def build_prompts(
    pictures: Sequence[Sequence[tuple[Sample, View]]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: models.Normalisation,
) -> Prompts:
    """Prompts of pictures, each with one question or several that share its pixels."""
    return prompts_of(
        [questions[0][1].pixels for questions in pictures],
        [[TASKS[s.task].messages(s.query) for s, _ in questions] for questions in pictures],
        tokenizer,
        dims,
        normalisation,
    )


def prompts_of(
    pictures: Sequence[NDArray[np.uint8]],
    chats: Sequence[Sequence[Messages]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: models.Normalisation,
) -> Prompts:
    """Prompts of chats about pictures.

    Parameters
    ----------
    pictures : sequence of uint8 arrays (height, width, 3)
        Sides multiples of ``dims.token_px``.
    chats : sequence of sequence of Messages
        Those about each picture.
    tokenizer : transformers tokenizer
    dims : ModelDims
    normalisation : Normalisation
    """
    patches = [models.patchify(each, dims.patch, dims.merge, normalisation) for each in pictures]
    rows: list[list[int]] = []
    owner = []
    for index, (picture, about) in enumerate(zip(pictures, chats, strict=True)):
        visual = picture.shape[0] * picture.shape[1] // dims.token_px**2
        rows += [models.prompt_ids(tokenizer, messages, visual) for messages in about]
        owner += [index] * len(about)
    length = max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    pad = tokenizer.pad_token_id
    input_ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    return Prompts(
        pixel_values=torch.cat([values for values, _ in patches]),
        image_grid_thw=torch.tensor([grid for _, grid in patches], dtype=torch.int64),
        input_ids=input_ids,
        attention_mask=(torch.arange(length) < lengths[:, None]).to(torch.int64),
        mm_token_type_ids=(input_ids == tokenizer.convert_tokens_to_ids(models.IMAGE_PAD)).long(),
        owner=torch.tensor(owner),
    )


class Prefill(NamedTuple):
    """Prompts as they were read, a row for each completion: those of one prompt stand together.

    ``cache`` holds their keys and values, ``attention`` (rows, length) which of them count,
    ``last`` (rows, hidden) the state that the first token is sampled from, ``position`` (rows,)
    the place of that token.
    """

    cache: Any
    attention: torch.Tensor
    last: torch.Tensor
    position: torch.Tensor


class LogProbs(NamedTuple):
    """Of each token of completions (completions, tokens), 0 where one has ended.

    ``log_p`` is its log-probability, ``entropy`` that of the distribution it was sampled from
    (nats, without gradient).
    """

    log_p: torch.Tensor
    entropy: torch.Tensor


class Actor(torch.nn.Module):
    """A model of either family that completes each prompt several times.

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

    def prefill(self, prompts: Prompts, num_generations: int) -> Prefill:
        """Read prompts, with room for ``num_generations`` completions of each."""
        features, positions = self._encode(prompts)
        output = self.model.model(
            input_ids=prompts.input_ids,
            attention_mask=prompts.attention_mask,
            position_ids=positions,
            mm_encoder_outputs={"image": features},
            use_cache=True,
        )
        ends = prompts.attention_mask.sum(1) - 1
        last = output.last_hidden_state[torch.arange(len(ends), device=ends.device), ends]
        output.past_key_values.batch_repeat_interleave(num_generations)
        return Prefill(
            output.past_key_values,
            prompts.attention_mask.repeat_interleave(num_generations, 0),
            last.repeat_interleave(num_generations, 0),
            (positions.amax(dim=(0, 2)) + 1).repeat_interleave(num_generations),
        )

    def _encode(self, prompts: Prompts) -> tuple[Any, torch.Tensor]:
        """Features of pictures, question by question, and positions (3, questions, length)."""
        stem = self.model.model
        features = stem.get_image_features(
            prompts.pixel_values, prompts.image_grid_thw, return_dict=True
        )
        features = _each(features, prompts.owner.tolist())
        # positions are given, not left to the model, which would keep them as state
        positions, _ = stem.get_rope_index(
            prompts.input_ids,
            mm_token_type_ids=prompts.mm_token_type_ids,
            image_grid_thw=prompts.image_grid_thw[prompts.owner],
            attention_mask=prompts.attention_mask,
        )
        return features, positions

    def decode_step(
        self, prefill: Prefill, tokens: torch.Tensor, attention: torch.Tensor
    ) -> torch.Tensor:
        """Hidden states (rows, tokens, hidden) of tokens that follow; grows ``prefill.cache``.

        ``attention`` covers all that stands before and the tokens themselves.
        """
        before = attention.shape[1] - prefill.attention.shape[1] - tokens.shape[1]
        steps = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        positions = (prefill.position[:, None] + steps)[None].expand(3, -1, -1)
        output = self.model.model(
            input_ids=tokens,
            attention_mask=attention,
            position_ids=positions,
            past_key_values=prefill.cache,
            use_cache=True,
        )
        return output.last_hidden_state

    def log_probs(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (..., vocabulary) of what follows hidden states (..., hidden)."""
        logits = self.model.lm_head(hidden).float() / self._temperature
        logits[..., self._suppressed] = -torch.inf
        return logits.log_softmax(-1)

    def forward(
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, num_generations: int
    ) -> LogProbs:
        """Log-probabilities of completions.

        Parameters
        ----------
        prompts : Prompts
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
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, num_generations: int
    ) -> torch.Tensor:
        """States (completions, tokens, hidden) that tokens are sampled from, on a shared cache."""
        prefill = self.prefill(prompts, num_generations)
        hidden = prefill.last[:, None]
        if tokens.shape[1] > 1:
            before = prefill.attention
            attention = torch.cat([before, mask[:, :-1].to(before.dtype)], 1)
            behind = self.decode_step(prefill, tokens[:, :-1], attention)
            hidden = torch.cat([hidden, behind], 1)
        return hidden

    def _states_of_rows(
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, num_generations: int
    ) -> torch.Tensor:
        """The same states, prompt and completion in one row, computed again when needed."""
        with gradient_checkpointing(self.model):
            features, positions = self._encode(prompts)
            before, length = positions.shape[2], tokens.shape[1]
            ends = prompts.attention_mask.sum(1).repeat_interleave(num_generations) - 1
            first = (positions.amax(dim=(0, 2)) + 1).repeat_interleave(num_generations)
            behind = first[:, None] + torch.arange(length - 1, device=tokens.device)
            ids = prompts.input_ids.repeat_interleave(num_generations, 0)
            attended = prompts.attention_mask.repeat_interleave(num_generations, 0)
            rows = [row for row in range(len(prompts.owner)) for _ in range(num_generations)]
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
                mm_encoder_outputs={"image": _each(features, rows)},
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


def _each(features: Any, picks: Sequence[int]) -> Any:
    """Features of pictures, once for each of ``picks``."""
    picked = copy(features)
    picked.pooler_output = [features.pooler_output[i] for i in picks]
    if "deepstack_features" in features:  # of Qwen3-VL
        picked.deepstack_features = [
            [layer[i] for i in picks] for layer in features.deepstack_features
        ]
    return picked

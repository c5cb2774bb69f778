"""The model under training, as one module: its text and its dense heads in one forward pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from napari_pathreason.models import embed_by_product
from napari_pathreason.training.samples import CLASSES, COUNTED

from ._batch import IGNORE, Batch
from ._looking import Watched, looks, watch
from ._reading import corners_due, read_off, readers

WATCHED = -2
"""The layer of the language model whose attention is taught; the last one still reads it."""
READING = -1
"""The layer that reads the corners of boxes off visual tokens, where that is taught."""
SPOKEN = (4, 2)
"""Coordinates that a visual token says: corners of its box, its own place."""


class Predicted(NamedTuple):
    """What the losses read.

    Of the language model, None where it did not write: ``logits`` (targets, vocabulary), one row
    for each label that is no `IGNORE`, in reading order; ``looks`` (targets that speak of a place,
    heads, length), of each picture, where it looked: see `looks`. Where reading is taught, else
    None: ``turns`` (targets that are corner values, 4, length), of each picture, where the heads
    that read looked; ``reads`` (visual tokens, 4, coordinates), what they would write of a token.
    Of the dense heads: ``cells`` (visual tokens, classes), ``counts`` (visual tokens, counted
    classes), and log-probabilities ``boxes`` (visual tokens, 4, coordinates) and ``places`` (visual
    tokens, 2, coordinates); of all tokens of a picture together: ``totals`` (pictures, counted
    classes, NUMBERS).
    """

    logits: torch.Tensor | None
    looks: list[torch.Tensor] | None
    turns: list[torch.Tensor] | None
    reads: torch.Tensor | None
    cells: torch.Tensor
    boxes: torch.Tensor
    counts: torch.Tensor
    places: torch.Tensor
    totals: torch.Tensor


class Trainee(torch.nn.Module):
    """A Qwen3-VL model with heads on its visual tokens that training alone needs.

    Each picture goes through the vision encoder and the language model once, however many questions
    are asked of it, and the vocabulary is looked at only where something is learnt. Visual tokens
    say coordinates in the language model's own number words, so that it can write them by copying
    (docs/experiments.md).

    Parameters
    ----------
    model : Qwen3VLForConditionalGeneration
    hidden : int
        Width of the language model.
    numbers : int64 tensor (NUMBERS,)
        Token ids of 0 to 1000.
    quantum : int
        Coordinates that may be written are multiples of it.
    reads : bool
        Whether the language model is taught to read boxes off visual tokens.
    """

    numbers: torch.Tensor

    def __init__(
        self, model: Any, hidden: int, numbers: torch.Tensor, quantum: int, reads: bool = False
    ) -> None:
        super().__init__()
        if reads:
            readers(model.model.language_model.layers[READING].self_attn)  # refuses early
        self.model = model
        embed_by_product(model.model.visual)
        self.head = torch.nn.Linear(hidden, len(CLASSES) + len(COUNTED))
        self.speaker = torch.nn.Linear(hidden, sum(SPOKEN) * hidden)
        self.logprobs_reader = torch.nn.Linear(hidden, len(COUNTED) * hidden)
        self.register_buffer("numbers", numbers, persistent=False)
        self.quantum = quantum
        self.reads = reads

    def forward(self, batch: Batch, write: bool = True) -> Predicted:
        """Predict every target of a batch; without ``write`` those of the dense heads alone."""
        stem = self.model.model
        seen = stem.get_image_features(batch.pixel_values, batch.image_grid_thw, return_dict=True)
        tokens = torch.cat(list(seen.pooler_output))
        cells, counts = self.head(tokens).split((len(CLASSES), len(COUNTED)), dim=1)
        coordinates = self.numbers[:: self.quantum]
        boxes, places = self._say(self.speaker(tokens), coordinates).split(SPOKEN, dim=1)
        means = torch.stack([one.mean(dim=0) for one in seen.pooler_output])
        dense = cells, boxes, counts, places, self._say(self.logprobs_reader(means), self.numbers)
        if not write:
            return Predicted(None, None, None, None, *dense)
        layers = stem.language_model.layers
        mask = _seen_by(batch.segment)
        with (
            watch(layers[WATCHED].self_attn) as watched,
            watch(layers[READING].self_attn) as reading,
        ):
            logits = _write(self.model, batch, seen, mask)
        attention = layers[WATCHED].self_attn
        each_group = slice(None, None, attention.num_key_value_groups)
        wanted = _behind(speaks_of_a_place(batch))
        looked = looks(attention, watched, wanted, mask[:, 0], each_group)
        turns, reads = self._read(batch, reading, mask[:, 0]) if self.reads else (None, None)
        return Predicted(logits, looked, turns, reads, *dense)

    def _read(
        self, batch: Batch, reading: Watched, seen: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """``turns`` and ``reads`` of `Predicted`."""
        text = self.model.model.language_model
        attention = text.layers[READING].self_attn
        due = _behind(corners_due(batch) >= 0)
        shown = reading.hidden[batch.mm_token_type_ids == 1]
        words = self.model.get_input_embeddings().weight[self.numbers[:: self.quantum]]
        return (
            looks(attention, reading, due, seen, readers(attention)),
            read_off(attention, text.norm, shown, words),
        )

    def _say(self, thoughts: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (things, words, numbers) of thoughts (things, words * width)."""
        words = self.model.get_input_embeddings().weight[numbers]
        scale = math.sqrt(words.shape[1])  # embeddings start small; see `order_embeddings`
        each = thoughts.unflatten(1, (-1, words.shape[1]))
        return (scale * each @ words.T).float().log_softmax(dim=-1)


def _behind(next_word: torch.Tensor) -> torch.Tensor:
    """Tokens that write what ``next_word`` (pictures, length - 1) tells, as a mask of all."""
    return torch.nn.functional.pad(next_word, (0, 1))


def speaks_of_a_place(batch: Batch) -> torch.Tensor:
    """Which tokens have to write of a place next, bool (pictures, length - 1)."""
    return batch.spoken_of[:, 1:, 2] > batch.spoken_of[:, 1:, 0]


class Writer(torch.nn.Module):
    """A model of either family as it is; learns to write answers, and nothing of its tokens.

    Parameters
    ----------
    model : transformers model
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._no_split_modules = model._no_split_modules  # what FSDP shards by

    def forward(self, batch: Batch, write: bool = True) -> torch.Tensor:
        """Logits (targets, vocabulary), as in `Predicted`; it always writes."""
        seen = self.model.model.get_image_features(
            batch.pixel_values, batch.image_grid_thw, return_dict=True
        )
        return _write(self.model, batch, seen, _seen_by(batch.segment))


def _write(model: Any, batch: Batch, seen: Any, mask: torch.Tensor) -> torch.Tensor:
    """Logits of the targets of a batch whose pictures were ``seen``; ``mask`` of `_seen_by`."""
    positions, _ = model.model.get_rope_index(
        batch.input_ids, batch.mm_token_type_ids, batch.image_grid_thw
    )
    hidden = model.model(
        input_ids=batch.input_ids,
        attention_mask=mask,
        position_ids=positions - batch.shift,
        mm_encoder_outputs={"image": seen},
        use_cache=False,
    ).last_hidden_state
    logits: torch.Tensor = model.lm_head(hidden[:, :-1][batch.labels[:, 1:] != IGNORE])
    return logits


def _seen_by(segment: torch.Tensor) -> torch.Tensor:
    """What each token sees, bool (pictures, 1, length, length): the picture and its own question.

    ``segment`` is that of `Batch`.
    """
    own = segment[:, :, None] == segment[:, None]
    seen = (own | (segment == 0)[:, None]) & torch.ones_like(own).tril()
    return seen[:, None]

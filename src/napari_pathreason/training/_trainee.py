"""The model under training, as one module: its text and its dense heads in one forward pass."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch

from napari_pathreason.models._patch_embedding import embed_by_product

from ._batch import IGNORE, Batch
from ._coverage import CLASSES, COUNTED

SPOKEN = (4, 2)
"""Coordinates that a visual token says: corners of its box, its own place."""


class Predicted(NamedTuple):
    """What the losses read.

    ``logits`` (targets, vocabulary), one row for each label that is no `IGNORE`, in reading
    order; None if none was wanted. Of the dense heads: ``cells`` (visual tokens, classes),
    ``counts`` (visual tokens, counted classes), and log-probabilities ``boxes`` (visual tokens,
    4, coordinates) and ``places`` (visual tokens, 2, coordinates).
    """

    logits: torch.Tensor | None
    cells: torch.Tensor
    boxes: torch.Tensor
    counts: torch.Tensor
    places: torch.Tensor


class Trainee(torch.nn.Module):
    """A Qwen3-VL model with heads on its visual tokens that training alone needs.

    Each picture goes through the vision tower and the text part once, however many questions are
    asked of it, and the vocabulary is looked at only where something is learnt. Visual tokens say
    coordinates in the text part's own number words, so that it can write them by copying
    (docs/experiments.md).

    Parameters
    ----------
    model : Qwen3VLForConditionalGeneration
    hidden : int
        Width of the text part.
    coordinates : int64 tensor (coordinates,)
        Token ids of the coordinates that may be written, evenly from 0 to 1000.
    """

    coordinates: torch.Tensor

    def __init__(self, model: Any, hidden: int, coordinates: torch.Tensor) -> None:
        super().__init__()
        self.model = model
        embed_by_product(model.model.visual)
        self.head = torch.nn.Linear(hidden, len(CLASSES) + len(COUNTED))
        self.speaker = torch.nn.Linear(hidden, sum(SPOKEN) * hidden)
        self.register_buffer("coordinates", coordinates, persistent=False)

    def forward(self, batch: Batch, write: bool = True) -> Predicted:
        """Predict every target of a batch; without ``write`` those of the dense heads alone."""
        stem = self.model.model
        seen = stem.get_image_features(batch.pixel_values, batch.image_grid_thw, return_dict=True)
        tokens = torch.cat(list(seen.pooler_output))
        cells, counts = self.head(tokens).split((len(CLASSES), len(COUNTED)), dim=1)
        boxes, places = self._say(tokens).split(SPOKEN, dim=1)
        if not write:
            return Predicted(None, cells, boxes, counts, places)
        return Predicted(_write(self.model, batch, seen), cells, boxes, counts, places)

    def _say(self, tokens: torch.Tensor) -> torch.Tensor:
        words = self.model.get_input_embeddings().weight[self.coordinates]
        thought = self.speaker(tokens).unflatten(1, (sum(SPOKEN), -1))
        scale = math.sqrt(tokens.shape[1])  # embeddings start small; see `order_embeddings`
        return (scale * thought @ words.T).float().log_softmax(dim=-1)


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
        return _write(self.model, batch, seen)


def _write(model: Any, batch: Batch, seen: Any) -> torch.Tensor:
    """Logits of the targets of a batch whose pictures were ``seen``."""
    positions, _ = model.model.get_rope_index(
        batch.input_ids, batch.mm_token_type_ids, batch.image_grid_thw
    )
    hidden = model.model(
        input_ids=batch.input_ids,
        attention_mask=_seen_by(batch.segment),
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

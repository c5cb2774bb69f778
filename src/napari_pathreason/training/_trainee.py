"""The model under training, as one module: its text and its dense heads in one forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from napari_pathreason.models._patch_embedding import embed_by_product

from ._batch import IGNORE, Batch
from ._coverage import CLASSES, COUNTED

HEADS = (len(CLASSES), 4, len(COUNTED), 2)
"""Outputs of the dense heads: classes, corners, numbers, place."""


class Predicted(NamedTuple):
    """What the losses read.

    ``logits`` (targets, vocabulary), one row for each label that is no `IGNORE`, in reading
    order; ``cells`` (visual tokens, classes), ``boxes`` (visual tokens, 4), ``counts`` (visual
    tokens, counted classes) and ``places`` (visual tokens, 2) of the dense heads.
    """

    logits: torch.Tensor
    cells: torch.Tensor
    boxes: torch.Tensor
    counts: torch.Tensor
    places: torch.Tensor


class Trainee(torch.nn.Module):
    """A Qwen3-VL model with a head on its visual tokens that training alone needs.

    Each picture goes through the vision tower once, however many questions are asked of it, and
    the vocabulary is looked at only where something is learnt.
    """

    def __init__(self, model: Any, hidden: int) -> None:
        super().__init__()
        self.model = model
        embed_by_product(model.model.visual)
        self.head = torch.nn.Linear(hidden, sum(HEADS))

    def forward(self, batch: Batch) -> Predicted:
        """Predict every target of a batch."""
        stem = self.model.model
        seen = stem.get_image_features(batch.pixel_values, batch.image_grid_thw, return_dict=True)
        dense = self.head(torch.cat(list(seen.pooler_output)))
        owner = batch.owner.tolist()
        seen.pooler_output = [seen.pooler_output[i] for i in owner]
        seen.deepstack_features = [[layer[i] for i in owner] for layer in seen.deepstack_features]
        hidden = stem(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            mm_token_type_ids=batch.mm_token_type_ids,
            image_grid_thw=batch.image_grid_thw[batch.owner],
            mm_encoder_outputs={"image": seen},
            use_cache=False,
        ).last_hidden_state
        learnt = hidden[:, :-1][batch.labels[:, 1:] != IGNORE]
        return Predicted(self.model.lm_head(learnt), *dense.split(HEADS, dim=1))

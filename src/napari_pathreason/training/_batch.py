"""Views -> one padded batch of tensors with labels and dense targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from napari_pathreason._types import ModelDims
from napari_pathreason.models._inputs import build_inputs
from napari_pathreason.models._pixels import Normalisation
from napari_pathreason.tasks import TASKS

from ._coverage import box_targets, dense_targets
from ._sample import Sample
from ._view import View

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tensors.

    ``inputs`` are keyword arguments of the model's forward pass, padded on the right to (batch,
    length); ``labels`` (batch, length) hold `IGNORE` outside the target; ``dense`` and ``known``
    are (visual tokens of the whole batch, classes); ``boxes`` (tokens, 4) hold the box that a
    cell lies in, where ``boxed`` (tokens,) says that it lies in one.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    dense: torch.Tensor
    known: torch.Tensor
    boxes: torch.Tensor
    boxed: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(
            {name: tensor.to(device) for name, tensor in self.inputs.items()},
            self.labels.to(device),
            self.dense.to(device),
            self.known.to(device),
            self.boxes.to(device),
            self.boxed.to(device),
        )


def collate(
    items: Sequence[tuple[Sample, View, str]],
    tokenizer: Any,
    dims: ModelDims,
    normalisation: Normalisation,
) -> Batch:
    """Batch of (sample, view, target text)."""
    prompts = [
        build_inputs(
            tokenizer,
            dims,
            view.pixels,
            TASKS[sample.task].messages(sample.query),
            normalisation,
        )
        for sample, view, _ in items
    ]
    targets = [
        [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        for _, _, text in items
    ]
    lengths = [
        prompt["input_ids"].shape[1] + len(target)
        for prompt, target in zip(prompts, targets, strict=True)
    ]
    shape = (len(items), max(lengths))
    input_ids = torch.full(shape, tokenizer.pad_token_id, dtype=torch.int64)
    labels = torch.full(shape, IGNORE, dtype=torch.int64)
    visual = torch.zeros(shape, dtype=torch.int64)
    attention = torch.zeros(shape, dtype=torch.int64)
    for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        start, end = prompt["input_ids"].shape[1], lengths[row]
        input_ids[row, :start] = prompt["input_ids"][0]
        input_ids[row, start:end] = torch.tensor(target)
        labels[row, start:end] = input_ids[row, start:end]
        visual[row, :start] = prompt["mm_token_type_ids"][0]
        attention[row, :end] = 1
    dense = [dense_targets(view) for _, view, _ in items]
    boxes = [box_targets(view) for _, view, _ in items]
    return Batch(
        inputs={
            "input_ids": input_ids,
            "attention_mask": attention,
            "mm_token_type_ids": visual,
            "pixel_values": torch.cat([prompt["pixel_values"] for prompt in prompts]),
            "image_grid_thw": torch.cat([prompt["image_grid_thw"] for prompt in prompts]),
        },
        labels=labels,
        dense=torch.from_numpy(_stack([shares for shares, _ in dense])),
        known=torch.from_numpy(_stack([_spread(shares, known) for shares, known in dense])),
        boxes=torch.from_numpy(_stack([corners for corners, _ in boxes])),
        boxed=torch.from_numpy(_stack([inside for _, inside in boxes])),
    )


def _stack(arrays: list[Any]) -> Any:
    import numpy as np

    return np.concatenate(arrays)


def _spread(shares: Any, known: Any) -> Any:
    import numpy as np

    return np.broadcast_to(known, shares.shape)

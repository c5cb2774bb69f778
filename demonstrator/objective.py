"""The demonstrator's objective: see, attend and write; named by its recipes as ``sft.objective``.

Of every picture the model learns what lies where (dense losses on its visual tokens) and to write
rationale and answer while it attends to what each word speaks of. The first steps may teach the
vision encoder alone: a language model that cannot read yet wipes out what it knows of places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from napari_pathreason.errors import QueryError
from napari_pathreason.models import NORMALISATION, Normalisation, read_dims
from napari_pathreason.training.objectives import IGNORE, read_options
from napari_pathreason.training.recipe import SFTRecipe
from napari_pathreason.training.samples import Sample, View
from napari_pathreason.types import ModelDims

from .codes import tell_tokens, write_count_code, write_place_code
from .dense import DenseBatch, GroundedQuestion, Labels, collate_dense
from .evidence import target_pieces
from .losses import (
    NUMBERS,
    attention_loss,
    box_loss,
    count_loss,
    coverage_loss,
    place_loss,
    routing_loss,
    text_loss,
    total_loss,
)
from .multi_task_model import MultiTaskModel, Predictions, corners_due, speaks_of_a_place

PLACE_CODE_BATCHES = 12
"""Batches that show what a vision encoder's stream carries, where places get room in it."""
PANELS = {
    "text": "answer: cross-entropy",
    "coverage": "coverage: cross-entropy",
    "boxes": "boxes: said in number words",
    "counts": "counts: error",
    "places": "places: said in number words",
    "totals": "totals: said in number words",
    "attention": "attention: divergence",
    "routing": "attention of the heads that read: divergence",
    "readout": "boxes: read off the visual tokens",
}
Weight = Annotated[float, Field(ge=0)]


class Options(BaseModel):
    """``sft.objective_options`` of `MultiTaskObjective`.

    The first ``auxiliary_steps`` teach the vision encoder and the heads alone. ``*_weight`` weigh
    the losses beside the text's 1: of what covers a visual token, its box, its count and its
    place, of the totals of a picture, of where the language model attends, and of what its last
    layer reads off visual tokens (``readout_weight``; 0 leaves that layer free). A written count
    weighs ``count_token_weight`` times what another word does. ``auxiliary_prompts`` names labels
    whose boxes training asks for besides, wherever a picture shows some.

    What is written into the model before the first step: ``place_code`` gives places room in the
    vision encoder (`write_place_code`), ``count_code`` gives words of counts a scale
    (`write_count_code`). With ``tell_tokens`` a prompt says how many visual tokens there are.
    ``covered``, ``boxed`` and ``counted`` are those of `Labels`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    auxiliary_steps: Annotated[int, Field(ge=0)] = 0
    coverage_weight: Weight = 1.0
    box_weight: Weight = 0.15
    count_weight: Weight = 1.0
    place_weight: Weight = 0.1
    total_weight: Weight = 0.05
    attention_weight: Weight = 0.15
    readout_weight: Weight = 0.0
    count_token_weight: Weight = 1.0
    auxiliary_prompts: tuple[str, ...] = ()
    place_code: bool = False
    count_code: bool = False
    tell_tokens: bool = False
    covered: tuple[str, ...] = Labels().covered
    boxed: tuple[str, ...] = Labels().boxed
    counted: tuple[str, ...] = Labels().counted


class MultiTaskObjective:
    """All parts of `napari_pathreason.training.objectives.Objective`.

    Parameters
    ----------
    settings : SFTRecipe

    Raises
    ------
    QueryError
        If an option is unknown or wrong.
    """

    weights: Mapping[str, float]
    panels: Mapping[str, str]
    module: torch.nn.Module
    sparse: bool
    tokenizer: Any
    dims: ModelDims
    normalisation: Normalisation
    numbers: torch.Tensor

    def __init__(self, settings: SFTRecipe) -> None:
        options = read_options(Options, settings)
        self.options, self.settings = options, settings
        self.labels = Labels(options.covered, options.boxed, options.counted)
        self.sparse = options.auxiliary_steps > 0  # the language model gets no gradient in these
        weights = {
            "text": 1.0,
            "coverage": options.coverage_weight,
            "boxes": options.box_weight,
            "counts": options.count_weight,
            "places": options.place_weight,
            "totals": options.total_weight,
            "attention": options.attention_weight,
        }
        if options.readout_weight > 0:
            weights |= dict.fromkeys(("routing", "readout"), options.readout_weight)
        self.weights = weights
        self.panels = {name: PANELS[name] for name in weights}

    def attach(self, model: Any, tokenizer: Any) -> None:
        """Take a Qwen3-VL model that learns as a whole and writes numbers in one token each.

        Raises
        ------
        QueryError
            If it is another one, or its heads do not suit ``readout_weight``.
        """
        if hasattr(model, "peft_config"):
            raise QueryError(
                "MultiTaskObjective teaches a whole model; leave out the recipe's lora section, or "
                "its sft.objective"
            )
        words = tokenizer.convert_tokens_to_ids([str(n) for n in range(NUMBERS)])
        if {None, tokenizer.unk_token_id} & {*words}:
            raise QueryError(
                "the model to start from writes numbers in several tokens, which "
                "MultiTaskObjective cannot teach; leave out sft.objective, or start from embedded "
                "or a model of demonstrator.new_model"
            )
        if self.options.tell_tokens:
            tokenizer.chat_template = tell_tokens(tokenizer.chat_template)
        self.tokenizer, self.numbers = tokenizer, torch.tensor(words)
        self.dims = read_dims(model.config.to_dict())
        self.normalisation = NORMALISATION[model.config.model_type]
        self.module = MultiTaskModel(
            model,
            self.dims.text_hidden,
            self.numbers,
            self.settings.box_quantum,
            self.labels,
            self.options.readout_weight > 0,
        )

    def begin(self, batches: Iterable[DenseBatch]) -> None:
        """Write the codes that the options ask for.

        Raises
        ------
        QueryError
            If the model has no room for them.
        """
        model: Any = self.module.model
        if self.options.place_code:
            write_place_code(model.model.visual, islice(batches, PLACE_CODE_BATCHES))
        if self.options.count_code:
            write_count_code(model, self.tokenizer, self.settings.box_quantum)

    def extend(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Questions, and behind them `auxiliary_prompts`."""
        return [*samples, *auxiliary_prompts(samples[0], self.options.auxiliary_prompts)]

    def collate(self, pictures: Sequence[Sequence[tuple[Sample, View]]]) -> DenseBatch:
        """Targets with evidence, and what each visual token shows."""
        quantum = self.settings.box_quantum
        questions = [
            [
                GroundedQuestion(sample, view, target_pieces(sample, view, quantum))
                for sample, view in each
            ]
            for each in pictures
        ]
        return collate_dense(
            questions, self.tokenizer, self.dims, self.normalisation, quantum, self.labels
        )

    def rate(self, step: int) -> float:
        """Warms up again where the language model begins to learn."""
        later = step - self.options.auxiliary_steps
        if self.options.auxiliary_steps == 0 or later < 0:
            return 1.0
        return min(1.0, (later + 1) / max(1, self.settings.warmup))

    def losses(self, model: Any, batch: DenseBatch, step: int) -> torch.Tensor:
        """See `Objective.losses`; what is not taught in this step is 0."""
        predictions: Predictions = model(batch, step >= self.options.auxiliary_steps)
        totals, known = _totals(batch)
        none = predictions.coverage.new_zeros((), dtype=torch.float32)
        text = attention = routing = readout = none
        if predictions.logits is not None and predictions.attention is not None:
            text = self._text_loss(batch, predictions.logits)
            attention = _attention_loss(batch, predictions.attention)
        if predictions.routing is not None and predictions.readout is not None:
            routing = _routing_loss(batch, predictions.routing)
            readout = box_loss(predictions.readout, batch.boxes, batch.box_weight)
        each = {
            "text": text,
            "coverage": coverage_loss(predictions.coverage, batch.coverage, batch.coverage_known),
            "boxes": box_loss(predictions.boxes, batch.boxes, batch.box_weight),
            "counts": count_loss(
                predictions.counts, batch.counts, batch.counts_known, batch.visual_tokens
            ),
            "places": place_loss(predictions.places, batch.places),
            "totals": total_loss(predictions.totals, totals, known),
            "attention": attention,
            "routing": routing,
            "readout": readout,
        }
        return torch.stack([each[name] for name in self.weights])

    def counts(self, batch: DenseBatch) -> torch.Tensor:
        """See `Objective.counts`."""
        each = {
            "text": (batch.labels[:, 1:] != IGNORE).sum(),
            "coverage": batch.coverage_known.sum(),
            "boxes": batch.box_weight.sum(),
            "counts": batch.counts_known.sum(),
            "places": torch.tensor(len(batch.places)),
            "totals": _totals(batch)[1].sum(),
            "attention": speaks_of_a_place(batch).sum(),
            "routing": (corners_due(batch) >= 0).sum(),
            "readout": batch.box_weight.sum(),
        }
        return torch.stack([each[name] for name in self.weights]).float()

    def _text_loss(self, batch: DenseBatch, logits: torch.Tensor) -> torch.Tensor:
        learnt = batch.labels[:, 1:] != IGNORE
        targets = (batch.labels, batch.values, batch.sigma, batch.step)
        labels, values, sigma, step = (tensor[:, 1:][learnt] for tensor in targets)
        numbers = self.numbers.to(logits.device)
        weight = self.options.count_token_weight
        return text_loss(logits, labels, values, sigma, step, numbers, weight)


def auxiliary_prompts(sample: Sample, labels: Sequence[str]) -> list[Sample]:
    """Questions that training alone asks of a picture: for the boxes of each of ``labels``.

    A handful of boxes teaches a language model to copy places much more slowly than a list of
    them, and the picture is read anyway. Nothing is asked of pictures that show no such thing, or
    whose annotation does not speak of it.

    Parameters
    ----------
    sample : Sample
        Any question about the picture.
    labels : sequence of str
    """
    facts, prompts = sample.facts, []
    for label in labels:
        boxes = tuple(area for area in facts.areas if area.label == label)
        if label in facts.known and boxes:
            changes = {
                "task": "detection",
                "question": f"Find every {label}.",
                "choices": (label,),
                "answer": "",
                "boxes": boxes,
                "topic": f"boxes of {label}",
            }
            prompts.append(sample.model_copy(update=changes))
    return prompts


def _totals(batch: DenseBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """How many things each picture holds, and whether that is known, (pictures, counted)."""
    tokens = batch.visual_tokens
    numbers, known = batch.counts.split(tokens), batch.counts_known.split(tokens)
    return torch.stack([n.sum(0) for n in numbers]), torch.stack([k[0] for k in known])


def _attention_loss(batch: DenseBatch, attention: list[torch.Tensor]) -> torch.Tensor:
    """Mean of `attention_loss` over all words of a batch that speak of a place."""

    def of_picture(row: int, visual: torch.Tensor, grounding: torch.Tensor) -> torch.Tensor:
        corners = batch.token_corners[row, visual]
        return attention_loss(attention[row][:, :, visual], corners, grounding)

    return _mean_of_words(batch, speaks_of_a_place(batch), of_picture)


def _routing_loss(batch: DenseBatch, routing: list[torch.Tensor]) -> torch.Tensor:
    """Mean of `routing_loss` over all corner values of a batch."""
    due = corners_due(batch)
    written = due >= 0

    def of_picture(row: int, visual: torch.Tensor, grounding: torch.Tensor) -> torch.Tensor:
        own, corners = due[row, written[row]], batch.token_corners[row]
        return routing_loss(routing[row], own, corners, visual, grounding)

    return _mean_of_words(batch, written, of_picture)


def _mean_of_words(
    batch: DenseBatch,
    wanted: torch.Tensor,
    of_picture: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Mean over the words ``wanted`` (pictures, length - 1) of what is summed by picture.

    ``of_picture`` is given the row of a picture, which of its tokens are visual, and the corners
    of what its words speak of.
    """
    summed = batch.token_corners.new_zeros(())
    for row, words in enumerate(wanted):
        visual = batch.token_corners[row, :, 2] > 0
        summed = summed + of_picture(row, visual, batch.grounding[row, 1:][words])
    return summed / wanted.sum().clamp(min=1)

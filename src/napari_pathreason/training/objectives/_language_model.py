"""Language modelling on answers, as the paper has it: for any checkpoint, whole or under LoRA."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from napari_pathreason.errors import QueryError
from napari_pathreason.models import NORMALISATION, Normalisation, read_dims
from napari_pathreason.training.recipe import SFTRecipe
from napari_pathreason.training.samples import SILENT, Sample, View, target_text
from napari_pathreason.types import ModelDims

from ._batch import IGNORE, Batch, TrainingQuestion, collate


class LanguageModelObjective:
    """Cross-entropy of the answers alone: a rationale is left to GRPO.

    A model whose vocabulary holds the empty rationale and the beginning of an answer as one token,
    as that of the model that ships, goes on to begin so.

    The parts are those of `Objective`. Another objective may derive from it and change one of
    them, such as `target`.

    Parameters
    ----------
    settings : SFTRecipe
        Coordinates of boxes are rounded to multiples of ``box_quantum``.

    Raises
    ------
    QueryError
        If there are options; it has none.
    """

    weights: Mapping[str, float] = {"text": 1.0}
    panels: Mapping[str, str] = {"text": "answer: cross-entropy"}
    module: torch.nn.Module
    sparse: bool = False
    tokenizer: Any
    dims: ModelDims
    normalisation: Normalisation
    before: str = ""

    def __init__(self, settings: SFTRecipe) -> None:
        if type(self) is LanguageModelObjective and settings.objective_options:
            raise QueryError(
                "sft.objective_options are for an objective of your own; name it as "
                f"sft.objective, or leave out {', '.join(settings.objective_options)}"
            )
        self.settings = settings

    def attach(self, model: Any, tokenizer: Any) -> None:
        """Take a model of any family, whose whole output learns."""
        self.tokenizer = tokenizer
        self.dims = read_dims(model.config.to_dict())
        self.normalisation = NORMALISATION[model.config.model_type]
        opening = tokenizer(f"{SILENT}<answer>", add_special_tokens=False)["input_ids"]
        self.before = SILENT if len(opening) == 1 else ""
        self.module = AnswerModel(model)

    def begin(self, batches: Iterable[Batch]) -> None:
        """Nothing: the checkpoint is as it should be."""

    def extend(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """No further questions."""
        return samples

    def target(self, sample: Sample, view: View) -> str:
        """Completion that should be written for a sample in the frame of a view."""
        return target_text(sample, view, self.settings.box_quantum, self.before)

    def collate(self, pictures: Sequence[Sequence[tuple[Sample, View]]]) -> Batch:
        """Tokens and labels alone."""
        questions = [
            [TrainingQuestion(sample, view, self.target(sample, view)) for sample, view in picture]
            for picture in pictures
        ]
        return collate(questions, self.tokenizer, self.dims, self.normalisation)

    def losses(self, model: Any, batch: Batch, step: int) -> torch.Tensor:
        """Mean cross-entropy of the tokens of the targets, float (1,)."""
        labels = batch.labels[:, 1:]
        return functional.cross_entropy(model(batch).float(), labels[labels != IGNORE])[None]

    def counts(self, batch: Batch) -> torch.Tensor:
        """Number of tokens of the targets, float (1,)."""
        return (batch.labels[:, 1:] != IGNORE).sum()[None].float()

    def rate(self, step: int) -> float:
        """Always 1."""
        return 1.0


class AnswerModel(torch.nn.Module):
    """A model of any family as it is; learns to write answers, and nothing of its visual tokens.

    Parameters
    ----------
    model : transformers model
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self._no_split_modules = model._no_split_modules  # what FSDP shards by

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (targets, vocabulary) of `target_logits`."""
        visual = self.model.model.get_image_features(
            batch.pixel_values, batch.image_grid_thw, return_dict=True
        )
        return target_logits(self.model, batch, visual, attention_mask(batch.segment))


def target_logits(model: Any, batch: Batch, visual: Any, mask: torch.Tensor) -> torch.Tensor:
    """What a model predicts where something is learnt; the vocabulary is looked at only there.

    Parameters
    ----------
    model : transformers model
    batch : Batch
    visual : transformers output
        What ``get_image_features`` gives for the batch's pictures.
    mask : bool tensor (pictures, 1, length, length)
        `attention_mask` of the batch.

    Returns
    -------
    float tensor (targets, vocabulary)
        One row for each label that is no `IGNORE`, in reading order.
    """
    positions, _ = model.model.get_rope_index(
        batch.input_ids, batch.mm_token_type_ids, batch.image_grid_thw
    )
    hidden = model.model(
        input_ids=batch.input_ids,
        attention_mask=mask,
        position_ids=positions - batch.shift,
        mm_encoder_outputs={"image": visual},
        use_cache=False,
    ).last_hidden_state
    logits: torch.Tensor = model.lm_head(hidden[:, :-1][batch.labels[:, 1:] != IGNORE])
    return logits


def attention_mask(segment: torch.Tensor) -> torch.Tensor:
    """What each token attends to, bool (pictures, 1, length, length).

    That is the picture and its own question, up to itself; ``segment`` is that of `Batch`.
    """
    own = segment[:, :, None] == segment[:, None]
    mask = (own | (segment == 0)[:, None]) & torch.ones_like(own).tril()
    return mask[:, None]

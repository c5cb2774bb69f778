"""Recipes: every hyper-parameter of a run; an unknown key is an error."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from napari_pathreason.training.samples import Augmentation

from ._allocator_recipe import AllocatorRecipe
from ._policy_recipe import GRPORecipe
from ._recipe_base import Above, Positive, Share, Strict, TrackerName


class DataRecipe(Strict):
    """Where samples come from and how often each source is drawn (relative weights).

    ``questions`` are asked of a picture at once, at the most; ``stain``, ``levels``,
    ``sharpness`` and ``varied`` are those of `Augmentation`.
    """

    folder: str
    weights: dict[str, float] = Field(default={})
    questions: Positive = 4
    turn: bool = True
    stain: float = 0.08
    levels: Share = 0.0
    sharpness: Share = 0.0
    varied: tuple[str, ...] = ()

    @property
    def augmentation(self) -> Augmentation:
        """What may change between two readings of a picture to train on."""
        return Augmentation(self.turn, self.stain, self.levels, self.sharpness, self.varied)


class MetadataRecipe(Strict):
    """What the model shall say of its training that its samples do not tell; see `Metadata`.

    ``name`` is what to call the model, None the name of the folder ``output``. ``tissues`` are what
    its images show, and ``mpp`` is the least and most um per pixel that it reads them at, where
    that is known. ``zoom_labels`` are labels of small things that are boxed better by another look
    at each detection. ``domains`` says what the images of a source are of, by the name of the
    source, where that name itself does not: those of one domain are held together when unlike
    images are told from them.
    """

    name: Annotated[str, Field(min_length=1)] | None = None
    tissues: tuple[str, ...] = ()
    mpp: tuple[Above, Above] | None = None
    zoom_labels: tuple[str, ...] = ()
    domains: dict[str, str] = Field(default={})

    @field_validator("mpp")
    @classmethod
    def _least_first(cls, mpp: tuple[float, float] | None) -> tuple[float, float] | None:
        if mpp is not None and not mpp[0] <= mpp[1] < math.inf:
            raise ValueError("give the least and the most um per pixel")
        return mpp


class ModelRecipe(Strict):
    """``start``: the model that training begins with: ``embedded``, a folder or a hub id."""

    start: str | None = None


class LoraRecipe(Strict):
    """Low-rank adapters on a large checkpoint, whose own weights stay as they are.

    ``rank`` and ``alpha`` as in ``W + alpha / rank * B A`` (LoRA, arXiv:2106.09685, section 4.1);
    ``targets`` are last names of linear layers such as ``q_proj``, None for all of them, vision
    vision encoder included. ``weights`` is the precision that the frozen weights lie in; adapters
    are float32. ``checkpointing`` computes each layer again in the backward pass, which takes a
    third more time and a small part of the memory. ``dropout`` is that of supervised fine-tuning;
    GRPO leaves it out, as drawing and learning must look at one distribution.
    """

    rank: Positive = 16
    alpha: Positive = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] | None = None
    weights: Literal["bf16", "fp32"] = "bf16"
    checkpointing: bool = True


class SFTRecipe(Strict):
    """Supervised fine-tuning; ``stop_after`` ends it early, in the midst of its schedule.

    ``objective`` is ``module:Class``, what is taught (`Objective`); None teaches to write answers.
    ``objective_options`` are handed to that class, which checks them. A step reads at most
    ``batch`` pictures and about ``tokens`` visual tokens. ``vision_encoder_lr`` is the vision
    encoder's share of the learning rate. Coordinates of boxes are written as multiples of
    ``box_quantum``.
    """

    objective: str | None = None
    objective_options: dict[str, Any] = Field(default={})
    budgets: dict[int, float] = Field(default={4: 1, 8: 1, 16: 2, 32: 2, 64: 3, 128: 1, 256: 1})
    steps: Positive = 4000
    stop_after: Positive | None = None
    batch: Positive = 32
    tokens: Positive = 1024
    precision: Literal["no", "bf16"] = "no"
    lr: float = 6e-4
    vision_encoder_lr: float = 1.0
    warmup: int = 100
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    box_quantum: Positive = 10
    checkpoint_every: Positive = 200
    validate_every: Positive = 200
    validate_samples: Positive = 128


class BilateralRecipe(Strict):
    """How often performer and allocator take turns."""

    rounds: Positive = 2


class Recipe(Strict):
    """A whole run.

    ``log_with`` names a tracker that is told what the log holds, beside it; None is none.
    """

    seed: int = 0
    output: str
    log_with: TrackerName | None = None
    data: DataRecipe
    metadata: MetadataRecipe = MetadataRecipe()
    model: ModelRecipe = ModelRecipe()
    lora: LoraRecipe | None = None
    sft: SFTRecipe = SFTRecipe()
    grpo: GRPORecipe = GRPORecipe()
    allocator: AllocatorRecipe = AllocatorRecipe()
    bilateral: BilateralRecipe = BilateralRecipe()
    _beside: tuple[Path, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _fits_large(self) -> Recipe:
        if self.lora is not None:
            if self.model.start is None and self.grpo.start is None:
                raise ValueError("lora adapts a checkpoint; name it as model.start")
        elif self.allocator.form == "text":
            raise ValueError(
                "an allocator that writes is a second adapter; add a lora section, or set "
                "allocator.form to head"
            )
        return self

    @property
    def beside(self) -> tuple[Path, ...]:
        """Folders of its file and of those that it extends, for `load_object`; none without."""
        return self._beside

    def beside_folders(self, folders: Iterable[Path]) -> Recipe:
        """The same recipe, whose code is looked for in some folders too."""
        recipe = self.model_copy()
        recipe._beside = tuple(dict.fromkeys(folders))
        return recipe

"""Settings of group-relative policy optimisation, of the performer and of a writing allocator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_pathreason.types import Effort

from ._recipe_base import Above, NotBelow, PolicyLoss, Positive, RewardKind, Share, Strict


class PolicyRecipe(Strict):
    """What both have in common.

    A step draws ``pictures``, and ``group`` completions of at most ``longest`` tokens for every
    question about them; the optimiser takes ``iterations`` steps on them. ``format_weight`` weighs
    a completion that keeps to its form, ``beta`` the distance to the start; ``clip_high`` is the
    upper bound where it differs from the lower one (DAPO). ``scale`` says whether advantages are
    divided by their group's deviation; None leaves it to the method. ``vision_encoder_lr`` is the
    vision vision encoder's share of the learning rate. ``gather`` is for a sharded model: each
    process holds the whole of it while it draws, not one layer after the other for every token.
    """

    format_weight: NotBelow = 1.0
    loss: PolicyLoss = "dapo"
    scale: bool | None = None
    beta: NotBelow = 0.001
    clip: Above = 0.2
    clip_high: Above | None = None
    iterations: Positive = 1
    group: Annotated[int, Field(ge=2)] = 8
    temperature: Above = 1.0
    longest: Positive = 192
    pictures: Positive = 8
    steps: Positive = 500
    stop_after: Positive | None = None
    precision: Literal["no", "bf16"] = "no"
    lr: float = 1e-5
    vision_encoder_lr: float = 1.0
    warmup: int = 10
    weight_decay: float = 0.0
    max_norm: float = 1.0
    gather: bool = False
    checkpoint_every: Positive = 50
    validate_every: Positive = 50
    validate_samples: Positive = 128


class GRPORecipe(PolicyRecipe):
    """Of the performer, from labels alone; the rest as in `PolicyRecipe`.

    ``start`` is ``embedded``, a folder or a hub id; None continues from the model that supervised
    fine-tuning of the same recipe wrote. A step asks at most ``questions`` of each picture and
    reads about ``tokens`` visual tokens. ``budgets`` are weights of budgets, of which an
    allocator's policy leaves ``floor``. ``evidence_weight`` weighs cited facts that the labels
    confirm or deny (`Assessed.reward`); 0 leaves the rationale to the answers alone.
    """

    start: str | None = None
    reward: RewardKind = "task"
    evidence_weight: NotBelow = 0.0
    budgets: dict[int, float] = Field(default={4: 1, 8: 1, 16: 1, 32: 1, 64: 1, 128: 1, 256: 1})
    floor: Share = 0.25
    questions: Positive = 1
    tokens: Positive = 1024

    @property
    def scaled(self) -> bool:
        """Whether advantages are divided by their group's deviation; Dr. GRPO leaves it out."""
        return self.loss != "dr_grpo" if self.scale is None else self.scale


class TextRecipe(PolicyRecipe):
    """Of an allocator that writes its number; the rest as in `PolicyRecipe`.

    It sees a picture at ``overview`` visual tokens, and learns at the price of one ``effort``.
    """

    overview: Positive = 64
    effort: Effort = "balanced"
    longest: Positive = 64
    pictures: Positive = 4

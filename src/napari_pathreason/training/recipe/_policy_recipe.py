"""Settings of group-relative policy optimisation, of the performer and of a writing allocator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from napari_pathreason.types import Effort

from ._recipe_base import Above, NotBelow, PolicyLoss, Positive, Share, Strict


class PolicyRecipe(Strict):
    """What both have in common; names are those of TRL's ``GRPOConfig``, where it has one.

    A step reads ``batch_size`` pictures, and samples ``num_generations`` completions of at most
    ``max_completion_length`` tokens for every question about them; the optimiser takes
    ``num_iterations`` steps on them. ``format_weight`` weighs a completion that keeps to its form,
    ``beta`` the distance to the start; ``epsilon_high`` is the upper bound of the probability ratio
    where it differs from the lower one, ``epsilon`` (DAPO). ``scale_rewards`` says whether
    advantages are divided by their group's deviation; None leaves it to ``loss_type``.
    ``vision_encoder_lr`` is the vision encoder's share of the learning rate. ``gather`` is for a
    sharded model: each process holds the whole of it while it samples, not one layer after the
    other for every token.
    """

    format_weight: NotBelow = 1.0
    loss_type: PolicyLoss = "dapo"
    scale_rewards: bool | None = None
    beta: NotBelow = 0.001
    epsilon: Above = 0.2
    epsilon_high: Above | None = None
    num_iterations: Positive = 1
    num_generations: Annotated[int, Field(ge=2)] = 8
    temperature: Above = 1.0
    max_completion_length: Positive = 192
    batch_size: Positive = 8
    steps: Positive = 500
    stop_after: Positive | None = None
    precision: Literal["no", "bf16"] = "no"
    lr: float = 1e-5
    vision_encoder_lr: float = 1.0
    warmup: int = 10
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    gather: bool = False
    checkpoint_every: Positive = 50
    validate_every: Positive = 50
    validate_samples: Positive = 128


class GRPORecipe(PolicyRecipe):
    """Of the performer, from labels alone; the rest as in `PolicyRecipe`.

    ``start`` is ``embedded``, a folder or a hub id; None continues from the model that supervised
    fine-tuning of the same recipe wrote. A step asks at most ``questions`` of each picture and
    reads about ``tokens`` visual tokens. ``budgets`` are weights of budgets, of which an
    allocator's policy leaves ``floor``.

    ``rewards`` are functions of completions, ``task``, ``paper`` or ``module:function`` (see
    `Rewards` and `load_object`), whose sum is weighed by ``reward_weights``, all 1 if left out.
    In the first two, ``format_weight`` weighs the form, and ``evidence_weight`` cited facts that
    the labels confirm or deny (`RewardBreakdown.reward`); 0 leaves the rationale to the answers
    alone.
    """

    start: str | None = None
    rewards: Annotated[tuple[str, ...], Field(min_length=1)] = ("task",)
    reward_weights: tuple[float, ...] | None = None
    evidence_weight: NotBelow = 0.0
    budgets: dict[int, float] = Field(default={4: 1, 8: 1, 16: 1, 32: 1, 64: 1, 128: 1, 256: 1})
    floor: Share = 0.25
    questions: Positive = 1
    tokens: Positive = 1024

    @model_validator(mode="after")
    def _weights_fit(self) -> GRPORecipe:
        if len(set(self.rewards)) < len(self.rewards):
            raise ValueError("rewards: name each function once; reward_weights weigh them")
        if self.reward_weights is not None and len(self.reward_weights) != len(self.rewards):
            raise ValueError("reward_weights: give one for each of rewards")
        return self

    @property
    def scaled(self) -> bool:
        """Whether advantages are divided by their group's deviation; Dr. GRPO leaves it out."""
        return self.loss_type != "dr_grpo" if self.scale_rewards is None else self.scale_rewards


class TextRecipe(PolicyRecipe):
    """Of an allocator that writes its number; the rest as in `PolicyRecipe`.

    It sees a picture at ``overview`` visual tokens, and learns at the price of one ``effort``.
    """

    overview: Positive = 64
    effort: Effort = "balanced"
    max_completion_length: Positive = 64
    batch_size: Positive = 4

"""Settings of the allocator in both of its forms."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from napari_pathreason.types import Effort

from ._policy_recipe import TextRecipe
from ._recipe_base import NotBelow, Positive, Strict

Cost = Literal["flops", "share"]
"""What lambda taxes; see `AllocatorRecipe`."""


class AllocatorRecipe(Strict):
    """How an allocator learns.

    ``form`` is ``head``, a light net over the budget grid, or ``text``, a second adapter on a large
    checkpoint that writes its number (the paper's; see `TextRecipe`). ``start`` is the performer
    that it allocates for, a folder or a hub id, or ``embedded``, of which a copy is made; None
    takes the last one that the same recipe wrote. ``questions`` of each kind are asked at every
    budget, and ``validate_questions`` of held-out ones, which tell the state to keep.
    ``learn_from`` is the split of the former. A performer may answer what it was trained on at any
    budget, so that s(N) of ``train`` says that tokens buy nothing; of ``val``, both numbers
    together are asked, and every third picture is held out. ``lambdas`` are lambda of each effort,
    and ``cost`` is what they tax: ``flops`` beside the mean answer at native size, so that a
    FLOP costs the same wherever it is spent, or ``share`` of the answer that the same question
    would have at native size. What follows is the head's alone: the first ``warm_steps`` learn the
    ranking of the budgets, the rest climb the reward; ``entropy`` weighs the bonus.
    """

    form: Literal["head", "text"] = "head"
    start: str | None = None
    questions: Positive = 60
    validate_questions: Positive = 30
    learn_from: Literal["train", "val"] = "train"
    reward: Literal["gated", "paper"] = "gated"
    cost: Cost = "flops"
    lambdas: dict[Effort, NotBelow] = Field(default={"low": 0.8, "balanced": 0.3, "high": 0.05})
    text: TextRecipe = TextRecipe()
    entropy: NotBelow = 0.01
    warm_steps: Annotated[int, Field(ge=0)] = 100
    steps: Positive = 400
    stop_after: Positive | None = None
    lr: float = 2e-3
    weight_decay: float = 0.05
    checkpoint_every: Positive = 50
    validate_every: Positive = 10

    @field_validator("lambdas")
    @classmethod
    def _each_effort(cls, lambdas: dict[Effort, float]) -> dict[Effort, float]:
        if set(lambdas) != set(get_args(Effort)):
            raise ValueError(f"give a price for each of {', '.join(get_args(Effort))}")
        return lambdas

    @property
    def scaled(self) -> bool:
        """Whether the text form's advantages are divided by their deviation: in the paper they are.

        Elsewhere they are mean-centred alone, as that division erases the price.
        """
        settings = self.text
        if settings.scale_rewards is not None:
            return settings.scale_rewards
        return self.reward == "paper" and settings.loss_type != "dr_grpo"

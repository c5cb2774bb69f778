"""What all parts of a recipe share: strictness, kinds of numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Above = Annotated[float, Field(gt=0)]
NotBelow = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PolicyLoss = Literal["dapo", "dr_grpo", "grpo"]
RewardKind = Literal["task", "paper"]
TrackerName = Literal["tensorboard", "wandb", "trackio"]


class Strict(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

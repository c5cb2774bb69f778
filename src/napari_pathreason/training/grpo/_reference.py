"""What the performer may not stray far from: itself as it began."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from napari_pathreason.training.model import add_reference, as_reference
from napari_pathreason.training.run import give_back

from ._actor import Actor, Said
from ._prompts import Prompts

Reference: TypeAlias = Callable[[Prompts, torch.Tensor, torch.Tensor, int], Said]
"""Log-probabilities of completions, as `Actor.forward`."""


class AdaptedReference:
    """An actor with LoRA as it is now; shares the frozen weights with the one that learns.

    Parameters
    ----------
    actor : Actor
        Its model gets a second, frozen adapter; to be made before the optimiser is.
    """

    def __init__(self, actor: Actor) -> None:
        add_reference(actor.model)
        self._actor = actor

    @torch.no_grad()
    def __call__(
        self, prompts: Prompts, tokens: torch.Tensor, mask: torch.Tensor, group: int
    ) -> Said:
        """See `Actor.forward`."""
        give_back(self._actor)  # switching tells parameters what learns: the same ones both times
        with as_reference(self._actor.model):
            said: Said = self._actor(prompts, tokens, mask, group)
            give_back(self._actor)
        return said

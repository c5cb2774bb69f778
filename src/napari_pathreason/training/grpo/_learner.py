"""What both GRPO loops share: a policy that draws groups of completions and learns from them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from random import Random
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, set_seed

from napari_pathreason.models import VISION_TOKENS
from napari_pathreason.training.recipe import PolicyRecipe, Recipe
from napari_pathreason.training.run import (
    ended_everywhere,
    gathered,
    keep_adapters_alone,
    open_shards,
    optimizer_of,
    prepare_shards,
    schedule,
    whole,
)

from ._actor import Actor
from ._advantages import group_advantages, zero_variance
from ._policy_losses import aggregate, clipped_surrogate, k3
from ._prompts import Prompts
from ._reference import AdaptedReference, Reference
from ._rollout import Rollout, roll_out, stop_ids

PATIENCE = timedelta(days=2)
"""That processes wait for the first one, as while it tabulates s(N); torch gives up in minutes."""


def join_processes(recipe: Recipe, settings: PolicyRecipe) -> Accelerator:
    """Take part in a run, as one of the processes that learn together.

    Raises
    ------
    QueryError
        Where the model would be sharded as `prepare_shards` cannot.
    """
    accelerator = Accelerator(
        mixed_precision=settings.precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    prepare_shards(accelerator, adapted=recipe.lora is not None)
    return accelerator


class Learner:
    """A policy, what it may not stray far from, and its optimiser, in this process.

    Parameters
    ----------
    accelerator : Accelerator
        Of `join_processes`.
    recipe : Recipe
    settings : PolicyRecipe
    load : callable
        Gives model and tokenizer as the run begins.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        recipe: Recipe,
        settings: PolicyRecipe,
        load: Callable[[], tuple[Any, Any]],
    ) -> None:
        self.accelerator = accelerator
        set_seed(recipe.seed)
        self._settings, self._seed = settings, recipe.seed
        sparing = recipe.lora is not None and recipe.lora.checkpointing

        def act() -> tuple[Actor, Any]:
            model, tokenizer = load()
            never = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
            # evaluation mode throughout: drawing and learning must look at one distribution
            return Actor(model, never, settings.temperature, sparing).eval(), tokenizer

        actor, self.tokenizer = act()
        self._reference: Reference | None = None
        if recipe.lora is not None:
            keep_adapters_alone(accelerator)
            self._reference = AdaptedReference(actor) if settings.beta else None
        elif settings.beta:
            self._reference = act()[0].requires_grad_(False).to(accelerator.device)
        self._stops = stop_ids(actor.model, self.tokenizer)
        self.model, self._optimizer = accelerator.prepare(actor, optimizer_of(actor, settings))
        self._actor = accelerator.unwrap_model(self.model)
        open_shards(self._actor, "at_hand")
        self._may_end = ended_everywhere(accelerator)

    def draw(self, prompts: Prompts, step: int) -> Rollout:
        """A group of completions for each prompt; a pure function of seed, step and process."""
        rank = self.accelerator.process_index
        told = Random(f"rollout-{self._seed}-{step}-{rank}").getrandbits(63)
        return self._roll_out(prompts, self._settings.group, torch.Generator().manual_seed(told))

    def write(self, prompts: Prompts) -> Rollout:
        """The likeliest completion of each prompt."""
        return self._roll_out(prompts, 1, None)

    @torch.no_grad()  # here too: what gathers parameters would prepare for a backward pass
    def _roll_out(self, prompts: Prompts, group: int, random: torch.Generator | None) -> Rollout:
        def drawn() -> Rollout:
            return roll_out(
                self._actor,
                prompts,
                group,
                self._settings.longest,
                self._stops,
                self.tokenizer.pad_token_id,
                random,
                self._may_end,
            )

        keep = self._settings.gather
        holding = gathered(self.accelerator, self._actor) if keep else nullcontext()
        with holding, self.accelerator.autocast():
            return self._actor.at_hand(drawn)

    def learn(
        self, prompts: Prompts, drawn: Rollout, rewards: torch.Tensor, step: int, *, scale: bool
    ) -> dict[str, Any]:
        """Make the better completions of each group more likely.

        Parameters
        ----------
        prompts : Prompts
        drawn : Rollout
            What `draw` gave for them.
        rewards : float tensor (prompts, group)
        step : int
            How many came before.
        scale : bool
            See `group_advantages`.

        Returns
        -------
        dict
            Figures for the log.
        """
        settings, accelerator = self._settings, self.accelerator
        advantages = group_advantages(rewards, scale=scale).view(-1).to(accelerator.device)
        reference_log_p = None
        if self._reference is not None:
            with torch.no_grad(), accelerator.autocast():
                reference_log_p = self._reference(
                    prompts, drawn.tokens, drawn.mask, settings.group
                ).log_p
        tokens = accelerator.reduce(drawn.mask.sum().float(), reduction="mean").item()
        share = schedule(step, settings.warmup, settings.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.lr * group["share"] * share
        high = settings.clip if settings.clip_high is None else settings.clip_high
        old_log_p = distance = None
        for _ in range(settings.iterations):
            with accelerator.autocast():  # where the model is sharded, `prepare` leaves it out
                said = self.model(prompts, drawn.tokens, drawn.mask, settings.group)
            if old_log_p is None:
                old_log_p = said.log_p.detach()
            each = clipped_surrogate(said.log_p, old_log_p, advantages, settings.clip, high)
            if reference_log_p is not None:
                distance = k3(said.log_p, reference_log_p)
                each = each + settings.beta * distance
            loss = aggregate(
                each, drawn.mask, settings.loss, tokens=tokens, longest=settings.longest
            )
            accelerator.backward(loss)
            norm = accelerator.clip_grad_norm_(self.model.parameters(), settings.max_norm)
            self._optimizer.step()
            self._optimizer.zero_grad()
        record = {
            "reward": round(float(rewards.mean()), 4),
            "groups": len(rewards),
            "zero_variance": int(zero_variance(rewards).sum()),
            "entropy": round(float(said.entropy[drawn.mask].mean()), 4),
            "loss": round(float(loss.detach()), 5),
            "norm": round(whole(norm), 4),
            "lr": settings.lr * share,
        }
        if distance is not None:
            record["kl"] = round(float(distance[drawn.mask].mean()), 6)
        return record

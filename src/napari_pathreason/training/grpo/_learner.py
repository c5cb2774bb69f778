"""What both GRPO loops share: a policy that samples groups of completions and learns from them.

Beside it stands the reference, which it may not stray far from: itself as it began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from napari_pathreason.models import VISION_TOKENS, PromptBatch, stop_ids
from napari_pathreason.training import run
from napari_pathreason.training.model import add_reference, as_reference
from napari_pathreason.training.recipe import PolicyRecipe, Recipe

from ._actor import Actor, LogProbs
from ._loss import aggregate, clipped_surrogate, group_advantages, k3, zero_variance
from ._rollout import Rollout, roll_out


def join_processes(recipe: Recipe, settings: PolicyRecipe, out: Path) -> Accelerator:
    """Take part in a run, as one of the processes that learn together; ``out`` is its folder.

    Raises
    ------
    QueryError
        Where the model would be sharded as `prepare_shards` cannot, or as in `run.join`.
    """
    accelerator = run.join(recipe, out, settings.precision)
    run.prepare_shards(accelerator, adapted=recipe.lora is not None)
    return accelerator


Reference: TypeAlias = Callable[[PromptBatch, torch.Tensor, torch.Tensor, int], LogProbs]
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
        self, prompts: PromptBatch, tokens: torch.Tensor, mask: torch.Tensor, num_generations: int
    ) -> LogProbs:
        """See `Actor.forward`."""
        run.reshard(self._actor)  # switching tells parameters what learns: the same ones both times
        with as_reference(self._actor.model):
            found: LogProbs = self._actor(prompts, tokens, mask, num_generations)
            run.reshard(self._actor)
        return found


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
        checkpointing = recipe.lora is not None and recipe.lora.checkpointing

        def make_actor() -> tuple[Actor, Any]:
            model, tokenizer = load()
            never = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
            # evaluation mode throughout: sampling and learning must be of one distribution
            return Actor(model, never, settings.temperature, checkpointing).eval(), tokenizer

        actor, self.tokenizer = make_actor()
        self._reference: Reference | None = None
        if recipe.lora is not None:
            run.keep_adapters_alone(accelerator)
            self._reference = AdaptedReference(actor) if settings.beta else None
        elif settings.beta:
            self._reference = make_actor()[0].requires_grad_(False).to(accelerator.device)
        self._stops = stop_ids(actor.model, self.tokenizer)
        self.model, self._optimizer = accelerator.prepare(actor, run.optimizer_of(actor, settings))
        self._actor = accelerator.unwrap_model(self.model)
        run.open_shards(self._actor, "with_gathered_params")
        self._may_end = run.ended_everywhere(accelerator)

    def sample(self, prompts: PromptBatch, step: int) -> Rollout:
        """A group of completions for each prompt; a pure function of seed, step and process."""
        rank = self.accelerator.process_index
        seed = Random(f"rollout-{self._seed}-{step}-{rank}").getrandbits(63)
        random = torch.Generator().manual_seed(seed)
        return self._roll_out(prompts, self._settings.num_generations, random)

    def sample_greedily(self, prompts: PromptBatch) -> Rollout:
        """The likeliest completion of each prompt."""
        return self._roll_out(prompts, 1, None)

    @torch.no_grad()  # here too: what gathers parameters would prepare for a backward pass
    def _roll_out(
        self, prompts: PromptBatch, num_generations: int, random: torch.Generator | None
    ) -> Rollout:
        def completions() -> Rollout:
            return roll_out(
                self._actor,
                prompts,
                num_generations,
                self._settings.max_completion_length,
                self._stops,
                self.tokenizer.pad_token_id,
                random,
                self._may_end,
            )

        hold = self._settings.gather
        holding = run.gathered(self.accelerator, self._actor) if hold else nullcontext()
        with holding, self.accelerator.autocast():
            return self._actor.with_gathered_params(completions)

    def learn(
        self,
        prompts: PromptBatch,
        rollout: Rollout,
        rewards: torch.Tensor,
        step: int,
        *,
        scale_rewards: bool,
    ) -> dict[str, Any]:
        """Make the better completions of each group more likely; see `learn_from`."""
        return self.learn_from([(prompts, rollout, rewards)], step, scale_rewards=scale_rewards)

    def learn_from(
        self,
        parts: Sequence[tuple[PromptBatch, Rollout, torch.Tensor]],
        step: int,
        *,
        scale_rewards: bool,
    ) -> dict[str, Any]:
        """Make the better completions of each group more likely, of all parts in one step.

        Parts are learnt one behind the other and their gradients added, which takes the memory of
        one of them. Every completion counts as it would in one part, on one process.

        Parameters
        ----------
        parts : sequence of (PromptBatch, Rollout, float tensor (prompts, num_generations))
            Prompts, what `sample` gave for them, and its rewards, NaN where a completion cannot be
            rewarded.
        step : int
            How many came before.
        scale_rewards : bool
            See `group_advantages`.

        Returns
        -------
        dict
            Figures for the log.
        """
        settings, accelerator = self._settings, self.accelerator
        rows = accelerator.reduce(
            torch.tensor(float(sum(len(r.tokens) for _, r, _ in parts)), device=accelerator.device),
            reduction="mean",
        ).item()
        written = torch.stack([rollout.mask.sum().float() for _, rollout, _ in parts]).sum()
        tokens = accelerator.reduce(written, reduction="mean").item()
        share = run.schedule(step, settings.warmup, settings.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.lr * group["share"] * share
        learning = [
            _Part(
                *part,
                group_advantages(part[2], scale_rewards=scale_rewards)
                .view(-1)
                .to(accelerator.device),
                self._reference_log_p(part[0], part[1]),
            )
            for part in parts
        ]
        for _ in range(settings.num_iterations):
            loss = torch.zeros((), device=accelerator.device)
            for number, part in enumerate(learning, 1):
                last = number == len(learning)  # gradients of the others wait for it
                with nullcontext() if last else accelerator.no_sync(self.model):
                    loss = loss + self._learn_part(part, tokens, rows)
            norm = accelerator.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
            self._optimizer.step()
            self._optimizer.zero_grad()
        rewards = torch.cat([part.rewards for part in learning])
        entropy, distance = (_mean_of_tokens(learning, name) for name in ("entropy", "distance"))
        record = {
            "groups": len(rewards),
            "zero_variance": int(zero_variance(rewards).sum()),
            "entropy": round(entropy or 0.0, 4),
            "loss": round(float(loss), 5),
            "norm": round(run.full_value(norm), 4),
            "lr": settings.lr * share,
        }
        if not rewards.isnan().all():
            record["reward"] = round(float(rewards.nanmean()), 4)
        if distance is not None:
            record["kl"] = round(distance, 6)
        return record

    def _reference_log_p(self, prompts: PromptBatch, rollout: Rollout) -> torch.Tensor | None:
        if self._reference is None:
            return None
        with torch.no_grad(), self.accelerator.autocast():
            return self._reference(
                prompts, rollout.tokens, rollout.mask, self._settings.num_generations
            ).log_p

    def _learn_part(self, part: _Part, tokens: float, rows: float) -> torch.Tensor:
        """Add the gradient of a part; gives its share of the loss, without a gradient.

        ``tokens`` and ``rows`` are those of all completions of the step, a process's mean.
        """
        settings, accelerator, rollout = self._settings, self.accelerator, part.rollout
        with accelerator.autocast():  # where the model is sharded, `prepare` leaves it out
            now = self.model(part.prompts, rollout.tokens, rollout.mask, settings.num_generations)
        if part.old_log_p is None:
            part.old_log_p = now.log_p.detach()
        high = settings.epsilon if settings.epsilon_high is None else settings.epsilon_high
        each = clipped_surrogate(now.log_p, part.old_log_p, part.advantages, settings.epsilon, high)
        part.entropy = now.entropy.detach()
        if part.reference_log_p is not None:
            distance = k3(now.log_p, part.reference_log_p)
            each = each + settings.beta * distance
            part.distance = distance.detach()
        loss = aggregate(
            each,
            rollout.mask,
            settings.loss_type,
            tokens=tokens,
            max_completion_length=settings.max_completion_length,
        )
        if settings.loss_type != "dapo":  # a mean over the completions of this part alone
            loss = loss * (len(each) / rows)
        accelerator.backward(loss)
        return loss.detach()


@dataclass(slots=True)
class _Part:
    """Completions that are learnt from at once, and what is known of them."""

    prompts: PromptBatch
    rollout: Rollout
    rewards: torch.Tensor
    advantages: torch.Tensor
    reference_log_p: torch.Tensor | None
    old_log_p: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    distance: torch.Tensor | None = None


def _mean_of_tokens(parts: Sequence[_Part], name: str) -> float | None:
    """Mean over all tokens of all parts; None where it is not known."""
    known = [(part, getattr(part, name)) for part in parts]
    values = [value[part.rollout.mask] for part, value in known if value is not None]
    return float(torch.cat(values).mean()) if values else None

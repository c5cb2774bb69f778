"""Sets of windows drawn without replacement, and how likely a policy was to draw them.

One window after another, Plackett and Luce's way (Plackett 1975; Luce 1959): whether to go on is
drawn by the best net gain that is left, which window and how finely by the net gain of each. At a
temperature of 0 that is `models.take`. A tensor of all steps at once, so that a batch of
trajectories has its gradient in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from napari_pathreason.models import worth

_NEVER = -1e9
"""Net gain of what cannot be taken."""


@dataclass(frozen=True, slots=True)
class Stakes:
    """What could be taken by each of some rows, all filled up to as many windows.

    Parameters
    ----------
    gains : float tensor (rows, windows, levels)
        Of reading each window.
    saturation : float tensor (rows,)
        rho, see `models.gains`.
    costs : float tensor (rows, levels)
        Of a window, as a share of all windows at native size.
    lambdas : float tensor (rows,)
    allowed : bool tensor (rows, windows, levels)
    near : int64 tensor (rows, windows, others)
        As of `models.near_windows`.
    must : bool tensor (rows,)
        Whether at least one is taken.
    temperature : float
        Points of score.
    """

    gains: torch.Tensor
    saturation: torch.Tensor
    costs: torch.Tensor
    lambdas: torch.Tensor
    allowed: torch.Tensor
    near: torch.Tensor
    must: torch.Tensor
    temperature: float

    @property
    def levels(self) -> int:
        """Budgets of a window."""
        return self.gains.shape[2]


@dataclass(frozen=True, slots=True)
class SampledSets:
    """What was sampled.

    Parameters
    ----------
    actions : int64 tensor (rows, steps)
        ``place * levels + level`` of each step; -1 where a row had stopped.
    free : bool tensor (rows, steps, windows * levels)
        What could be taken at each step.
    stopped : bool tensor (rows, steps)
        Steps at which a row chose to stop.
    """

    actions: torch.Tensor
    free: torch.Tensor
    stopped: torch.Tensor

    def picks(self, row: int, levels: int) -> tuple[tuple[int, int], ...]:
        """(place, level) of one row, in order."""
        return tuple(divmod(one, levels) for one in self.actions[row].tolist() if one >= 0)


@torch.no_grad()
def draw_sets(stakes: Stakes, most: int, generator: torch.Generator) -> SampledSets:
    """Draw a set of windows for each row, of ``most`` windows at the most."""
    rows, windows, levels = stakes.gains.shape
    gains = stakes.gains.flatten(1).clamp(min=-1)
    free = stakes.allowed.clone()
    every = torch.arange(rows)
    going = torch.ones(rows, dtype=torch.bool)
    total = torch.zeros(rows)
    actions, masks, stops = [], [], []
    for step in range(most):
        mask = free.flatten(1)
        going = going & mask.any(1)
        if not going.any():
            break
        net = _net(stakes, total[:, None])[:, 0].masked_fill(~mask, _NEVER)
        on = torch.sigmoid(net.amax(1) / stakes.temperature)
        stop = going & (torch.rand(rows, generator=generator) > on)
        if step == 0:
            stop = stop & ~stakes.must
        masks.append(mask & going[:, None])
        stops.append(stop)
        going = going & ~stop
        scores = (net / stakes.temperature).softmax(1)
        action = torch.multinomial(scores, 1, generator=generator)[:, 0]
        actions.append(torch.where(going, action, -1))
        total = total + torch.where(going, gains[every, action], 0.0)
        taken = stakes.near[every, action.div(levels, rounding_mode="floor")]
        blocked = torch.zeros(rows, windows, dtype=torch.bool).scatter_(1, taken, True)
        free = free & ~(blocked & going[:, None])[..., None]
    if not actions:
        none = torch.zeros(rows, 0, dtype=torch.bool)
        return SampledSets(
            none.long(), torch.zeros(rows, 0, windows * levels, dtype=torch.bool), none
        )
    return SampledSets(torch.stack(actions, 1), torch.stack(masks, 1), torch.stack(stops, 1))


def log_probability(stakes: Stakes, sets: SampledSets) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability of what was sampled, and the mean entropy of its choices.

    Returns
    -------
    tuple
        Float tensors (rows,); the entropy in nats, of windows and of stopping together.
    """
    rows, steps = sets.actions.shape
    if not steps:
        nothing = stakes.gains.sum((1, 2)) * 0
        return nothing, nothing
    took = sets.actions >= 0
    action = sets.actions.clamp(min=0)
    added = torch.where(took, stakes.gains.flatten(1).gather(1, action).clamp(min=-1), 0.0)
    before = torch.cat([added.new_zeros(rows, 1), added.cumsum(1)[:, :-1]], 1)
    net = _net(stakes, before).masked_fill(~sets.free, _NEVER) / stakes.temperature
    best = net.amax(2).clamp(min=-50, max=50)
    forced = torch.zeros_like(took)
    forced[:, 0] = stakes.must
    chosen = net.log_softmax(2)
    on = torch.nn.functional.logsigmoid(best).masked_fill(forced, 0.0)
    off = torch.nn.functional.logsigmoid(-best)
    which = chosen.gather(2, action[..., None])[..., 0]
    log_p = torch.where(took, on + which, 0.0) + torch.where(sets.stopped, off, 0.0)
    choices = took | sets.stopped
    spread = -(chosen.exp() * chosen.clamp(min=-50)).sum(2)
    share = torch.sigmoid(best)
    stopping = torch.where(forced, 0.0, -(share * on + (1 - share) * off))
    entropy = torch.where(choices, spread + stopping, 0.0).sum(1) / choices.sum(1).clamp(min=1)
    return log_p.sum(1), entropy


def _net(stakes: Stakes, total: torch.Tensor) -> torch.Tensor:
    """Net gain of each action after gains of ``total`` (rows, steps): (rows, steps, actions)."""
    saturation = stakes.saturation[:, None]
    added = worth(stakes.gains.flatten(1), saturation, torch.exp)
    factor = torch.exp(-saturation * total.clamp(min=-1))
    cost = (stakes.lambdas[:, None] * stakes.costs)[:, None].expand(stakes.gains.shape)
    return factor[..., None] * added[:, None] - cost.flatten(1)[:, None]


def mean_centred(returns: torch.Tensor) -> torch.Tensor:
    """Advantages of trajectories (questions, trajectories), never divided by their deviation.

    That would erase lambda: a question on which nothing but cost differs would weigh as much as
    one that windows decide.
    """
    return returns - returns.mean(1, keepdim=True)

"""Advantages and losses of GRPO against values worked out by hand and TRL's formulas."""

import math

import pytest
import torch

from napari_pathreason.training.grpo import (
    aggregate,
    clipped_surrogate,
    group_advantages,
    k3,
    zero_variance,
)


def test_advantages_are_centred_and_scaled_by_hand():
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [2.0, 0.0, 1.0, 1.0]])
    plain = torch.tensor([[0.5, -0.5, -0.5, 0.5], [1.0, -1.0, 0.0, 0.0]])
    assert torch.equal(group_advantages(rewards, scale_rewards=False), plain)
    # std with G - 1: sqrt(4 * 0.25 / 3) and sqrt(2 / 3)
    stds = torch.tensor([[math.sqrt(1 / 3)], [math.sqrt(2 / 3)]])
    assert torch.allclose(group_advantages(rewards, scale_rewards=True), plain / (stds + 1e-4))


def test_a_group_of_equal_rewards_has_no_advantage_at_all():
    rewards = torch.tensor([[0.3] * 7, [0.3] * 6 + [0.4]])
    assert zero_variance(rewards).tolist() == [True, False]
    assert (group_advantages(rewards, scale_rewards=True)[0] == 0).all()
    assert (group_advantages(rewards, scale_rewards=True)[1] != 0).all()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss"),
    [
        (1.0, 2.0, -2.0),
        (1.1, 2.0, -2.2),
        (1.5, 2.0, -2.4),  # clipped at 1.2
        (1.5, -2.0, 3.0),  # never clipped in its favour
        (0.5, 2.0, -1.0),
        (0.5, -2.0, 1.6),  # clipped at 0.8
    ],
)
def test_the_clip_by_hand(ratio, advantage, loss):
    log_p = torch.tensor([[math.log(ratio)]], requires_grad=True)
    each = clipped_surrogate(log_p, torch.zeros(1, 1), torch.tensor([advantage]), 0.2, 0.2)
    assert each.item() == pytest.approx(loss)
    each.sum().backward()
    clipped = loss not in (pytest.approx(-ratio * advantage),)
    assert (log_p.grad == 0).all() == clipped


def test_the_upper_bound_stands_alone():
    log_p = torch.tensor([[math.log(1.5), math.log(0.5)]])
    each = clipped_surrogate(log_p, torch.zeros(1, 2), torch.tensor([1.0]), 0.2, 0.28)
    assert each[0].tolist() == pytest.approx([-1.28, -0.5])


def test_k3_is_unbiased_and_never_negative():
    p, q = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    each = k3(p.log(), q.log())
    assert (each >= 0).all()
    assert (p * each).sum().item() == pytest.approx((p * (p / q).log()).sum().item(), abs=1e-6)
    assert k3(p.log(), p.log()).abs().max() == 0


def test_aggregation_by_hand():
    each = torch.tensor([[1.0, 2.0, 3.0], [4.0, torch.inf, torch.nan]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert (
        aggregate(each, mask, "grpo", tokens=4, max_completion_length=10).item() == 3.0
    )  # (2 + 4) / 2
    assert aggregate(each, mask, "dapo", tokens=4, max_completion_length=10).item() == 2.5  # 10 / 4
    assert (
        aggregate(each, mask, "dr_grpo", tokens=4, max_completion_length=10).item() == 0.5
    )  # 10 / (2 * 10)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_the_whole_loss_equals_the_published_formula(loss):
    torch.manual_seed(0)
    log_p, old, reference = (-torch.rand(6, 5, dtype=torch.float64) for _ in range(3))
    gains = torch.randn(6, dtype=torch.float64)
    lengths = torch.tensor([5, 1, 3, 2, 5, 4])
    mask = torch.arange(5)[None] < lengths[:, None]
    each = clipped_surrogate(log_p, old, gains, 0.2, 0.28) + 0.04 * k3(log_p, reference)
    ours = aggregate(each, mask, loss, tokens=float(mask.sum()), max_completion_length=7).item()
    # the same, token by token, as TRL's GRPOTrainer._compute_loss states it
    total, per_row = 0.0, []
    for i in range(6):
        row = 0.0
        for t in range(lengths[i]):
            ratio = math.exp(log_p[i, t] - old[i, t])
            bounded = min(max(ratio, 0.8), 1.28)
            shift = float(reference[i, t] - log_p[i, t])
            row += -min(ratio * gains[i], bounded * gains[i]) + 0.04 * (math.exp(shift) - shift - 1)
        total += row
        per_row.append(row / int(lengths[i]))
    theirs = {"grpo": sum(per_row) / 6, "dapo": total / 20, "dr_grpo": total / (6 * 7)}[loss]
    assert ours == pytest.approx(float(theirs), abs=1e-9)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_averaged_losses_of_two_processes_are_the_loss_of_one(loss):
    torch.manual_seed(1)
    each, mask = torch.randn(6, 5), torch.arange(5)[None] < torch.tensor([[5], [1], [3]] * 2)
    mask[4, 1:] = True
    whole = aggregate(each, mask, loss, tokens=float(mask.sum()), max_completion_length=5)
    mean = float(mask.sum()) / 2
    halves = [
        aggregate(each[i : i + 3], mask[i : i + 3], loss, tokens=mean, max_completion_length=5)
        for i in (0, 3)
    ]
    assert whole.item() == pytest.approx(sum(halves).item() / 2, abs=1e-6)

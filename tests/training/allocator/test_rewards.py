import math

import pytest
import torch

from napari_pathreason.training.allocator import entropy, expected_gain, gated, paper, ranking_loss

COSTS = torch.tensor([[0.1, 0.4, 1.0]])


def climb(rewards: torch.Tensor, steps: int = 400, bonus: float = 0.0) -> torch.Tensor:
    logits = torch.zeros_like(rewards, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (-(expected_gain(logits, rewards) + bonus * entropy(logits)).mean()).backward()
        optimizer.step()
    return logits.detach().softmax(-1)


def test_the_gated_reward_by_hand():
    rewards = gated(torch.tensor([[0.5, 1.0, 1.0]]), COSTS, 0.5)
    assert rewards.tolist() == [pytest.approx([0.475, 0.8, 0.5])]
    assert gated(torch.ones(1, 3), COSTS, 2.0).tolist() == [pytest.approx([0.8, 0.2, 0.0])]


def test_the_papers_reward_by_hand():
    scores = torch.ones(2, 3)
    tokens = torch.tensor([[16, 64, 100], [64, 256, 400]])
    rewards = paper(scores, tokens, torch.tensor([100, 900]))
    assert rewards.tolist() == [[2, 2, 1.5], [2, 1.5, 1.5]]


def test_the_gradient_is_that_of_the_expected_reward():
    logits = torch.tensor([[0.3, -0.2, 0.9]], requires_grad=True)
    rewards = torch.tensor([[0.2, 0.8, 0.5]])
    ours = torch.autograd.grad(expected_gain(logits, rewards).sum(), logits)[0]
    plain = torch.autograd.grad((logits.softmax(-1) * rewards).sum(), logits)[0]
    assert torch.allclose(ours, plain, atol=1e-7)


def test_a_bandit_finds_its_best_rung():
    rewards = gated(torch.tensor([[0.2, 0.9, 1.0]]), COSTS, 0.5)
    assert climb(rewards)[0, 1] > 0.95


def test_without_a_price_it_climbs():
    assert climb(gated(torch.tensor([[0.2, 0.6, 1.0]]), COSTS, 0.0))[0, 2] > 0.95


def test_a_huge_price_does_not_collapse_hopeless_items():
    probabilities = climb(gated(torch.zeros(1, 3), COSTS, 100.0), bonus=0.01)
    assert probabilities[0].tolist() == pytest.approx([1 / 3] * 3)


def test_entropy_and_ranking_by_hand():
    assert entropy(torch.zeros(1, 4)).item() == pytest.approx(math.log(4))
    logits = torch.tensor([[0.0, 1.0]])
    loss = ranking_loss(logits, torch.tensor([[0.0, 0.5]]))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert ranking_loss(logits, torch.ones(1, 2)).item() == 0

"""Steps of the policy on fixed completions, against values pinned when the loop was measured."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import AutoModelForImageTextToText, AutoTokenizer

from napari_pathreason.models import NORMALISATION, read_dims
from napari_pathreason.training.grpo import (
    Learner,
    Rollout,
    build_prompts,
    join_processes,
    over_processes,
)
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import Sample, View
from tests.support import make_tiny_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TOKENS = torch.randint(0, 200, (6, 5), generator=torch.Generator().manual_seed(1))
MASK = torch.arange(5)[None] < torch.tensor([5, 2, 1, 4, 5, 3])[:, None]
REWARDS = torch.tensor([[1.0, 0.0, 0.5], [0.0, 0.0, 2.0]])


@pytest.fixture
def learnt(tmp_path):
    """Figures of three steps of the same completions."""
    AcceleratorState._reset_state(reset_partial_state=True)

    def steps(apart=False, **grpo):
        folder = make_tiny_checkpoint(tmp_path / "tiny")
        recipe = Recipe.model_validate(
            {
                "output": str(tmp_path),
                "data": {"folder": "x"},
                "grpo": {
                    "num_generations": 3,
                    "max_completion_length": 5,
                    "lr": 1e-3,
                    "warmup": 1,
                    "steps": 4,
                }
                | grpo,
            }
        )
        settings = recipe.grpo

        def load():
            model = AutoModelForImageTextToText.from_pretrained(folder)
            return model, AutoTokenizer.from_pretrained(folder)

        learner = Learner(join_processes(recipe, settings, tmp_path), recipe, settings, load)
        config = learner.model.model.config
        dims = read_dims(config.to_dict())
        pixels = np.random.default_rng(0).integers(
            0, 256, (dims.token_px, 2 * dims.token_px, 3), np.uint8
        )
        view = View(pixels, (2, 1), "", (), (), (), (), (), None, pixels.shape[1::-1])
        asked = [(Sample(image="x.png", task="vqa", question=q), view) for q in ("A?", "Longer?")]
        prompts = build_prompts([asked], learner.tokenizer, dims, NORMALISATION[config.model_type])
        drawn = Rollout(TOKENS, MASK, torch.ones(6, dtype=torch.bool))
        scale = settings.scaled
        if apart:
            parts = [
                (
                    build_prompts([[one]], learner.tokenizer, dims, NORMALISATION["qwen3_vl"]),
                    Rollout(TOKENS[rows], MASK[rows], torch.ones(3, dtype=torch.bool)),
                    rewards[None],
                )
                for one, rows, rewards in zip(
                    asked, (slice(0, 3), slice(3, 6)), REWARDS, strict=True
                )
            ]
            return [learner.learn_from(parts, step, scale_rewards=scale) for step in range(3)]
        return [
            learner.learn(prompts, drawn, REWARDS, step, scale_rewards=scale) for step in range(3)
        ]

    yield steps
    AcceleratorState._reset_state(reset_partial_state=True)


DAPO = [
    {"loss": -0.06337, "norm": 8.0336, "entropy": 4.4031, "lr": 0.001, "kl": 0.0},
    {"loss": 0.1087, "norm": 5.6038, "entropy": 4.4028, "lr": 0.001, "kl": 3.441565},
    {"loss": 0.19889, "norm": 4.8754, "entropy": 4.2959, "lr": 0.000755, "kl": 5.2452},
]
PAPER = [
    {"loss": -0.17173, "norm": 1.6658, "entropy": 4.4014, "lr": 0.001},
    {"loss": -0.16787, "norm": 1.1929, "entropy": 4.4781, "lr": 0.001},
    {"loss": -0.15551, "norm": 1.8965, "entropy": 4.3396, "lr": 0.000755},
]
DR_GRPO = [
    {"loss": 0.01667, "norm": 5.361, "entropy": 4.4031, "lr": 0.001, "kl": 0.0},
    {"loss": 0.01929, "norm": 3.8905, "entropy": 4.3435, "lr": 0.001, "kl": 3.933705},
    {"loss": 0.03956, "norm": 3.1374, "entropy": 4.105, "lr": 0.000755, "kl": 34.338177},
]


@pytest.mark.parametrize(
    ("settings", "pinned"),
    [
        ({"beta": 0.05}, DAPO),
        ({"loss_type": "grpo", "beta": 0.0, "num_iterations": 2, "epsilon_high": 0.28}, PAPER),
        ({"loss_type": "dr_grpo", "max_grad_norm": 0.1, "weight_decay": 0.1}, DR_GRPO),
    ],
    ids=["dapo", "grpo", "dr_grpo"],
)
def test_steps_are_those_that_were_pinned(learnt, settings, pinned):
    records = learnt(**settings)
    assert len(records) == len(pinned)
    for record, values in zip(records, pinned, strict=True):
        assert {k: record[k] for k in values} == pytest.approx(values, rel=2e-2, abs=1e-4)
        assert ("kl" in record) == ("kl" in values)
        assert (record["reward"], record["groups"], record["zero_variance"]) == (0.5833, 2, 0)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
def test_parts_of_a_step_teach_what_the_whole_does(learnt, loss_type):
    whole = learnt(loss_type=loss_type, beta=0.05)
    AcceleratorState._reset_state(reset_partial_state=True)
    parts = learnt(apart=True, loss_type=loss_type, beta=0.05)
    for one, other in zip(whole, parts, strict=True):
        assert other == pytest.approx(one, rel=2e-3, abs=2e-4)


def test_figures_of_parts_are_weighed_by_their_completions():
    accelerator = Accelerator(cpu=True)
    parts = [(6, {"score": 0.5, "groups": 2}), (2, {"score": 1.0, "groups": 1, "kl": 0.1})]
    merged = over_processes(accelerator, parts)
    assert merged == {"score": pytest.approx(0.625), "groups": 3, "kl": 0.1}
    assert over_processes(accelerator, parts[:1]) == parts[0][1]

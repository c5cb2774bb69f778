"""The same completions leave the same weights, whichever engine learns from them."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from napari_pathreason.training import grpo
from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.trl_engine import train_performer_by_trl

trl = pytest.importorskip("trl", reason="the optional engine; pip install 'napari-pathreason[trl]'")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 4
SETTINGS = {
    "steps": STEPS,
    "checkpoint_every": STEPS,
    "validate_every": STEPS,
    "num_generations": 8,
    "max_completion_length": 8,
    "lr": 5e-3,
    "beta": 0.04,
}
OTHERWISE = {
    "gradient_accumulation": 2,
    "temperature": 0.7,
    "loss_type": "grpo",
    "num_iterations": 2,
    "budgets": {4: 1},
}
FIGURES = ("reward", "length", "kl", "norm", "lr")


def _steps(folder):
    lines = (Path(folder) / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if "lr" in record]


def _distance(one, other):
    return sum(float((one[name] - other[name]).square().sum()) for name in one) ** 0.5


@pytest.fixture
def of_one_distribution(monkeypatch):
    """Lets the own loop's losses keep the probability of tokens that are never drawn, as TRL's."""
    forward = grpo.Actor.forward

    def unsuppressed(actor, *inputs):
        kept, actor._suppressed = actor._suppressed, []
        try:
            return forward(actor, *inputs)
        finally:
            actor._suppressed = kept

    monkeypatch.setattr(grpo.Actor, "forward", unsuppressed)


@pytest.fixture
def learn_alike(make_recipe, checkpoint, monkeypatch, tmp_path):
    """Trains by the own loop, and by TRL on what that drew: weights before, and of both; logs."""
    sample, generate = grpo.Learner.sample, trl.GRPOTrainer._generate_single_turn

    def learn(family, **settings):
        settings = {"start": str(checkpoint(family)), **SETTINGS, **settings}
        recipes = [
            make_recipe(family, lora=False, output=str(tmp_path / name), grpo=settings)
            for name in ("own", "trl")
        ]
        drawn = []

        def recorded(learner, prompts, step):
            rollout = sample(learner, prompts, step)
            drawn.extend(rollout.ids())
            return rollout

        def repeated(trainer, prompt_ids, *more):
            if not trainer.model.training:
                return generate(trainer, prompt_ids, *more)
            return [drawn.pop(0) for _ in prompt_ids], None

        monkeypatch.setattr(grpo.Learner, "sample", recorded)
        train_performer(recipes[0])
        assert drawn
        monkeypatch.setattr(trl.GRPOTrainer, "_generate_single_turn", repeated)
        train_performer_by_trl(recipes[1])
        assert not drawn
        own, theirs = (tmp_path / name / "grpo" for name in ("own", "trl"))
        (state,) = (theirs / "trl").glob("checkpoint-*/model.safetensors")
        # states hold float32, whatever precision the model goes home in
        files = (checkpoint(family) / "model.safetensors", own / "checkpoint/model.safetensors")
        weights = [load_file(file) for file in (*files, state)]
        plain = [
            {n.replace("model.", "").replace("language_", ""): v for n, v in each.items()}
            for each in weights
        ]
        assert plain[0].keys() == plain[1].keys() == plain[2].keys()
        return plain, (_steps(own), _steps(theirs))

    return learn


@pytest.mark.usefixtures("of_one_distribution")
@pytest.mark.parametrize(
    ("family", "settings"),
    [("qwen3_vl", {}), ("qwen2_5_vl", {}), ("qwen2_vl", {}), ("qwen3_vl", OTHERWISE)],
)
def test_weights_agree_where_losses_are_of_one_distribution(learn_alike, family, settings):
    (before, own, theirs), logs = learn_alike(family, **settings)
    assert _distance(own, before) > 1
    assert _distance(own, theirs) < 0.01 * _distance(own, before)
    again = settings.get("num_iterations", 1)
    mine, other = logs[0], logs[1][again - 1 :: again]  # TRL writes each step of the optimiser
    assert len(mine) == len(other) == STEPS
    for one, two in zip(mine, other, strict=True):
        if again > 1:
            two |= {name: logs[1][2 * one["step"] - 2][name] for name in ("reward", "length")}
        for name in FIGURES:
            assert one[name] == pytest.approx(two[name], rel=0.01, abs=1e-4), name


def test_what_is_left_is_the_probability_of_vision_tokens(learn_alike):
    (before, own, theirs), logs = learn_alike("qwen3_vl")
    moved, apart = _distance(own, before), _distance(own, theirs)
    assert 0.01 * moved < apart < 0.2 * moved  # four of 263 tokens; of a real vocabulary, nothing
    first = [log[0] for log in logs]
    assert first[0]["norm"] == pytest.approx(first[1]["norm"], rel=0.01)
    assert first[0]["reward"] == pytest.approx(first[1]["reward"], abs=1e-4)

"""Both engines learn the same from the same recipe: final rewards over three seeds."""

import json
from statistics import fmean

import pytest

from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.trl_engine import train_performer_by_trl

pytest.importorskip("trl", reason="the optional engine; pip install 'napari-pathreason[trl]'")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(3600)]

SEEDS = (0, 1, 2)
STEPS, LAST = 16, 4
CLOSE = 0.2
"""What means over three seeds differ by between draws of the same policy; single seeds differ by as
much within an engine."""


@pytest.fixture(scope="session")
def by_even_ids(tmp_path_factory):
    """Names an installed reward function: the share of tokens with an even number."""
    folder = tmp_path_factory.mktemp("even")
    (folder / "reward_by_even.py").write_text(
        "def reward(completion_ids, **columns):\n"
        "    return [sum(one % 2 == 0 for one in ids) / len(ids) for ids in completion_ids]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "reward_by_even:reward"


@pytest.mark.parametrize(
    ("family", "lr"), [("qwen3_vl", 2e-3), ("qwen2_5_vl", 1e-2), ("qwen2_vl", 5e-3)]
)
def test_final_rewards_of_three_seeds_are_close(
    make_recipe, checkpoint, by_even_ids, tmp_path, family, lr
):
    def finals(train, name):
        found = []
        for seed in SEEDS:
            recipe = make_recipe(
                family,
                lora=False,
                output=str(tmp_path / f"{name}-{seed}"),
                seed=seed,
                grpo={
                    "start": str(checkpoint(family)),
                    "rewards": [by_even_ids],
                    "budgets": {4: 1},
                    "batch_size": 2,
                    "num_generations": 8,
                    "max_completion_length": 8,
                    "beta": 0.0,
                    "lr": lr,
                    "steps": STEPS,
                    "checkpoint_every": STEPS,
                    "validate_every": STEPS,
                },
            )
            train(recipe)
            log = (tmp_path / f"{name}-{seed}" / "grpo/log.jsonl").read_text().splitlines()
            rewards = [r["reward"] for r in map(json.loads, log) if "lr" in r]
            assert len(rewards) == STEPS
            assert fmean(rewards[-LAST:]) > rewards[0] + 0.1, "it does not learn"
            found.append(round(fmean(rewards[-LAST:]), 3))
        return found

    own, theirs = finals(train_performer, "own"), finals(train_performer_by_trl, "trl")
    print(family, "own", own, "trl", theirs)  # noqa: T201
    assert abs(fmean(own) - fmean(theirs)) < CLOSE

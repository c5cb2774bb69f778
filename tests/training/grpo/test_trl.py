"""Advantages and losses beside those that TRL's own GRPOTrainer computes from the same tensors."""

import dataclasses

import pytest
import torch

from napari_pathreason.training.grpo import aggregate, clipped_surrogate, group_advantages, k3
from napari_pathreason.training.recipe import PolicyRecipe
from tests.support import byte_tokenizer

trl = pytest.importorskip("trl", reason="comes with the dev group")
pytestmark = pytest.mark.filterwarnings("ignore")

GROUP, MAX_NEW_TOKENS = 4, 7
LENGTHS = (5, 1, 3, 2, 5, 4, 5, 5)
REWARDS = (0.0, 1.0, 1.5, 0.25, 0.3, 0.3, 0.3, 0.3)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """TRL's trainer around a language model of a few thousand weights."""
    from accelerate.state import AcceleratorState
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM

    AcceleratorState._reset_state(reset_partial_state=True)
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    folder = tmp_path_factory.mktemp("llama")
    LlamaForCausalLM(config).save_pretrained(folder)  # the reference is read from there
    yield trl.GRPOTrainer(
        model=LlamaForCausalLM.from_pretrained(folder),
        reward_funcs=lambda completions, **_: list(REWARDS),
        args=trl.GRPOConfig(
            str(tmp_path_factory.mktemp("trl")),
            per_device_train_batch_size=2 * GROUP,
            num_generations=GROUP,
            max_completion_length=MAX_NEW_TOKENS,
            beta=0.04,
            use_bias_correction_kl=False,  # DeepSeekMath's k3, as the paper has it, is without
            epsilon=0.2,
            epsilon_high=0.28,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": "Is it?"}, {"prompt": "What lies there?"}]),
        processing_class=tokenizer,
    )
    AcceleratorState._reset_state(reset_partial_state=True)


def test_keys_of_recipes_are_trls():
    named = {"loss_type", "scale_rewards", "beta", "epsilon", "epsilon_high", "num_iterations"}
    named |= {"num_generations", "temperature", "max_completion_length", "max_grad_norm"}
    theirs = {field.name: field for field in dataclasses.fields(trl.GRPOConfig)}
    assert named <= PolicyRecipe.model_fields.keys() & theirs.keys()
    same = {"loss_type", "epsilon", "epsilon_high", "num_iterations", "num_generations"}
    same |= {"temperature", "max_grad_norm"}
    for name in same:
        assert PolicyRecipe.model_fields[name].default == theirs[name].default, name


@pytest.mark.parametrize("scale", [True, False])
def test_advantages_equal_trls(trainer, scale):
    trainer.scale_rewards = "group" if scale else "none"
    trainer.model.train()
    asked = [{"prompt": text} for text in ("Is it?", "What lies there?") for _ in range(GROUP)]
    theirs = trainer._generate_and_score_completions(asked)["advantages"]
    ours = group_advantages(torch.tensor(REWARDS).view(-1, GROUP), scale_rewards=scale).view(-1)
    assert ours[:GROUP].abs().min() > 0.01
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo"])
def test_losses_and_their_gradients_equal_trls(trainer, monkeypatch, loss):
    random = torch.Generator().manual_seed(0)
    shape = (2 * GROUP, max(LENGTHS))
    log_p, old, reference = (-2 * torch.rand(shape, generator=random) for _ in range(3))
    gains = torch.randn(len(LENGTHS), generator=random)
    mask = torch.arange(shape[1])[None] < torch.tensor(LENGTHS)[:, None]

    mine = log_p.clone().requires_grad_()
    each = clipped_surrogate(mine, old, gains, 0.2, 0.28) + 0.04 * k3(mine, reference)
    ours = aggregate(
        each, mask, loss, tokens=float(mask.sum()), max_completion_length=MAX_NEW_TOKENS
    )
    ours.backward()

    other = log_p.clone().requires_grad_()
    monkeypatch.setattr(
        trainer,
        "_get_per_token_logps_and_entropies",
        lambda *args, **kwargs: (other, torch.zeros(shape), None),
    )
    trainer.loss_type = loss
    trainer.current_gradient_accumulation_steps = 1
    ids = torch.zeros(shape, dtype=torch.int64)
    theirs = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": ids,
            "prompt_mask": ids + 1,
            "completion_ids": ids,
            "completion_mask": mask.long(),
            "advantages": gains,
            "old_per_token_logps": old,
            "ref_per_token_logps": reference,
            "num_items_in_batch": mask.sum(),
        },
    )
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert torch.allclose(mine.grad, other.grad, atol=1e-5, rtol=0)
    assert mine.grad.abs().max() > 0.01

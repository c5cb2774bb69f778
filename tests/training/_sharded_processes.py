"""Run by torchrun on two gloo processes, each with a part of a model: is it as the whole one?

Accelerate shards on accelerators alone. Here it is told that these processes have some, and does
the rest as it would there: `fully_shard`, clipping, states of a run, the whole adapter at the end.
"""

import os
import sys
from importlib import import_module

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.tensor import DTensor

from napari_pathreason.cli import main as command
from napari_pathreason.models import NORMALISATION, read_dims
from napari_pathreason.training import sft
from napari_pathreason.training.grpo import (
    Actor,
    AdaptedReference,
    aggregate,
    build_prompts,
    clipped_surrogate,
    k3,
    roll_out,
)
from napari_pathreason.training.model import start_lora
from napari_pathreason.training.recipe import LoraRecipe
from napari_pathreason.training.run import (
    ended_everywhere,
    full_value,
    gathered,
    open_shards,
    prepare_shards,
)
from napari_pathreason.training.samples import Sample
from tests.support.two_processes import HALVES, compare, view

LEARNER = import_module("napari_pathreason.training.grpo._learner")


class Sharding(Accelerator):
    """Takes the launcher's settings of FSDP on the CPU too."""

    def __init__(self, **settings):
        super().__init__(cpu=True, **settings)
        assert self.num_processes == 2
        plugin = FullyShardedDataParallelPlugin()
        if self.mixed_precision != "no":
            plugin.set_mixed_precision(self.mixed_precision)
        self.state.fsdp_plugin = plugin
        self.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    def prepare(self, *parts):
        model, optimizer = super().prepare(*parts)
        assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
        return model, optimizer


def _drawn(actor, prompts, stops, may_end=bool):
    random = torch.Generator().manual_seed(5)
    drawn = roll_out(actor, prompts, 2, 6, stops, 0, random, may_end)
    ended = drawn.mask.any(0)
    return drawn.tokens[:, ended], drawn.mask[:, ended], drawn.finished


def _gradients(actor):
    found = {n: p.grad for n, p in actor.named_parameters() if p.grad is not None}
    return {n: g.full_tensor() if isinstance(g, DTensor) else g.clone() for n, g in found.items()}


def _ground(folder, **lora):
    """An actor whose adapters say something, its reference, and prompts of some questions."""
    model, tokenizer = start_lora(folder, LoraRecipe(**lora), 0)
    dims, pixels = read_dims(model.config.to_dict()), NORMALISATION[model.config.model_type]
    actor = Actor(model, (), 1.0, lora["checkpointing"]).eval()
    reference = AdaptedReference(actor)
    for name, parameter in model.named_parameters():
        if "lora_B.default" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    asked = [
        [(Sample(image="a.png", task="vqa", question=q), view(dims.token_px, a, side))]
        for q, a, side in HALVES
    ]
    return actor, reference, lambda part: build_prompts(asked[part], tokenizer, dims, pixels)


def _optimizer(actor):
    return torch.optim.AdamW(p for p in actor.parameters() if p.requires_grad)


TOKENS = torch.randint(0, 200, (4, 6), generator=torch.Generator().manual_seed(1))
MASK = torch.arange(6)[None] < torch.tensor([6, 2, 1, 4])[:, None]


def speak(folder):
    """In half precision too, a sharded model tells what the whole one does, in float32."""
    AcceleratorState._reset_state()
    accelerator = Sharding(mixed_precision="bf16")
    prepare_shards(accelerator, adapted=True)
    at = accelerator.process_index
    actor, _, prompts_of = _ground(folder, weights="bf16", checkpointing=True)
    heard = prompts_of(slice(at, at + 1)), TOKENS[2 * at : 2 * at + 2], MASK[2 * at : 2 * at + 2], 2
    with accelerator.autocast():
        alone = actor(*heard).log_p
    accelerator.prepare(actor, _optimizer(actor))
    with accelerator.autocast():
        said = actor(*heard).log_p
    assert said.dtype == torch.float32
    assert torch.allclose(said, alone, atol=1e-5)
    said.sum().backward()
    assert {g.dtype for g in _gradients(actor).values()} == {torch.float32}


def learn(folder, checkpointing):
    """Draw, ask the reference and learn, twice, alone with all questions and sharded with half."""
    actor, reference, prompts_of = _ground(folder, weights="fp32", checkpointing=checkpointing)
    gains = torch.tensor([1.0, -1.0, 0.5, -0.5])

    def backward(accelerator, part, rows):
        prompts, tokens, mask = prompts_of(part), TOKENS[rows], MASK[rows]
        begun = reference(prompts, tokens, mask, 2).log_p
        count = MASK.sum() / (1 if accelerator is None else 2)
        for _ in range(2):  # as `iterations` has it
            actor.zero_grad()
            log_p = actor(prompts, tokens, mask, 2).log_p
            each = clipped_surrogate(log_p, log_p.detach(), gains[rows], 0.2, 0.2)
            each = each + k3(log_p, begun)
            aggregate(each, mask, "dapo", tokens=float(count), max_completion_length=6).backward()
        found = _gradients(actor)
        clip = torch.nn.utils if accelerator is None else accelerator
        norm = full_value(clip.clip_grad_norm_(actor.parameters(), 1.0))
        actor.zero_grad()
        return begun, found, norm

    accelerator = Sharding()
    prepare_shards(accelerator, adapted=True)
    at = accelerator.process_index
    stops = range(400) if at == 0 else ()  # one ends at once, the other is cut off
    half, rows = slice(at, at + 1), slice(2 * at, 2 * at + 2)
    own = prompts_of(half)
    drawn = _drawn(actor, own, stops)
    begun, alone, norm = backward(None, slice(0, 2), slice(0, 4))

    accelerator.prepare(actor, _optimizer(actor))
    open_shards(actor, "with_gathered_params")
    may_end = ended_everywhere(accelerator)
    for again in range(2):
        with torch.no_grad():
            assert all(map(torch.equal, _here(actor, own, stops, may_end), drawn))
            assert _parts(actor) == {True}
            if again:  # what stays gathered is given back before the reference comes
                with gathered(accelerator, actor):
                    assert all(map(torch.equal, _here(actor, own, stops, may_end), drawn))
                    assert _parts(actor) == {False}
        assert _parts(actor) == {True}
        said, together, clipped = backward(accelerator, half, rows)
        assert torch.allclose(said, begun[rows], atol=1e-5)
        compare(alone, together)
        assert abs(clipped - norm) < 1e-5 * norm
    assert not [n for n in alone if ".default." not in n]
    accelerator.free_memory()  # it clips what is prepared with it


def _here(actor, prompts, stops, may_end):
    return actor.with_gathered_params(lambda: _drawn(actor, prompts, stops, may_end))


def _parts(actor):
    """Whether a part of each weight of the layers lies here, or the whole of it."""
    layers = actor.model.model.language_model.layers
    return {isinstance(parameter, DTensor) for parameter in layers.parameters()}


def train(stage, recipe):
    """A stage of training, sharded if it is launched so; completions end after some tokens."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        LEARNER.Accelerator = sft.Accelerator = Sharding
    own = LEARNER.stop_ids
    LEARNER.stop_ids = lambda *args: own(*args) | set(range(0, 256, 6))
    assert command(["train", stage, "--recipe", recipe]) == 0


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "train":
        train(*words)
    else:
        for folder in words:
            for checkpointing in (False, True):
                learn(folder, checkpointing)
        speak(words[0])
    sys.stdout.write("done\n")

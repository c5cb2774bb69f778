"""Run by torchrun on two gloo processes: are their averaged gradients those of one process?"""

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from napari_pathreason.models import NORMALISATION, read_dims
from napari_pathreason.training.grpo import Actor, aggregate, build_prompts, clipped_surrogate
from napari_pathreason.training.model import start_lora
from napari_pathreason.training.objectives import LanguageModelObjective, process_weights
from napari_pathreason.training.recipe import LoraRecipe, SFTRecipe
from napari_pathreason.training.samples import Sample, View

HALVES = (("Is it?", "no", 1), ("What lies there?", "seven white cells and more", 3))
"""Question, answer and side of the picture of each process: nothing is even."""


def view(token_px, answer, side):
    pixels = np.random.default_rng(side).integers(0, 255, (token_px * side, token_px, 3), np.uint8)
    area = ("tumour", (0.0, 0.0, 1.0, 0.7))
    known = ("tumour",) if side == 3 else ()
    areas, size = (area,) if known else (), pixels.shape[1::-1]
    return View(pixels, (1, side), answer, (), areas, (), (), known, None, size)


def compare(alone, together):
    assert alone.keys() == together.keys()
    largest = max(float(gradient.abs().max()) for gradient in alone.values())
    assert largest > 0
    for name, gradient in alone.items():
        assert (gradient - together[name]).abs().max() < 1e-5 * largest, name


def gradients(module):
    plain = getattr(module, "module", module)
    found = {n: p.grad.clone() for n, p in plain.named_parameters() if p.grad is not None}
    plain.zero_grad()
    return found


def sft(accelerator, objective, model, tokenizer):
    objective.attach(model, tokenizer)
    token_px = read_dims(model.config.to_dict()).token_px
    pictures = [
        [(Sample(image="a.png", task="vqa", question=q), view(token_px, a, side))]
        for q, a, side in HALVES
    ]
    module = objective.module
    objective.losses(module, objective.collate(pictures), 0).sum().backward()
    alone = gradients(module)
    ddp = torch.nn.parallel.DistributedDataParallel(module)
    own = objective.collate([pictures[accelerator.process_index]])
    each = objective.losses(ddp, own, 0)
    (process_weights(accelerator, objective.counts(own)) * each).sum().backward()
    compare(alone, gradients(ddp))


def grpo(accelerator, model, tokenizer, loss):
    dims, pixels = read_dims(model.config.to_dict()), NORMALISATION[model.config.model_type]
    asked = [
        [(Sample(image="a.png", task="vqa", question=q), view(dims.token_px, a, side))]
        for q, a, side in HALVES
    ]
    actor = Actor(model, ()).eval()
    tokens = torch.randint(0, 200, (4, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(6)[None] < torch.tensor([6, 2, 1, 4])[:, None]
    gains = torch.tensor([1.0, -1.0, 0.5, -0.5])

    def backward(module, asked, rows):
        prompts = build_prompts(asked, tokenizer, dims, pixels)
        log_p = module(prompts, tokens[rows], mask[rows], 2).log_p
        each = clipped_surrogate(log_p, log_p.detach(), gains[rows], 0.2, 0.2)
        count = mask[rows].sum().float()
        mean = count if module is actor else accelerator.reduce(count, reduction="mean")
        aggregate(each, mask[rows], loss, tokens=mean.item(), max_completion_length=6).backward()
        return gradients(module)

    alone = backward(actor, asked, slice(0, 4))
    at = accelerator.process_index
    ddp = torch.nn.parallel.DistributedDataParallel(actor)
    compare(alone, backward(ddp, [asked[at]], slice(2 * at, 2 * at + 2)))


def main(folder):
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    model, tokenizer = start_lora(str(folder), LoraRecipe(weights="fp32", checkpointing=False), 0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    sft(accelerator, LanguageModelObjective(SFTRecipe()), model, tokenizer)
    for loss in ("grpo", "dapo", "dr_grpo"):
        grpo(accelerator, model, tokenizer, loss)
    sys.stdout.write("equal\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

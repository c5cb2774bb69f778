"""Gradients of two gloo processes beside those of one, for scripts that torchrun runs."""

import numpy as np
import torch

from napari_pathreason.models import read_dims
from napari_pathreason.training.objectives import part_weights
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


def compare_sft(accelerator, objective, model, tokenizer):
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
    (part_weights(accelerator, [objective.counts(own)])[0] * each).sum().backward()
    compare(alone, gradients(ddp))

"""Run by torchrun on two gloo processes: are their averaged gradients those of one process?"""

import sys
from pathlib import Path

import torch
from accelerate import Accelerator

from napari_pathreason.models import NORMALISATION, read_dims
from napari_pathreason.training.grpo import Actor, aggregate, build_prompts, clipped_surrogate
from napari_pathreason.training.model import start_lora
from napari_pathreason.training.objectives import LanguageModelObjective
from napari_pathreason.training.recipe import LoraRecipe, SFTRecipe
from napari_pathreason.training.samples import Sample
from tests.support.two_processes import HALVES, compare, compare_sft, gradients, view


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
    compare_sft(accelerator, LanguageModelObjective(SFTRecipe()), model, tokenizer)
    for loss in ("grpo", "dapo", "dr_grpo"):
        grpo(accelerator, model, tokenizer, loss)
    sys.stdout.write("equal\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

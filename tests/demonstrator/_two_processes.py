"""Run by torchrun on two gloo processes: are their averaged gradients those of one process?"""

import sys

from accelerate import Accelerator

from demonstrator.new_model import Sizes, new_model
from demonstrator.objective import MultiTaskObjective
from napari_pathreason.training.recipe import SFTRecipe
from napari_pathreason.training.samples import Sample
from tests.support.two_processes import compare_sft


def main():
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    sizes = Sizes(1600, 1, 32, 2, 32, (), 2, 48, 2, 1, 32)
    model, tokenizer = new_model([Sample(image="a.png", task="vqa", question="?")], sizes)
    compare_sft(accelerator, MultiTaskObjective(SFTRecipe()), model, tokenizer)
    sys.stdout.write("equal\n")


if __name__ == "__main__":
    main()

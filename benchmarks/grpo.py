"""GRPO beside TRL: python benchmarks/grpo.py [--json FILE] [--steps N].

First one step of `pathreason train performer` against one of TRL's GRPOTrainer: the same new
small Qwen3-VL model, the same pictures, group, lengths, losses and distance to the start, in one
process on one machine. Random weights end an answer hardly ever, so lengths are the same. Seconds
are medians without the first step, which pays for imports and first touches; beside other load,
those of the CPU tell more. Then the performer's calls that training the allocator takes, with s(N)
tabulated, against one call a rollout: as many as questions and steps, one rollout each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from napari_pathreason.training import Sample, performer, read_samples, write_samples
from napari_pathreason.training.allotting._ladder_scores import Scored, tabulate
from napari_pathreason.training.model._mini import save_checkpoint
from napari_pathreason.training.model._start import start_model
from napari_pathreason.training.recipe._recipe import Recipe
from napari_pathreason.training.run._log import RunLog
from napari_pathreason.training.samples._pictures import Pictures

PICTURES, GROUP, LONGEST, SIDE, BETA = 4, 8, 48, 256, 0.001
QUESTION, CHOICES = "Are the nuclei dense or sparse?", ("dense", "sparse")
MODEL: dict[str, Any] = {
    "vocabulary": 2048,
    "vision_depth": 6,
    "vision_hidden": 256,
    "vision_mlp": 768,
    "text_depth": 4,
    "text_hidden": 256,
    "text_mlp": 768,
}
"""Between the first look's and the embedded one's size."""


def write_data(folder: Path) -> None:
    """Pictures of 64 visual tokens, one question each, and larger ones for the ladder."""
    rng = np.random.default_rng(0)
    for split, sides in (
        ("train", [SIDE] * 4 * PICTURES),
        ("val", [SIDE] * PICTURES),
        ("ladder", [96, 224, 256, 480, 640, 1024]),
    ):
        samples = []
        for i, side in enumerate(sides):
            name = f"{split}-{i}.png"
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / name)
            samples.append(
                Sample(image=name, task="vqa", question=QUESTION, choices=CHOICES, answer="dense")
            )
        write_samples(folder / f"{split}.jsonl", samples)


class Clock:
    """Seconds between marks, on the wall and of this process's CPU time."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """One step is over."""
        self._marks.append((time.perf_counter(), time.process_time()))

    def medians(self) -> tuple[float, float]:
        """Of wall and CPU seconds a step; the first step is what lies before the first mark."""
        pairs = zip(self._marks, self._marks[1:], strict=False)
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairs]
        wall, cpu = zip(*steps, strict=True)
        return statistics.median(wall), statistics.median(cpu)


def ours(recipe: Recipe) -> tuple[float, float]:
    """Seconds a step of the command's own loop, from one line of its log to the next."""
    clock = Clock()

    class Clocked(RunLog):
        def write(self, record: dict[str, Any]) -> None:
            clock.mark()
            super().write(record)

    plain, performer.RunLog = performer.RunLog, Clocked  # type: ignore[misc]
    try:
        performer.train_performer(recipe)
    finally:
        performer.RunLog = plain  # type: ignore[misc]
    return clock.medians()


def theirs(recipe: Recipe, out: Path) -> tuple[float, float]:
    """Seconds a step of TRL's trainer from the same checkpoint."""
    import trl
    from datasets import Dataset
    from transformers import Qwen3VLForConditionalGeneration, TrainerCallback

    folder = Path(recipe.output) / "model"
    data = Path(recipe.data.folder)
    processor = _processor(folder)

    clock = Clock()

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.mark()

    prompt = [{"role": "user", "content": f"{QUESTION} {' or '.join(CHOICES)}?"}]
    pictures = [data / str(sample.image) for sample in read_samples(data / "train.jsonl")]
    rows = [{"prompt": prompt, "image": Image.open(path).convert("RGB")} for path in pictures]
    trainer = trl.GRPOTrainer(
        model=Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype="float32"),
        reward_funcs=lambda completions, **_: [len(str(one)) / 100 for one in completions],
        args=trl.GRPOConfig(
            str(out),
            per_device_train_batch_size=PICTURES * GROUP,
            num_generations=GROUP,
            max_completion_length=LONGEST,
            max_steps=recipe.grpo.steps,
            beta=BETA,
            loss_type="dapo",
            learning_rate=recipe.grpo.lr,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            logging_strategy="no",
            generation_kwargs={"suppress_tokens": processor.vision_ids},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        callbacks=[Marks()],
    )
    trainer.train()
    return clock.medians()


def _processor(folder: Path) -> Any:
    """Qwen3-VL's own processor without videos, which would need torchvision."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    from napari_pathreason.models._inputs import VISION_TOKENS

    class Processor(Qwen3VLProcessor):  # type: ignore[misc]
        def __init__(self, image_processor: Any, tokenizer: Any, chat_template: Any = None) -> None:
            self.video_processor = None
            super().__init__(image_processor, tokenizer, None, chat_template)
            self.vision_ids = tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))

        @classmethod
        def get_attributes(cls) -> list[str]:
            return ["image_processor", "tokenizer"]

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = Qwen2VLImageProcessorPil.from_pretrained(folder)
    return Processor(pixels, tokenizer, tokenizer.chat_template)


class Counter:
    """In place of a performer: counts what it would be asked."""

    def __init__(self) -> None:
        self.calls = 0

    def windows(self, questions: list[Any], sizes: list[Any]) -> list[list[Any]]:
        """Each question by itself."""
        return [[question] for question in questions]

    def ask(self, indexes: list[int], budget: int | None) -> list[Scored]:
        """One answer each."""
        self.calls += len(indexes)
        return [Scored(0.0, budget or 0, 0.0, 0, 1.0) for _ in indexes]


def calls(recipe: Recipe, out: Path) -> dict[str, int]:
    """The performer's calls for one training of the allocator."""
    data = Path(recipe.data.folder)
    samples, counter = read_samples(data / "ladder.jsonl"), Counter()
    tabulate(samples, Pictures(data), counter, 32, out / "scores.jsonl")  # type: ignore[arg-type]
    steps = recipe.allocator.steps
    return {
        "questions": len(samples),
        "steps": steps,
        "tabulated": counter.calls,
        "by_rollout": len(samples) * steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_data(folder)
        recipe = Recipe.model_validate(
            {
                "output": str(folder / "run"),
                "data": {"folder": place, "questions": 1, "turn": False, "stain": 0},
                "model": MODEL,
                "grpo": {
                    "group": GROUP,
                    "longest": LONGEST,
                    "pictures": PICTURES,
                    "budgets": {64: 1},
                    "beta": BETA,
                    "steps": args.steps,
                    "checkpoint_every": 10 * args.steps,
                    "validate_every": 10 * args.steps,
                    "validate_samples": 1,
                },
            }
        )
        model, tokenizer = start_model(recipe, read_samples(folder / "train.jsonl"))
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        save_checkpoint(folder / "run/model", model, tokenizer, {"name": "bench"})
        load = os.getloadavg()[0]
        mine, other = ours(recipe), theirs(recipe, folder / "trl")
        counted = calls(recipe, folder)
    print(f"{millions:.1f} M parameters, {PICTURES} pictures x {GROUP} completions of {LONGEST}")
    print("tokens, 64 visual tokens, float32;", platform.machine(), f"load before: {load:.1f}")
    print("| | s a step on the clock | | on the CPU | |")
    print("|---|---:|---:|---:|---:|")
    print(f"| **pathreason train performer** | {mine[0]:.2f} | | {mine[1]:.2f} | |")
    ratios = [b / a for a, b in zip(mine, other, strict=True)]
    print(
        f"| TRL GRPOTrainer | {other[0]:.2f} | {ratios[0]:.1f} x "
        f"| {other[1]:.2f} | {ratios[1]:.1f} x |"
    )
    print()
    print("| s(N) | performer's calls | |")
    print("|---|---:|---:|")
    print(f"| **tabulated** ({counted['questions']} questions) | {counted['tabulated']} | |")
    ratio = counted["by_rollout"] / counted["tabulated"]
    print(f"| one a rollout ({counted['steps']} steps) | {counted['by_rollout']} | {ratio:.0f} x |")
    if args.json:
        figures = {"ours_s": mine, "trl_s": other, "calls": counted, "load": load}
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""GRPO beside TRL: python benchmarks/grpo.py [--json FILE] [--quick] [--steps N] [--rounds N].

First one step of `pathreason train performer` against one of TRL's GRPOTrainer: the same new
small Qwen3-VL model, the same pictures, group, lengths, losses and distance to the start, in one
process on one machine. On both sides the first layer is a matrix product (`embed_by_product`):
as the convolution that transformers writes, it alone costs a CPU more than the rest of this
model, and the comparison would be one of convolutions. ``--convolution`` leaves TRL's side as
transformers writes it. Random weights end an answer hardly ever, so lengths are the same; both
sides tell how many tokens they wrote.

The two sides take turns, round by round, so that a busy machine slows both; a ratio is that of one
round's medians, without its first step, which pays for imports and first touches. Beside other
load, seconds of the CPU tell more. Then the performer's calls that training the allocator takes,
with s(N) tabulated, against one call a rollout: as many as questions and steps, one rollout each.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from demonstrator.new_model import Sizes, new_model
from napari_pathreason.models import embed_by_product
from napari_pathreason.training import Sample, performer, read_samples, write_samples
from napari_pathreason.training.allocator import Scored, tabulate
from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import RunLog
from napari_pathreason.training.samples import Pictures

PICTURES, NUM_GENERATIONS, MAX_COMPLETION_LENGTH, SIDE, BETA = 4, 8, 48, 256, 0.001
QUESTION, CHOICES = "Are the nuclei dense or sparse?", ("dense", "sparse")
SIZES = Sizes(
    vocabulary=2048,
    vision_depth=6,
    vision_hidden=256,
    vision_heads=4,
    vision_mlp=768,
    deepstack=(2,),
    text_depth=4,
    text_hidden=256,
    text_heads=4,
    text_kv_heads=2,
    text_mlp=768,
)
"""Between the first look's and the embedded one's size."""


def write_data(folder: Path) -> None:
    """Pictures of 64 visual tokens, one question each, and larger ones for the budget grid."""
    rng = np.random.default_rng(0)
    for split, sides in (
        ("train", [SIDE] * 4 * PICTURES),
        ("val", [SIDE] * PICTURES),
        ("budget_grid", [96, 224, 256, 480, 640, 1024]),
    ):
        samples = []
        for i, side in enumerate(sides):
            name = f"{split}-{i}.png"
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / name)
            samples.append(
                Sample(image=name, task="vqa", question=QUESTION, choices=CHOICES, answer="dense")
            )
        write_samples(folder / f"{split}.jsonl", samples)


@dataclass(frozen=True, slots=True)
class Throttle:
    """Median seconds of a step, and the mean tokens of a completion."""

    clock: float
    cpu: float
    written: float


class Clock:
    """Seconds between marks, on the wall and of this process's CPU time."""

    def __init__(self) -> None:
        self.written: list[float] = []
        self._marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """One step is over."""
        self._marks.append((time.perf_counter(), time.process_time()))

    def pace(self) -> Throttle:
        """Of all steps but the first, which lies before the first mark, and the last.

        The last one of our loop asks held-out questions too.
        """
        marks = self._marks[:-1]
        steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(marks)]
        clock, cpu = zip(*steps, strict=True)
        return Throttle(
            statistics.median(clock), statistics.median(cpu), statistics.fmean(self.written)
        )


def ours(recipe: Recipe) -> Throttle:
    """The command's own loop, from one line of its log to the next."""
    clock, write = Clock(), RunLog.write

    def timed(log: RunLog, record: dict[str, Any]) -> None:
        clock.mark()
        clock.written.append(record["length"])
        write(log, record)

    # in the class, so that it counts wherever the loop has its log from
    with patch.object(RunLog, "write", timed):
        performer.train_performer(recipe)
    return clock.pace()


def theirs(recipe: Recipe, out: Path, convolution: bool) -> Throttle:
    """TRL's trainer from the same checkpoint."""
    import trl
    from datasets import Dataset
    from transformers import Qwen3VLForConditionalGeneration, TrainerCallback

    folder, data = Path(str(recipe.grpo.start)), Path(recipe.data.folder)
    processor = _processor(folder)
    clock = Clock()

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.mark()

    def reward(completions: Any, completion_ids: Any, **_: Any) -> list[float]:
        clock.written += [len(ids) for ids in completion_ids]
        return [len(str(one)) / 100 for one in completions]

    prompt = [{"role": "user", "content": f"{QUESTION} {' or '.join(CHOICES)}?"}]
    pictures = [data / str(sample.image) for sample in read_samples(data / "train.jsonl")]
    rows = [{"prompt": prompt, "image": Image.open(path).convert("RGB")} for path in pictures]
    trainer = trl.GRPOTrainer(
        model=Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype="float32"),
        reward_funcs=reward,
        args=trl.GRPOConfig(
            str(out),
            per_device_train_batch_size=PICTURES * NUM_GENERATIONS,
            num_generations=NUM_GENERATIONS,
            max_completion_length=MAX_COMPLETION_LENGTH,
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
    if not convolution:
        for model in (trainer.model, trainer.ref_model):
            embed_by_product(model.model.visual)
    trainer.train()
    return clock.pace()


def _processor(folder: Path) -> Any:
    """Qwen3-VL's own processor without videos, which would need torchvision."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    from napari_pathreason.models import VISION_TOKENS

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
    samples, counter = read_samples(data / "budget grid.jsonl"), Counter()
    tabulate(samples, Pictures(data), counter, 32, out / "scores.jsonl")  # type: ignore[arg-type]
    steps = recipe.allocator.steps
    return {
        "questions": len(samples),
        "steps": steps,
        "tabulated": counter.calls,
        "by_rollout": len(samples) * steps,
    }


def recipe_of(folder: Path, steps: int, number: int) -> Recipe:
    """The recipe of a round, with a folder of its own."""
    return Recipe.model_validate(
        {
            "output": str(folder / f"run-{number}"),
            "data": {"folder": str(folder), "questions": 1, "turn": False, "stain": 0},
            "grpo": {
                "start": str(folder / "model"),
                "num_generations": NUM_GENERATIONS,
                "max_completion_length": MAX_COMPLETION_LENGTH,
                "batch_size": PICTURES,
                "budgets": {64: 1},
                "beta": BETA,
                "steps": steps,
                "checkpoint_every": 10 * steps,
                "validate_every": 10 * steps,
                "validate_samples": 1,
            },
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=7, help="of each side and round; at least 3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--convolution", action="store_true", help="TRL's side as it comes")
    parser.add_argument("--quick", action="store_true", help="one round of 3 steps")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rounds, steps = (1, 3) if args.quick else (args.rounds, args.steps)
    if steps < 3:
        parser.error("--steps must be at least 3: the first and the last do not count")
    turns: list[tuple[Throttle, Throttle]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_data(folder)
        recipe = recipe_of(folder, steps, 0)
        model, tokenizer = new_model(read_samples(folder / "train.jsonl"), SIZES)
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        save_checkpoint(folder / "model", model, tokenizer, "bench")
        load = os.getloadavg()[0]
        for number in range(rounds):
            recipe = recipe_of(folder, steps, number)
            mine = ours(recipe)
            turns.append((mine, theirs(recipe, folder / f"trl-{number}", args.convolution)))
        counted = calls(recipe, folder)
    written = [statistics.fmean(pace.written for pace in side) for side in zip(*turns, strict=True)]
    print(f"{millions:.1f} M parameters, {PICTURES} pictures x {NUM_GENERATIONS} completions of")
    print(f"{MAX_COMPLETION_LENGTH} tokens at most ({written[0]:.1f} and {written[1]:.1f} in the")
    print("mean), 64 visual tokens,")
    print(
        f"float32; {platform.machine()}, {rounds} rounds of {steps} steps, load before: {load:.1f}"
    )
    print("| | s a step on the clock | | on the CPU | |")
    print("|---|---:|---:|---:|---:|")
    print(f"| **pathreason train performer** | {_table_cells(turns, 0)} |")
    print(f"| TRL GRPOTrainer | {_table_cells(turns, 1)} |")
    print()
    print("| s(N) | performer's calls | |")
    print("|---|---:|---:|")
    print(f"| **tabulated** ({counted['questions']} questions) | {counted['tabulated']} | |")
    ratio = counted["by_rollout"] / counted["tabulated"]
    print(f"| one a rollout ({counted['steps']} steps) | {counted['by_rollout']} | {ratio:.0f} x |")
    if args.json:
        figures = {
            "rounds": [{"ours": asdict(a), "trl": asdict(b)} for a, b in turns],
            "convolution": args.convolution,
            "calls": counted,
            "load": load,
        }
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def _table_cells(turns: list[tuple[Throttle, Throttle]], side: int) -> str:
    """Median seconds of a side over the rounds; of TRL's the ratio to ours, and its range."""
    cells = []
    for name in ("clock", "cpu"):
        seconds = statistics.median(getattr(pair[side], name) for pair in turns)
        ratios = [getattr(theirs, name) / getattr(ours, name) for ours, theirs in turns]
        told = f"{statistics.median(ratios):.1f} x ({min(ratios):.1f}-{max(ratios):.1f})"
        cells += [f"{seconds:.2f}", told if side else ""]
    return " | ".join(cells)


if __name__ == "__main__":
    main()

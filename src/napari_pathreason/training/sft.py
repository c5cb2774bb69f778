"""Supervised fine-tuning of the performer, one loop that reads from top to bottom.

Each step draws a budget of the grid and pictures by source, reads the regions just as an answer
would, asks several questions of each, and learns two things: from the merged visual tokens, what
lies where (dense auxiliary losses: what covers a cell, which box it is in, how many centres it
holds, its own place; of all together, how many there are), and to write the target (rationale and
answer) while looking at what each word speaks of. The first steps may teach the vision encoder
alone: a language model that cannot read yet wipes out what the vision encoder knows of places. A
large checkpoint under LoRA learns to write alone (`_lessons`). Left out on purpose: epochs
(pictures are drawn, not walked through) and gradient accumulation.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from tqdm import tqdm

from napari_pathreason.models import NORMALISATION, find_checkpoint, read_dims
from napari_pathreason.training.model import start_model
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import (
    SFT_PANELS,
    PictureSampler,
    keep_adapters_alone,
    last_checkpoint,
    optimizer_of,
    resume,
    save_model,
    save_state,
    schedule,
    warm,
)
from napari_pathreason.training.samples import (
    Augmentation,
    Pictures,
    read_samples,
    read_views,
    target_pieces,
)
from napari_pathreason.training.supervised import (
    Batch,
    Question,
    choose_lesson,
    collate,
    drilled,
    shares,
    write_count_code,
    write_place_code,
)

from .run import build_metadata, model_name

SHOWN = 12
"""Batches that show what a vision encoder's stream carries, where places get room in it."""


def train_sft(recipe: Recipe) -> Path:
    """Train until ``recipe.sft.steps``; continues from the last checkpoint of ``output``.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    Path
        Folder of the checkpoint that `load_models` reads.

    Raises
    ------
    QueryError
        If samples are missing, or do not fit what the recipe states.
    ModelError
        If the model to continue from is not there or cannot be read.
    """
    settings, out = recipe.sft, Path(recipe.output)
    last = min(settings.steps, settings.stop_after or settings.steps)
    if recipe.model.start is not None:
        find_checkpoint(recipe.model.start)  # better named now than after the samples are read
    # while the vision encoder learns alone, the language model gets no gradient
    ddp = DistributedDataParallelKwargs(find_unused_parameters=settings.dense_steps > 0)
    accelerator = Accelerator(mixed_precision=settings.precision, kwargs_handlers=[ddp])
    set_seed(recipe.seed)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    metadata = build_metadata(recipe, train, settings.budgets)
    start, tokenizer = start_model(recipe, train)
    dims, normalisation = read_dims(start.config.to_dict()), NORMALISATION[start.config.model_type]
    lesson = choose_lesson(recipe, start, tokenizer)
    pictures = Pictures(folder)
    augmentation = recipe.data.augmentation
    draw = PictureSampler(train, recipe.data, settings.budgets, recipe.seed)
    fixed = PictureSampler(val, recipe.data, settings.budgets, recipe.seed)

    def make(
        source: PictureSampler,
        at: int,
        change: Augmentation | None,
        process: int = accelerator.process_index,
    ) -> Batch:
        asked = []
        for drawn in source.batch(at, process, settings.batch, settings.tokens):
            samples = drilled(drawn.samples, settings.drill)
            views = read_views(samples, pictures, drawn.budget, dims.token_px, change, drawn.rng)
            asked.append(
                [
                    Question(
                        sample,
                        view,
                        target_pieces(sample, view, settings.style, settings.box_quantum),
                    )
                    for sample, view in zip(samples, views, strict=True)
                ]
            )
        return collate(asked, tokenizer, dims, normalisation, lesson.quantum)

    if last_checkpoint(out) is None:
        if recipe.model.place_code:  # of the same pictures in every process
            shown = (make(draw, at, augmentation, 0) for at in range(SHOWN))
            write_place_code(start.model.visual, shown)
        if recipe.model.count_code:
            write_count_code(start, tokenizer, settings.box_quantum or 1)
    if recipe.lora is not None:
        keep_adapters_alone(accelerator)
    optimizer = optimizer_of(lesson.module, settings)
    model, optimizer = accelerator.prepare(lesson.module, optimizer)
    weights = lesson.weights.to(accelerator.device)
    step, log = resume(accelerator, out, recipe)

    def losses(batch: Batch, write: bool) -> torch.Tensor:
        return lesson.losses(model, batch.to(accelerator.device), write)

    def validate(write: bool) -> dict[str, float]:
        model.eval()
        count = max(1, settings.validate_samples // settings.batch)
        with torch.no_grad():
            sums = sum(losses(make(fixed, at, None), write).cpu() for at in range(count))
        model.train()
        each = zip(lesson.names, sums, strict=True)
        return {f"val_{name}": round(float(value) / count, 4) for name, value in each}

    model.train()
    bar = tqdm(total=last, initial=step, desc="sft", unit="step", mininterval=5)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make, draw, step, augmentation)
        while step < last:
            started = time.perf_counter()
            batch = coming.result()
            coming = reader.submit(make, draw, step + 1, augmentation)
            write = step >= settings.dense_steps
            share = schedule(step, settings.warmup, settings.steps)
            if write and settings.dense_steps > 0:  # the language model begins
                share *= warm(step - settings.dense_steps, settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * group["share"] * share
            each = losses(batch, write)
            share_of = weights * shares(accelerator, lesson.counts(batch))
            accelerator.backward((share_of * each).sum())
            accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            record: dict[str, Any] = {
                "step": step,
                **{n: round(v, 4) for n, v in zip(lesson.names, each.tolist(), strict=True)},
                "lr": settings.lr * share,
                "seconds": round(time.perf_counter() - started, 3),
            }
            if step % settings.validate_every == 0 or step == last:
                record |= validate(write)
            if accelerator.is_main_process:
                log.write(record)
                bar.update()
                bar.set_postfix({n: record[n] for n in lesson.names[:2]}, refresh=False)
            if step % settings.checkpoint_every == 0 or step == last:
                save_state(accelerator, out, step)
                if accelerator.is_main_process:
                    log.draw({name: SFT_PANELS[name] for name in lesson.names})
    bar.close()
    adapted = recipe.model.start if recipe.lora is not None else None
    name = model_name(recipe)
    save_model(accelerator, model, tokenizer, out / "model", name, metadata, adapted)
    return out / "model"

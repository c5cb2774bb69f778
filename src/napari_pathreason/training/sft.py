"""Supervised fine-tuning of the performer, one loop that reads from top to bottom.

Each step draws a budget of the grid and pictures by source, reads the regions just as an answer
would, and asks several questions of each. What is learnt from them is the objective's
(`objectives`): by default to write the answers, as the paper has it; an own one may teach more.
Left out on purpose: epochs (pictures are drawn, not walked through) and gradient accumulation.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from tqdm import tqdm

from napari_pathreason.models import find_checkpoint, read_dims
from napari_pathreason.training import run
from napari_pathreason.training.model import start_model, starting_model
from napari_pathreason.training.objectives import Batch, load_objective, process_weights
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import Augmentation, Pictures, read_samples, read_views

from .run import build_metadata, model_name


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
        If no model to start from is named, the objective is not there or refuses its options or
        the model, or samples are missing or do not fit what the recipe states.
    ModelError
        If the model to start from is not there or cannot be read.
    """
    settings, out = recipe.sft, Path(recipe.output)
    last = min(settings.steps, settings.stop_after or settings.steps)
    find_checkpoint(starting_model(recipe))  # better named now than after the samples are read
    objective = load_objective(settings.objective, recipe.beside)(settings)
    ddp = DistributedDataParallelKwargs(find_unused_parameters=objective.sparse)
    accelerator = Accelerator(
        mixed_precision=settings.precision, kwargs_handlers=[ddp], **run.tracking(recipe, out)
    )
    set_seed(recipe.seed)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    metadata = build_metadata(recipe, train, settings.budgets)
    start, tokenizer = start_model(recipe)
    token_px = read_dims(start.config.to_dict()).token_px
    objective.attach(start, tokenizer)
    pictures = Pictures(folder)
    augmentation = recipe.data.augmentation
    draw = run.PictureSampler(train, recipe.data, settings.budgets, recipe.seed)
    fixed = run.PictureSampler(val, recipe.data, settings.budgets, recipe.seed)

    def make(
        source: run.PictureSampler,
        at: int,
        change: Augmentation | None,
        process: int = accelerator.process_index,
    ) -> Batch:
        questions = []
        for picture in source.batch(at, process, settings.batch, settings.tokens):
            samples = objective.extend(picture.samples)
            views = read_views(samples, pictures, picture.budget, token_px, change, picture.rng)
            questions.append(list(zip(samples, views, strict=True)))
        return objective.collate(questions)

    if run.last_checkpoint(out) is None:
        objective.begin(make(draw, at, augmentation, 0) for at in count())
    if recipe.lora is not None:
        run.keep_adapters_alone(accelerator)
    optimizer = run.optimizer_of(objective.module, settings)
    model, optimizer = accelerator.prepare(objective.module, optimizer)
    names = tuple(objective.weights)
    weights = torch.tensor([*objective.weights.values()], device=accelerator.device)
    step, log = run.resume(accelerator, out, recipe)

    def losses(batch: Batch, at: int) -> torch.Tensor:
        return objective.losses(model, batch.to(accelerator.device), at)

    def validate(at: int) -> dict[str, float]:
        model.eval()
        batches = max(1, settings.validate_samples // settings.batch)
        with torch.no_grad():
            sums = sum(losses(make(fixed, number, None), at).cpu() for number in range(batches))
        model.train()
        each = zip(names, sums, strict=True)
        return {f"val_{name}": round(float(value) / batches, 4) for name, value in each}

    model.train()
    bar = tqdm(total=last, initial=step, desc="sft", unit="step", mininterval=5)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make, draw, step, augmentation)
        while step < last:
            started = time.perf_counter()
            batch = coming.result()
            coming = reader.submit(make, draw, step + 1, augmentation)
            rate = run.schedule(step, settings.warmup, settings.steps) * objective.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * group["share"] * rate
            each = losses(batch, step)
            shares = weights * process_weights(accelerator, objective.counts(batch))
            accelerator.backward((shares * each).sum())
            accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            record: dict[str, Any] = {
                "step": step,
                **{n: round(v, 4) for n, v in zip(names, each.tolist(), strict=True)},
                "lr": settings.lr * rate,
                "seconds": round(time.perf_counter() - started, 3),
            }
            if step % settings.validate_every == 0 or step == last:
                record |= validate(step - 1)  # by the losses of this step, not of the next
            if accelerator.is_main_process:
                log.write(record)
                bar.update()
                bar.set_postfix({n: record[n] for n in names[:2]}, refresh=False)
            if step % settings.checkpoint_every == 0 or step == last:
                run.save_state(accelerator, out, step)
                if accelerator.is_main_process:
                    log.draw(objective.panels)
    bar.close()
    log.close()
    adapted = recipe.model.start if recipe.lora is not None else None
    name = model_name(recipe)
    run.save_model(accelerator, model, tokenizer, out / "model", name, metadata, adapted)
    return out / "model"

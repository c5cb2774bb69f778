"""Supervised fine-tuning of the performer, one loop that reads from top to bottom.

Each step samples a budget of the grid and pictures by source, reads the regions just as an answer
would, and asks several questions of each. What is learnt from them is the objective's
(`objectives`): by default to write the answers, as the paper has it; an own one may teach more.
Left out on purpose: epochs (pictures are sampled, not walked through) and gradient accumulation.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path

import torch
from accelerate.utils import DistributedDataParallelKwargs, set_seed

from napari_pathreason.models import find_checkpoint, read_dims
from napari_pathreason.training import run
from napari_pathreason.training.model import start_model, starting_model
from napari_pathreason.training.objectives import Batch, load_objective, process_weights
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import Augmentation, Pictures, read_samples, read_views


@run.alone
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
        the model, samples are missing or do not fit what the recipe states, or ``output`` holds
        the state of another run.
    ModelError
        If the model to start from is not there or cannot be read.
    """
    settings, out = recipe.sft, Path(recipe.output)
    find_checkpoint(starting_model(recipe))  # better named now than after the samples are read
    objective = load_objective(settings.objective, recipe.beside)(settings)
    ddp = DistributedDataParallelKwargs(find_unused_parameters=objective.sparse)
    accelerator = run.join(recipe, out, settings.precision, [ddp])
    begin, processes = starting_model(recipe), accelerator.num_processes
    identify = partial(run.identity_of, recipe, "sft", settings, begin, processes)
    of = identify()
    run.check_same_run(run.last_checkpoint(out), of, out)
    set_seed(recipe.seed)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    metadata = run.build_metadata(recipe, train, settings.budgets)
    start, tokenizer = start_model(recipe)
    token_px = read_dims(start.config.to_dict()).token_px
    run.check_unchanged(of, identify())
    objective.attach(start, tokenizer)
    pictures = Pictures(folder)
    augmentation = recipe.data.augmentation
    taught = run.PictureSampler(train, recipe.data, settings.budgets, recipe.seed)
    held_out = run.PictureSampler(val, recipe.data, settings.budgets, recipe.seed)

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
        objective.begin(make(taught, at, augmentation, 0) for at in count())
    if recipe.lora is not None:
        run.keep_adapters_alone(accelerator)
    optimizer = run.optimizer_of(objective.module, settings)
    model, optimizer = accelerator.prepare(objective.module, optimizer)
    names = tuple(objective.weights)
    weights = torch.tensor([*objective.weights.values()], device=accelerator.device)
    loop = run.TrainingLoop(accelerator, recipe, settings, out, "sft", objective.panels, of)

    def losses(batch: Batch, at: int) -> torch.Tensor:
        return objective.losses(model, batch.to(accelerator.device), at)

    def validate(at: int) -> dict[str, float]:
        model.eval()
        batches = max(1, settings.validate_samples // settings.batch)
        with torch.no_grad():
            sums = sum(losses(make(held_out, number, None), at).cpu() for number in range(batches))
        model.train()
        each = zip(names, sums, strict=True)
        return {f"val_{name}": round(float(value) / batches, 4) for name, value in each}

    model.train()
    with loop, ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make, taught, loop.step, augmentation)
        while loop.step < loop.last:
            started, step = time.perf_counter(), loop.step
            batch = coming.result()
            coming = reader.submit(make, taught, step + 1, augmentation)
            rate = run.schedule(step, settings.warmup, settings.steps) * objective.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * group["share"] * rate
            each = losses(batch, step)
            shares = weights * process_weights(accelerator, objective.counts(batch))
            accelerator.backward((shares * each).sum())
            accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            record = {
                **{n: round(v, 4) for n, v in zip(names, each.tolist(), strict=True)},
                "lr": settings.lr * rate,
                "seconds": round(time.perf_counter() - started, 3),
            }
            # by the losses of this step, not of the next
            loop.end_step(record, partial(validate, step), names[:2])
    adapted = recipe.model.start if recipe.lora is not None else None
    name = run.model_name(recipe)
    run.save_model(accelerator, model, tokenizer, out / "model", name, metadata, adapted)
    return out / "model"

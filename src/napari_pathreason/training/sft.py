"""Supervised fine-tuning of the performer, one loop that reads from top to bottom.

Each step samples a budget of the grid and pictures by source, reads the regions just as an answer
would, and asks several questions of each. What is learnt from them is the objective's
(`objectives`): by default to write the answers, as the paper has it; an own one may teach more.
What comes of it is scored on ``val`` by what the model writes, and the best weights are kept.
Left out on purpose: epochs (pictures are sampled, not walked through).
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import count
from pathlib import Path

import torch
from accelerate.utils import DistributedDataParallelKwargs, set_seed

from napari_pathreason.models import NORMALISATION, find_checkpoint, read_dims
from napari_pathreason.training import run
from napari_pathreason.training.model import start_model, starting_model
from napari_pathreason.training.objectives import Batch, load_objective, part_weights
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import Augmentation, read_views
from napari_pathreason.training.validation import PANELS, BestWeights, ValScorer
from napari_pathreason.training.words import add_words, class_names


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
    data = run.read_data(recipe, settings.budgets)
    start, tokenizer = start_model(recipe)
    run.check_unchanged(of, identify())
    dims = read_dims(start.config.to_dict())
    token_px = dims.token_px
    if recipe.model.words:
        add_words(start, tokenizer, class_names(data.train))
    objective.attach(start, tokenizer)
    augmentation = recipe.data.augmentation
    taught = run.PictureSampler(data.train, recipe.data, settings.budgets, recipe.seed)
    held_out = run.PictureSampler(data.val, recipe.data, settings.budgets, recipe.seed)

    def make(
        source: run.PictureSampler,
        at: int,
        change: Augmentation | None,
        process: int = accelerator.process_index,
    ) -> Batch:
        questions = []
        for picture in source.batch(at, process, settings.batch, settings.tokens):
            samples = objective.extend(picture.samples)
            views = read_views(
                samples, data.pictures, picture.budget, token_px, change, picture.rng
            )
            questions.append(list(zip(samples, views, strict=True)))
        return objective.collate(questions)

    parts = settings.gradient_accumulation

    def make_parts(at: int) -> list[Batch]:
        return [make(taught, at * parts + number, augmentation) for number in range(parts)]

    if run.last_checkpoint(out) is None:
        objective.begin(make(taught, at, augmentation, 0) for at in count())
    if recipe.lora is not None:
        run.keep_adapters_alone(accelerator)
    optimizer = run.optimizer_of(objective.module, settings)
    model, optimizer = accelerator.prepare(objective.module, optimizer)
    names = tuple(objective.weights)
    weights = torch.tensor([*objective.weights.values()], device=accelerator.device)
    panels = objective.panels if not settings.score_samples else {**objective.panels, **PANELS}
    loop = run.TrainingLoop(accelerator, recipe, settings, out, "sft", panels, of)
    named = run.model_name(recipe)
    adapted = recipe.model.start if recipe.lora is not None else None
    best = None
    if settings.best is not None:
        best = BestWeights(out / "best.json", settings.best, settings.patience, loop.step, of)
    scorer = None
    if settings.score_samples:
        scorer = ValScorer(
            accelerator,
            data.val,
            settings.score_samples,
            data.pictures,
            max(settings.budgets),
            tokenizer,
            dims,
            NORMALISATION[start.config.model_type],
            recipe.seed,
            settings.tokens,
        )

    def losses(batch: Batch, at: int) -> torch.Tensor:
        return objective.losses(model, batch.to(accelerator.device), at)

    def validate(at: int) -> dict[str, float]:
        model.eval()
        batches = max(1, settings.validate_samples // settings.batch)
        with torch.no_grad():
            sums = sum(losses(make(held_out, number, None), at) for number in range(batches))
        model.train()
        each = zip(names, accelerator.reduce(sums, "mean").tolist(), strict=True)
        found = {f"val_{name}": round(value / batches, 4) for name, value in each}
        scores = scorer(accelerator.unwrap_model(model).model) if scorer is not None else {}
        if best is not None and best.is_better(at + 1, scores.get(best.measure, scores["score"])):
            save("best")
        if best is not None and accelerator.is_main_process:
            best.write()
        return found | {f"val_{name}": value for name, value in scores.items()}

    def save(folder: str) -> None:
        run.save_model(accelerator, model, tokenizer, out / folder, named, data.metadata, adapted)

    model.train()
    with loop, ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make_parts, loop.step)
        while loop.step < loop.last and not (best is not None and best.exhausted):
            started, step = time.perf_counter(), loop.step
            batches = coming.result()
            coming = reader.submit(make_parts, step + 1)
            rate = run.schedule(step, settings.warmup, settings.steps) * objective.rate(step)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * group["share"] * rate
            counts = [objective.counts(batch).to(accelerator.device) for batch in batches]
            shares = part_weights(accelerator, counts)
            means = torch.zeros_like(weights)
            for number, (batch, share) in enumerate(zip(batches, shares, strict=True), 1):
                last = number == parts  # gradients of the others wait for it
                with nullcontext() if last else accelerator.no_sync(model):
                    each = losses(batch, step)
                    accelerator.backward((weights * share * each).sum())
                means += (share * each.detach()).nan_to_num()
            means = accelerator.reduce(means, "mean")
            accelerator.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            record = {
                **{n: round(v, 4) for n, v in zip(names, means.tolist(), strict=True)},
                "lr": settings.lr * rate,
                "seconds": round(time.perf_counter() - started, 3),
            }
            # by the losses of this step, not of the next
            loop.end_step(record, partial(validate, step), names[:2])
    if best is None:
        save("model")
    elif accelerator.is_main_process:
        best.take(out / "model")
    accelerator.wait_for_everyone()
    return out / "model"

"""Supervised fine-tuning of the performer, one loop that reads from top to bottom.

Each step draws a rung of the ladder and pictures by source, reads the regions just as an answer
would, asks several questions of each, and learns two things: from the merged visual tokens, what
lies where (dense auxiliary losses: what covers a cell, which box it is in, how many centres it
holds, its own place), and to write the target (rationale and answer). The first steps may teach
the tower alone: a text part that cannot read yet wipes out what the tower knows of places.
Left out on purpose: epochs (pictures are drawn, not walked through) and gradient accumulation.
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

from napari_pathreason.models._config import read_dims
from napari_pathreason.models._pixels import NORMALISATION

from ._batch import IGNORE, Batch, Question, collate
from ._checkpoints import resume, save_state
from ._draw import Draw
from ._log import RunLog
from ._losses import NUMBERS, box_loss, count_loss, dense_loss, place_loss, sft_loss
from ._mini import save_checkpoint
from ._optimise import optimizer_of, schedule, warm
from ._pictures import Pictures
from ._provenance import provenance
from ._recipe import Recipe
from ._sample import read_samples
from ._start import start_model
from ._targets import target_text
from ._trainee import Trainee
from ._view import Augmentation, read_views

ABOUT = {
    "name": "pathreason-mini",
    "tissues": ["lymph node", "lung", "blood smear"],
    "any_tissue_terms": ["nuclei", "nucleus"],
}


LOSSES = ("text", "cells", "boxes", "counts", "places")


def train_sft(recipe: Recipe) -> Path:
    """Train until ``recipe.sft.steps``; continues from the last checkpoint of ``output``.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    Path
        Folder of the checkpoint that `load_models` reads.
    """
    settings, out = recipe.sft, Path(recipe.output)
    last = min(settings.steps, settings.stop_after or settings.steps)
    # while the tower learns alone, the text part gets no gradient
    ddp = DistributedDataParallelKwargs(find_unused_parameters=settings.dense_steps > 0)
    accelerator = Accelerator(mixed_precision=settings.precision, kwargs_handlers=[ddp])
    set_seed(recipe.seed)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    start, tokenizer = start_model(recipe, train)
    dims, normalisation = read_dims(start.config.to_dict()), NORMALISATION["qwen3_vl"]
    numbers = torch.tensor(tokenizer.convert_tokens_to_ids([str(n) for n in range(NUMBERS)]))
    model = Trainee(start, dims.text_hidden, numbers[:: settings.box_quantum])
    optimizer = optimizer_of(model, settings)
    model, optimizer = accelerator.prepare(model, optimizer)
    numbers = numbers.to(accelerator.device)
    step = resume(accelerator, out)
    log = RunLog(out, step)
    provenance(out, recipe, folder)
    pictures = Pictures(folder)
    augmentation = Augmentation(recipe.data.turn, recipe.data.stain)
    draw = Draw(train, recipe.data, settings.budgets, recipe.seed)
    fixed = Draw(val, recipe.data, settings.budgets, recipe.seed)

    def make(source: Draw, at: int, change: Augmentation | None) -> Batch:
        asked = []
        for drawn in source.batch(at, accelerator.process_index, settings.batch, settings.tokens):
            views = read_views(drawn.samples, pictures, drawn.budget, dims.cell, change, drawn.rng)
            asked.append(
                [
                    Question(
                        sample,
                        view,
                        target_text(sample, view, settings.style, settings.box_quantum),
                    )
                    for sample, view in zip(drawn.samples, views, strict=True)
                ]
            )
        return collate(asked, tokenizer, dims, normalisation, settings.box_quantum)

    def text_loss(batch: Batch, logits: torch.Tensor) -> torch.Tensor:
        learnt = batch.labels[:, 1:] != IGNORE
        targets = (batch.labels, batch.values, batch.spread, batch.step)
        labels, values, spread, step = (tensor[:, 1:][learnt] for tensor in targets)
        return sft_loss(logits, labels, values, spread, step, numbers)

    def losses(batch: Batch, write: bool) -> torch.Tensor:
        batch = batch.to(accelerator.device)
        said = model(batch, write)
        return torch.stack(
            [
                numbers.new_zeros((), dtype=torch.float32)
                if said.logits is None
                else text_loss(batch, said.logits),
                dense_loss(said.cells, batch.dense, batch.known),
                box_loss(said.boxes, batch.boxes, batch.boxed),
                count_loss(said.counts, batch.numbers, batch.counted),
                place_loss(said.places, batch.places),
            ]
        )

    weights = torch.tensor(
        [
            1.0,
            settings.dense_weight,
            settings.box_weight,
            settings.count_weight,
            settings.place_weight,
        ],
        device=accelerator.device,
    )

    def validate(write: bool) -> dict[str, float]:
        model.eval()
        count = max(1, settings.validate_samples // settings.batch)
        with torch.no_grad():
            sums = sum(losses(make(fixed, at, None), write).cpu() for at in range(count))
        model.train()
        return {
            f"val_{name}": round(float(v) / count, 4) for name, v in zip(LOSSES, sums, strict=True)
        }

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
            if write and settings.dense_steps > 0:  # the text part begins
                share *= warm(step - settings.dense_steps, settings.warmup)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * group["share"] * share
            each = losses(batch, write)
            accelerator.backward((weights * each).sum())
            accelerator.clip_grad_norm_(model.parameters(), settings.clip)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            record: dict[str, Any] = {
                "step": step,
                **{name: round(v, 4) for name, v in zip(LOSSES, each.tolist(), strict=True)},
                "lr": settings.lr * share,
                "seconds": round(time.perf_counter() - started, 3),
            }
            if step % settings.validate_every == 0 or step == last:
                record |= validate(write)
            if accelerator.is_main_process:
                log.write(record)
                bar.update()
                bar.set_postfix(text=record["text"], cells=record["cells"], refresh=False)
            if step % settings.checkpoint_every == 0 or step == last:
                save_state(accelerator, out, step)
                if accelerator.is_main_process:
                    log.draw()
    bar.close()
    if accelerator.is_main_process:
        plain = accelerator.unwrap_model(model).model
        save_checkpoint(out / "model", plain, tokenizer, ABOUT)
    return out / "model"

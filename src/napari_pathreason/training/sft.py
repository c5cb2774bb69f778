"""Supervised fine-tuning of the performer, one loop that reads from top to bottom.

Each step draws samples by source and a rung of the ladder for each, reads the regions just as an
answer would, and learns two things: to write the target (rationale and answer) and, from the
merged visual tokens, what covers each cell and which box it lies in (dense auxiliary losses).
Left out on purpose: epochs (samples are drawn, not walked through), mixed precision on CPU,
gradient accumulation.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from tqdm import tqdm

from napari_pathreason.models._config import read_dims
from napari_pathreason.models._pixels import NORMALISATION

from ._batch import Batch, collate
from ._coverage import CLASSES
from ._draw import Draw
from ._log import RunLog
from ._losses import box_loss, dense_loss, sft_loss
from ._mini import save_checkpoint
from ._pictures import Pictures
from ._provenance import provenance
from ._recipe import Recipe
from ._sample import read_samples
from ._start import start_model
from ._targets import target_text
from ._view import Augmentation, read_view

ABOUT = {
    "name": "pathreason-mini",
    "tissues": ["lymph node", "lung", "blood smear"],
    "any_tissue_terms": ["nuclei", "nucleus"],
}


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
    accelerator = Accelerator()
    set_seed(recipe.seed)
    folder = Path(recipe.data.folder)
    train, val = (read_samples(folder / f"{split}.jsonl") for split in ("train", "val"))
    model, tokenizer = start_model(recipe, train)
    dims, normalisation = read_dims(model.config.to_dict()), NORMALISATION["qwen3_vl"]
    head = torch.nn.Linear(dims.text_hidden, len(CLASSES) + 4)
    model.add_module("dense_head", head)  # one module, so that a data-parallel wrapper sees both
    optimizer = torch.optim.AdamW(
        model.parameters(), settings.lr, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    merged: list[torch.Tensor] = []
    model.model.visual.merger.register_forward_hook(lambda _m, _i, output: merged.append(output))
    model, optimizer = accelerator.prepare(model, optimizer)
    step = _resume(accelerator, out)
    log = RunLog(out, step)
    provenance(out, recipe, folder)
    pictures = Pictures(folder)
    augmentation = Augmentation(recipe.data.turn, recipe.data.stain)
    draw = Draw(train, recipe.data, settings.budgets, recipe.seed)
    fixed = Draw(val, recipe.data, settings.budgets, recipe.seed)

    def make(source: Draw, at: int, change: Augmentation | None) -> Batch:
        items = []
        for sample, budget, rng in source.batch(at, accelerator.process_index, settings.batch):
            view = read_view(sample, pictures, budget, dims.cell, change, rng)
            text = target_text(sample, view, settings.style, settings.box_quantum)
            items.append((sample, view, text))
        return collate(items, tokenizer, dims, normalisation)

    def losses(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        batch = batch.to(accelerator.device)
        merged.clear()
        logits = model(**batch.inputs).logits
        text = sft_loss(logits, batch.labels)
        cells = head(merged[0].float())
        covered = dense_loss(cells[:, :-4], batch.dense, batch.known)
        return text, covered, box_loss(cells[:, -4:], batch.boxes, batch.boxed)

    def validate() -> dict[str, float]:
        model.eval()
        sums = torch.zeros(3)
        count = max(1, settings.validate_samples // settings.batch)
        with torch.no_grad():
            for at in range(count):
                sums += torch.stack(losses(make(fixed, at, None))).cpu()
        model.train()
        names = ("val_text", "val_dense", "val_boxes")
        return {name: value / count for name, value in zip(names, sums.tolist(), strict=True)}

    model.train()
    bar = tqdm(total=last, initial=step, desc="sft", unit="step", mininterval=5)
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(make, draw, step, augmentation)
        while step < last:
            started = time.perf_counter()
            batch = coming.result()
            coming = reader.submit(make, draw, step + 1, augmentation)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * _schedule(step, settings.warmup, settings.steps)
            text, cells, boxes = losses(batch)
            dense = settings.dense_weight * cells + settings.box_weight * boxes
            accelerator.backward(text + dense)
            accelerator.clip_grad_norm_(model.parameters(), settings.clip)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            record: dict[str, Any] = {
                "step": step,
                "text": round(text.item(), 4),
                "dense": round(cells.item(), 4),
                "boxes": round(boxes.item(), 4),
                "lr": optimizer.param_groups[0]["lr"],
                "seconds": round(time.perf_counter() - started, 3),
            }
            if step % settings.validate_every == 0 or step == last:
                record |= validate()
            if accelerator.is_main_process:
                log.write(record)
                bar.update()
                bar.set_postfix(text=record["text"], cells=record["dense"], refresh=False)
            if step % settings.checkpoint_every == 0 or step == last:
                _checkpoint(accelerator, out, step)
                if accelerator.is_main_process:
                    log.draw()
    bar.close()
    if accelerator.is_main_process:
        plain = accelerator.unwrap_model(model)
        del plain.dense_head
        save_checkpoint(out / "model", plain, tokenizer, ABOUT)
    return out / "model"


def _schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to 2 %."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _checkpoint(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write the whole state beside the last one, then let it take its place."""
    fresh, last = out / "checkpoint.partial", out / "checkpoint"
    shutil.rmtree(fresh, ignore_errors=True)
    accelerator.save_state(str(fresh))
    if accelerator.is_main_process:
        (fresh / "step.json").write_text(json.dumps({"step": step}))
        old = out / "checkpoint.old"
        shutil.rmtree(old, ignore_errors=True)
        if last.exists():
            os.replace(last, old)
        os.replace(fresh, last)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, out: Path) -> int:
    """Load the last whole checkpoint; returns its step, 0 where there is none."""
    for name in ("checkpoint", "checkpoint.old"):
        folder = out / name
        if (folder / "step.json").is_file():
            accelerator.load_state(str(folder))
            return int(json.loads((folder / "step.json").read_text())["step"])
    return 0

"""The state of a run on disk: written whole or not at all, and taken up again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.types import Metadata

from ._adapters import save_adapter
from ._log import RunLog
from ._provenance import provenance


def save_state(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write the whole state beside the last one, then let it take its place."""
    fresh, last = out / "checkpoint.partial", out / "checkpoint"
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()  # nobody writes into what another still removes
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()  # nor is it moved while another still writes
    if accelerator.is_main_process:
        (fresh / "step.json").write_text(json.dumps({"step": step}))
        old = out / "checkpoint.old"
        shutil.rmtree(old, ignore_errors=True)
        if last.exists():
            os.replace(last, old)
        os.replace(fresh, last)
        shutil.rmtree(old, ignore_errors=True)
    accelerator.wait_for_everyone()


def last_checkpoint(out: Path) -> Path | None:
    """Folder of the last whole checkpoint; None where there is none."""
    folders = (out / name for name in ("checkpoint", "checkpoint.old"))
    return next((folder for folder in folders if (folder / "step.json").is_file()), None)


def resume(accelerator: Accelerator, out: Path, recipe: Recipe) -> tuple[int, RunLog]:
    """Load the last whole checkpoint, and begin the log and ``run.json``; in every process.

    Returns
    -------
    tuple
        Steps done, 0 where there is no checkpoint; and the log, which the main process writes.
    """
    folder, step = last_checkpoint(out), 0
    if folder is not None:
        accelerator.load_state(str(folder))
        step = int(json.loads((folder / "step.json").read_text())["step"])
    log = RunLog(out)
    if accelerator.is_main_process:  # two would replace one file at once
        log.begin(step)
        provenance(out, recipe, Path(recipe.data.folder))
    return step, log


def save_model(
    accelerator: Accelerator,
    model: Any,
    tokenizer: Any,
    folder: Path,
    name: str,
    metadata: Metadata,
    adapted: str | None,
) -> None:
    """Write what was trained as `load_models` reads it; to be called in every process.

    Parameters
    ----------
    accelerator : Accelerator
    model : torch.nn.Module
        As `Accelerator.prepare` gave it; the transformers model is its attribute ``model``.
    tokenizer : transformers tokenizer
    folder : Path
    name : str
        What to call the model.
    metadata : Metadata
        What it shall say of its training.
    adapted : str or None
        ``embedded``, folder or hub id of the checkpoint that adapters were put on; None where the
        whole model was trained.
    """
    plain = accelerator.unwrap_model(model).model
    if adapted is None:
        if accelerator.is_main_process:
            save_checkpoint(folder, plain, tokenizer, name, metadata)
        return
    state = accelerator.get_state_dict(model)  # where the model is sharded, all give their part
    if accelerator.is_main_process:
        own = {key.removeprefix("model."): value for key, value in state.items()}
        save_adapter(folder, own, plain, tokenizer, adapted, name, metadata)

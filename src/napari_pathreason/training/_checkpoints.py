"""The state of a run on disk: written whole or not at all, and taken up again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from accelerate import Accelerator


def save_state(accelerator: Accelerator, out: Path, step: int) -> None:
    """Write the whole state beside the last one, then let it take its place."""
    fresh, last = out / "checkpoint.partial", out / "checkpoint"
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()  # nobody writes into what another still removes
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


def resume(accelerator: Accelerator, out: Path) -> int:
    """Load the last whole checkpoint; returns its step, 0 where there is none."""
    for name in ("checkpoint", "checkpoint.old"):
        folder = out / name
        if (folder / "step.json").is_file():
            accelerator.load_state(str(folder))
            return int(json.loads((folder / "step.json").read_text())["step"])
    return 0

"""The frame of a loop: its rate before a step; records, validation and states behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from tqdm import tqdm

from napari_pathreason.training.recipe import PolicyRecipe, Recipe, SFTRecipe

from ._checkpoints import resume, save_state

VISION = (".visual.", ".vision_tower.", ".vision_model.")
"""What a family calls its vision encoder, among the names of a model's weights."""


def optimizer_of(
    model: torch.nn.Module, settings: SFTRecipe | PolicyRecipe
) -> torch.optim.Optimizer:
    """AdamW; the vision encoder's blocks learn at their own share of the rate, frozen ones not."""
    learning = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    vision_encoder = [
        p for n, p in learning if any(part in n for part in VISION) and ".merger" not in n
    ]
    inside = {id(p) for p in vision_encoder}
    rest = [p for _, p in learning if id(p) not in inside]
    return torch.optim.AdamW(
        [
            {"params": vision_encoder, "share": settings.vision_encoder_lr},
            {"params": rest, "share": 1.0},
        ],
        settings.lr,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )


def schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to 2 %."""
    if step < warmup:
        return warm(step, warmup)
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def warm(step: int, warmup: int) -> float:
    """Linear warm-up alone."""
    return min(1.0, (step + 1) / max(1, warmup))


class LoopRecipe(Protocol):
    """How long a loop goes on, and what it does how often."""

    @property
    def steps(self) -> int:
        """At which its schedule ends."""

    @property
    def stop_after(self) -> int | None:
        """Where it ends before."""

    @property
    def checkpoint_every(self) -> int:
        """Steps from one state of the run to the next."""

    @property
    def validate_every(self) -> int:
        """Steps from one validation to the next."""


class TrainingLoop:
    """Counts the steps of a run, from its last state on; records, validates and keeps states.

    A context: it closes its bar and its log at the end.

    Parameters
    ----------
    accelerator : Accelerator
        With all that a state holds prepared.
    recipe : Recipe
    settings : LoopRecipe
        The part of the recipe that this loop goes by.
    out : Path
        Folder of the run.
    name : str
        In front of the progress bar.
    panels : mapping
        Of the learning curve; see `RunLog.draw`.
    of : mapping
        To which run its states belong; see `check_same_run`.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        recipe: Recipe,
        settings: LoopRecipe,
        out: Path,
        name: str,
        panels: Mapping[str, str],
        of: Mapping[str, Any],
    ) -> None:
        self._accelerator, self._settings = accelerator, settings
        self._out, self._panels, self._of = out, panels, of
        self.last = min(settings.steps, settings.stop_after or settings.steps)
        self.step, self._log = resume(accelerator, out, recipe, of)
        self._bar = tqdm(total=self.last, initial=self.step, desc=name, unit="step", mininterval=5)

    def __enter__(self) -> TrainingLoop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._log.close()

    def end_step(
        self,
        record: Mapping[str, Any],
        validate: Callable[[], Mapping[str, Any]],
        shown: Sequence[str],
    ) -> None:
        """Count a step that has been learnt from; to be called in every process.

        Parameters
        ----------
        record : mapping
            Figures for the log.
        validate : callable
            Gives figures of held-out questions, where it is time for that.
        shown : sequence of str
            Keys of the record that stand behind the bar.
        """
        self.step += 1
        record = {"step": self.step, **record}
        if self._is_time(self._settings.validate_every):
            record |= validate()
        if self._accelerator.is_main_process:
            self._log.write(record)
            self._bar.update()
            self._bar.set_postfix({key: record[key] for key in shown}, refresh=False)
        if self._is_time(self._settings.checkpoint_every):
            if self._accelerator.is_main_process:  # first: behind the last state nothing goes on
                self._log.draw(self._panels)
            save_state(self._accelerator, self._out, self.step, self._of)

    def _is_time(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.last

"""Which processes learn together, and that no two runs write into one folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs

from napari_pathreason.errors import QueryError
from napari_pathreason.files import locked, resolved
from napari_pathreason.training.recipe import Recipe

from ._log import tracking

PROCESS_TIMEOUT = timedelta(days=2)
"""That processes wait for the first one, as while it tabulates s(N); torch gives up in minutes."""
Train = TypeVar("Train", bound=Callable[..., Path])
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


def alone(train: Train) -> Train:
    """Let a stage of training keep the recipe's ``output`` to this run.

    Of several processes that learn together the first one holds it. A stage within another one is
    of the same run.

    Raises
    ------
    ExportError
        When it is called while another run holds the folder.
    """

    @wraps(train)
    def keeping(recipe: Recipe, *args: Any, **more: Any) -> Path:
        out = resolved(recipe.output)
        first = os.environ.get("RANK", "0") == "0"
        if not first or out in _held.get():
            return train(recipe, *args, **more)
        with locked(out):
            before = _held.set(_held.get() | {out})
            try:
                return train(recipe, *args, **more)
            finally:
                _held.reset(before)

    return cast("Train", keeping)


def join(
    recipe: Recipe, out: Path, precision: str = "no", handlers: Sequence[Any] = ()
) -> Accelerator:
    """Take part in a stage of a run, as one of the processes that learn together.

    Parameters
    ----------
    recipe : Recipe
    out : Path
        Folder of the stage.
    precision : {"no", "bf16"}
        Of autocast; the stages of a run may differ in it.
    handlers : sequence of accelerate KwargsHandler

    Raises
    ------
    QueryError
        If more processes were launched than accelerate knows of, each of which would take itself
        for the only one, or as in `tracking`.
    """
    tracker = tracking(recipe, out)
    AcceleratorState._reset_state()  # of the stage before; the processes stay the same
    group = InitProcessGroupKwargs(timeout=PROCESS_TIMEOUT)
    accelerator = Accelerator(
        mixed_precision=precision, kwargs_handlers=[group, *handlers], **tracker
    )
    check_processes(accelerator.num_processes)
    return accelerator


def check_processes(number: int) -> None:
    """Refuse to go on where more processes were launched than know of each other.

    Parameters
    ----------
    number : int
        Of processes that learn together.

    Raises
    ------
    QueryError
        Says how to launch them.
    """
    launched = int(os.environ.get("WORLD_SIZE") or 1)
    if launched != number:
        raise QueryError(
            f"{launched} processes were launched, but accelerate sees {number}, so each would "
            "train a model of its own; on processors set ACCELERATE_USE_CPU=true, elsewhere launch "
            "one process for each device"
        )


def by_first(accelerator: Accelerator, train: Callable[[], object]) -> None:
    """Let the first process do what only one may, while the others wait for it."""
    if accelerator.is_main_process:
        train()
    accelerator.wait_for_everyone()

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
from napari_pathreason.files import locked, name_of, plain_text, resolved
from napari_pathreason.training.recipe import Recipe

from ._log import tracking

PROCESS_TIMEOUT = timedelta(days=2)
"""That processes wait for the first one, as while it tabulates s(N); torch gives up in minutes."""
_LAUNCHER = ("RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher says to each process, beside how many there are."""
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
    QueryError
        If processes were half launched, or the folder is that of the data or of the start.
    """

    @wraps(train)
    def keeping(recipe: Recipe, *args: Any, **more: Any) -> Path:
        out = resolved(recipe.output)
        first = _launched() == 1 or os.environ["RANK"] == "0"
        _check_places(recipe)
        if not first or out in _held.get():
            return train(recipe, *args, **more)
        with locked(out):
            before = _held.set(_held.get() | {out})
            try:
                return train(recipe, *args, **more)
            finally:
                _held.reset(before)

    return cast("Train", keeping)


def _launched() -> int:
    """How many processes were launched, as the environment says.

    Raises
    ------
    QueryError
        If it says so without the rest that a launcher says.
    """
    words = os.environ.get("WORLD_SIZE") or "1"
    number = int(words) if words.isdecimal() else 0
    missing = [name for name in _LAUNCHER if not os.environ.get(name)]
    if number < 1:
        raise QueryError(
            f"WORLD_SIZE is {plain_text(words)[:20]}, which is no number of processes; launch with "
            "accelerate or torchrun, or unset it"
        )
    if number > 1 and missing:
        raise QueryError(
            f"{number} processes were launched, but accelerate sees 1, as nobody says "
            f"{', '.join(missing)}; launch with accelerate or torchrun, or unset WORLD_SIZE"
        )
    return number


def _check_places(recipe: Recipe) -> None:
    """Refuse an output among the files that a run is called by, or in the place of its start."""
    out = resolved(recipe.output)
    written = {
        "model.start": (recipe.model.start, (out / "model", out / "best")),
        "grpo.start": (recipe.grpo.start, (out / "grpo/model",)),
    }
    for key, (start, folders) in written.items():
        if start is not None and Path(start).is_dir() and resolved(start) in folders:
            raise QueryError(
                f"{key} is the folder that the run would write its own model to; choose another "
                "output"
            )
    starts = (recipe.model.start, recipe.grpo.start, recipe.allocator.start)
    read = [("data", recipe.data.folder), *(("model to start from", start) for start in starts)]
    for what, folder in read:
        if folder is not None and Path(folder).is_dir() and out == resolved(folder):
            raise QueryError(
                f"the output {name_of(recipe.output)} is the folder of the {what}; give the run a "
                "folder of its own"
            )


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
    launched = _launched()
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

"""Where an allocator's training stands: states written whole, resumed if they still fit."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import TracebackType
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_bytes, atomic_text, former_folder
from napari_pathreason.training import run
from napari_pathreason.training.recipe import Recipe

LENGTHS = {"start", "steps", "stop_after", "checkpoint_every"}
"""Settings that may change in the midst of a run; the table tells which performer it is for."""
OTHER_FORM = {"form", "text", "windows"}
"""Settings that say nothing of the head."""
OF_BOTH = {"questions", "validate_questions", "learn_from", "reward", "cost", "lambdas"}
"""Settings that head and text share."""


def identity(recipe: Recipe, tables: tuple[Path, Path]) -> str:
    """What a run learns: its settings and its tables of s(N).

    A run whose lambdas or whose performer have changed is another run, and begins anew.

    Parameters
    ----------
    recipe : Recipe
    tables : tuple of Path
        Of training and validation; their names tell weights, data and seed.
    """
    settings = recipe.allocator.model_dump(mode="json", exclude=LENGTHS | OTHER_FORM)
    return _hash(recipe.seed, settings, tables)


def text_identity(recipe: Recipe, tables: tuple[Path, Path]) -> str:
    """The same of an allocator that writes; parameters as in `identity`.

    One that writes windows has no tables: names of its performer and its data take their place.
    """
    shared = recipe.allocator.model_dump(mode="json", include=OF_BOTH)
    text = recipe.allocator.text.model_dump(mode="json", exclude=LENGTHS)
    lora = recipe.lora.model_dump(mode="json") if recipe.lora is not None else None
    return _hash(recipe.seed, shared | {"text": text, "lora": lora}, tables)


def _hash(seed: int, settings: dict[str, Any], tables: tuple[Path, Path]) -> str:
    text = json.dumps([seed, settings, [table.name for table in tables]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_room(out: Path, of: str) -> None:
    """Take the state of another run away, so that the one that is called ``of`` begins anew."""
    file = out / "run-of.txt"
    if not file.is_file() or file.read_text(encoding="utf-8") != of:
        last = out / "checkpoint"
        for folder in (last, former_folder(last)):
            shutil.rmtree(folder, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_text(file) as text:
            text.write(of)


class NetLoop:
    """Counts the steps of a net that learns in one process; keeps states and the best weights.

    A context: it closes its bar and its log at the end.

    Parameters
    ----------
    tracker : Accelerator
        Of the run.
    recipe : Recipe
    settings : LoopRecipe
        The part of the recipe that this loop goes by.
    out : Path
        Folder of the run; its state is ``checkpoint.pt``.
    name : str
        In front of the progress bar.
    panels : mapping
        Of the learning curve; see `RunLog.draw`.
    of : str
        Which run this is (`identity`): the state of another one is left, and this begins anew.
    data : mapping
        `data_identity` of what it learns from, for ``run.json``.
    net : torch.nn.Module
    optimizer : torch.optim.Optimizer
    """

    def __init__(
        self,
        tracker: Accelerator,
        recipe: Recipe,
        settings: run.LoopRecipe,
        out: Path,
        name: str,
        panels: Mapping[str, str],
        of: str,
        data: Mapping[str, str],
        net: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._settings, self._file, self._panels = settings, out / "checkpoint.pt", panels
        self._of, self._net, self._optimizer = of, net, optimizer
        self.last = min(settings.steps, settings.stop_after or settings.steps)
        self.step, self._best, self._best_weights = self._resume()
        self._log = run.start_log(tracker, out, recipe, self.step, of=data)
        self._bar = tqdm(total=self.last, initial=self.step, desc=name, unit="step", mininterval=5)

    def __enter__(self) -> NetLoop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
        self._log.close()

    def begin(self, record: Mapping[str, Any]) -> None:
        """Write what held-out questions show before the first step."""
        self._log.write({"step": 0, **record})

    def end_step(
        self, record: Mapping[str, Any], validate: Callable[[], Mapping[str, float]]
    ) -> None:
        """Count a step that has been learnt from.

        Parameters
        ----------
        record : mapping
            Figures for the log.
        validate : callable
            Gives figures of held-out questions where it is time for that; weights of a higher
            ``reward`` than any before are the best.
        """
        self.step += 1
        record = {"step": self.step, **record}
        if self._is_time(self._settings.validate_every):
            means = validate()
            record |= {f"val_{name}": value for name, value in means.items()}
            if means["reward"] > self._best:
                self._best = means["reward"]
                self._best_weights = {k: v.clone() for k, v in self._net.state_dict().items()}
        self._log.write(record)
        self._bar.update()
        if self._is_time(self._settings.checkpoint_every):
            self._log.draw(self._panels)  # first: behind the last state nothing goes on
            self._save()

    def take_best(self) -> None:
        """Give the net the weights that did best on held-out questions."""
        self._net.load_state_dict(self._best_weights)

    def _is_time(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.last

    def _save(self) -> None:
        state = {
            "net": self._net.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "of": self._of,
            "best": self._best,
            "best_weights": self._best_weights,
        }
        with atomic_bytes(self._file) as file:
            torch.save(state, file)

    def _read_state(self) -> dict[str, Any]:
        """What `_save` wrote.

        Raises
        ------
        ExportError
            If it is damaged.
        """
        try:
            return dict(torch.load(self._file, weights_only=True))
        except (OSError, EOFError, RuntimeError, ValueError, TypeError, UnpicklingError) as error:
            raise ExportError(
                f"{self._file.name} in the folder {self._file.parent.name} is damaged; delete it "
                "to begin anew"
            ) from error

    def _resume(self) -> tuple[int, float, dict[str, torch.Tensor]]:
        """Step, best held-out reward, and the weights that it is of; 0 where another run was."""
        there = self._file.is_file()
        state = self._read_state() if there else {}
        if state.get("of") != self._of:
            return 0, float("-inf"), self._net.state_dict()
        self._net.load_state_dict(state["net"])
        self._optimizer.load_state_dict(state["optimizer"])
        return int(state["step"]), float(state["best"]), state["best_weights"]

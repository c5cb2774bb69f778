"""The log of a run: JSONL while it goes, a learning curve as PNG beside it.

A tracker that the recipe names (TensorBoard, Weights & Biases, Trackio) is told the same, by way of
accelerate.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from napari_pathreason.errors import QueryError
from napari_pathreason.files import Journal, atomic_bytes
from napari_pathreason.training.recipe import Recipe

from ._metadata import model_name, provenance


def tracking(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Keywords by which an `Accelerator` has the tracker that a recipe names.

    Raises
    ------
    QueryError
        If that is not installed; says how to.
    """
    name = recipe.log_with
    if name is None:
        return {}
    if importlib.util.find_spec(name) is None:
        raise QueryError(f"logging with {name} needs its package; run `pip install {name}`")
    return {"log_with": name, "project_dir": str(out)}


def start_log(
    accelerator: Accelerator | None,
    out: Path,
    recipe: Recipe,
    step: int,
    engine: Sequence[str] = (),
    of: Mapping[str, Any] | None = None,
) -> RunLog:
    """Begin the log, ``run.json`` and the tracker, if there is one; in the main process alone.

    Parameters
    ----------
    accelerator : Accelerator or None
        Made with `tracking`; None where a loop needs none and nothing is tracked.
    out : Path
        Folder of the run.
    recipe : Recipe
    step : int
        Steps done before.
    engine : sequence of str
        Further packages that learn, whose versions `run.json` holds.
    of : mapping, optional
        Identity of the run, with `data_identity` of what was read; the files may have been changed
        since.
    """
    log = RunLog(out, accelerator if recipe.log_with is not None else None)
    log.begin(step)
    resolved = provenance(out, recipe, Path(recipe.data.folder), engine, of)
    if accelerator is not None and recipe.log_with is not None:
        accelerator.init_trackers(model_name(recipe), config=dict(_flat(resolved)))
    return log


class RunLog:
    """Appends records of a run to ``log.jsonl``. Of several processes, one writes.

    Parameters
    ----------
    folder : Path
    accelerator : Accelerator, optional
        Whose trackers are told too.
    """

    def __init__(self, folder: Path, accelerator: Accelerator | None = None) -> None:
        self._folder, self._accelerator = folder, accelerator
        self._journal = Journal(folder / "log.jsonl")

    def begin(self, step: int) -> None:
        """Make the folder; after a resume, drop the records behind ``step``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        before = [record for record in self.records() if record["step"] <= step]
        self._journal.rewrite(json.dumps(record).encode() for record in before)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; ``step`` must be among its keys."""
        self._journal.append(json.dumps(record).encode())
        if self._accelerator is not None:
            figures = {key: value for key, value in record.items() if key != "step"}
            self._accelerator.log(figures, step=record["step"])

    def close(self) -> None:
        """Let trackers write what they still hold."""
        if self._accelerator is not None:
            for tracker in self._accelerator.trackers:  # end_training would end the processes too
                tracker.finish()

    def records(self) -> list[dict[str, Any]]:
        """All records; a line that was cut off or damaged is left out."""
        records = []
        for line in self._journal.lines():
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and isinstance(record.get("step"), int):
                    records.append(record)
        return records

    def draw(self, panels: Mapping[str, str]) -> None:
        """Write ``curve.png``: a panel for each key of the log, with its title.

        Figures over steps, training smoothed, validation (``val_`` before the key) as points; a
        record that lacks a key is left out of its panel.
        """
        from matplotlib.figure import Figure

        records = self.records()
        figure = Figure(figsize=(3.2 * len(panels), 3), layout="constrained")
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (key, title) in zip(row, panels.items(), strict=True):
            train = [(r["step"], r[key]) for r in records if key in r and "lr" in r]
            val = [(r["step"], r[f"val_{key}"]) for r in records if f"val_{key}" in r]
            if train:
                steps, values = zip(*train, strict=True)
                panel.plot(steps, values, color="0.8", linewidth=0.5)
                panel.plot(steps, _smooth(values), color="C0", label="train")
            if val:
                panel.plot(*zip(*val, strict=True), "o-", color="C1", markersize=3, label="val")
            panel.set(title=title, xlabel="step")
            if train or val:
                panel.legend()
        with atomic_bytes(self._folder / "curve.png") as file:
            figure.savefig(file, format="png", dpi=120)


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of all sections, ``section.key``; what trackers cannot hold, as JSON."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            plain = isinstance(value, str | int | float)
            yield f"{before}{key}", value if plain else json.dumps(value)


def _smooth(values: tuple[float, ...], keep: float = 0.95) -> list[float]:
    smoothed, last = [], values[0]
    for value in values:
        last = keep * last + (1 - keep) * value
        smoothed.append(last)
    return smoothed

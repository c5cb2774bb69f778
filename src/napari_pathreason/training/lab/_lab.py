"""Convert, fine-tune, reinforce, allocate, calibrate, evaluate: one stage after another.

Each stage resumes by itself: a run that was cut off goes on where it was. Whatever is chosen is
chosen on ``val``; ``test`` is measured at the end.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import write_json
from napari_pathreason.models import (
    ALLOCATOR_FILES,
    find_checkpoint,
    remember_model,
    wait_passively,
)
from napari_pathreason.training.allocator import train_allocator
from napari_pathreason.training.calibration import CalibrationPlan, calibrate
from napari_pathreason.training.convert import Options, convert, draw_sheet, summarise
from napari_pathreason.training.evaluation import (
    ALL,
    EvaluationPlan,
    Report,
    Row,
    evaluate,
    write_whole,
)
from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.recipe import Recipe, load_recipe
from napari_pathreason.training.run import alone, copy_checkpoint
from napari_pathreason.training.samples import picture_sha256, read_samples
from napari_pathreason.training.sft import train_sft

from ._page import AUTO, NOTES, Decision, Stage, write_page

RECIPE = Path(__file__).parent / "lab.yaml"
"""The recipe that ships."""
TOGETHER = 16
"""Questions that share the model's passes in evaluations."""


def lab_recipe(out: Path, path: Path | None = None, changes: Sequence[str] = ()) -> Recipe:
    """A recipe whose run goes to ``out``.

    Parameters
    ----------
    out : Path
    path : Path, optional
        Of a recipe; None for the one that ships.
    changes : sequence of str
        See `load_recipe`.

    Raises
    ------
    QueryError
        As of `load_recipe`.
    """
    own = [f"output={json.dumps(str(out))}", f"data.folder={json.dumps(str(out / 'data'))}"]
    return load_recipe(path or RECIPE, [*own, *changes])


def train_lab(source: Path, recipe: Recipe, question: str = "", command: str = "") -> Path:
    """Train a model on labelled pictures, measure it, and write one page on what came of it.

    Parameters
    ----------
    source : Path
        A folder of any known layout, or one of ``data convert``.
    recipe : Recipe
        See `lab_recipe`.
    question : str
        What is asked where a set has labels and no questions.
    command : str
        What was typed, for the page.

    Returns
    -------
    Path
        ``output``/report.md. The model lies in ``output``/final, and the docks offer it.

    Raises
    ------
    PathreasonError
        Whatever the stages raise, or if the folder was begun with other labelled pictures, or
        another process is at work there; what was done before stays.
    """
    return _train(recipe, source, question, command)


@alone
def _train(recipe: Recipe, source: Path, question: str, command: str) -> Path:
    wait_passively()
    out = Path(recipe.output)
    if recipe.model.start is not None:
        find_checkpoint(recipe.model.start)  # better named now than after the conversion
    book = _Book(out / "lab.json")
    data = _samples(source, out, question, book)
    summary = summarise(data)
    recipe = _with_scale(recipe, data)
    with book.timed("supervised fine-tuning"):
        model = train_sft(recipe)
    decisions = [_measured_on_val("after supervised fine-tuning", model, recipe, data, book)]
    if recipe.lab.grpo:
        with book.timed("GRPO"):
            reinforced = train_performer(recipe)
        then = _measured_on_val("after GRPO", reinforced, recipe, data, book)
        retained = then.value > decisions[0].value + recipe.lab.margin
        model = reinforced if retained else model
        decisions = [decisions[0].kept_is(not retained), then.kept_is(retained)]
    final = copy_checkpoint(model, out / "final")
    if recipe.lab.allocator:
        with book.timed("allocator"):
            own = recipe.allocator.model_copy(update={"start": str(final)})
            train_allocator(recipe.model_copy(update={"allocator": own}))
        decisions.append(_allocator_on_val(final, recipe, data, book))
    with book.timed("calibration"):
        calibrated = calibrate(
            CalibrationPlan(
                str(final),
                data / "val.jsonl",
                data / "train.jsonl",
                seed=recipe.seed,
                recipe=recipe,
            )
        )
    with book.timed("evaluation"):
        report, split = _measured(final, recipe, data, out, command)
    write_whole(out / "results.json", report.json)
    remember_model(final)
    stages = [Stage(name, seconds) for name, seconds in book.seconds.items()]
    return write_page(out, recipe, summary, decisions, stages, report, split, calibrated)


class _Book:
    """How long stages took, all runs together; written to disk."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._content: dict[str, Any] = {"seconds": {}}
        if file.is_file():
            try:
                self._content |= json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, TypeError) as error:
                raise ExportError(
                    f"{file.name} in the folder {file.parent.name} is damaged; delete it, and run "
                    "again"
                ) from error

    @property
    def seconds(self) -> dict[str, float]:
        return dict(self._content["seconds"])

    def check_source(self, of: Mapping[str, str]) -> bool:
        """Whether samples were made here of the same; False where it is not known of what.

        Raises
        ------
        QueryError
            If they were made of something else.
        """
        before = self._content.get("source")
        if before is not None and before != of:
            raise QueryError(
                f"the folder {self._file.parent.name} was begun with other labelled pictures or "
                "another question; give the same again, or choose another folder with -o"
            )
        return before is not None

    def begin(self, of: Mapping[str, str]) -> None:
        """Say of what samples are made."""
        self._content["source"] = dict(of)
        self.write()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add what a stage takes to what it took before it was cut off."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            took = self._content["seconds"].get(stage, 0.0) + time.perf_counter() - begun
            self._content["seconds"][stage] = round(took, 1)
            self.write()

    def write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._file, self._content)


def _samples(source: Path, out: Path, question: str, book: _Book) -> Path:
    """Folder of samples: the source itself, or what it is converted to, with a contact sheet.

    Raises
    ------
    QueryError
        If a split that training needs is missing.
    """
    data = source if (source / "train.jsonl").is_file() else out / "data"
    of = {"pictures": "", "question": ""}
    if data != source:
        of = {"pictures": _labelled_sha256(source, out), "question": question}
    known = book.check_source(of)
    if data != source and not (known and (data / "train.jsonl").is_file()):
        book.begin(of)
        with book.timed("conversion"):
            done = convert(source, data, Options(question=question))
            write_whole(out / NOTES, "".join(f"{note}\n" for note in done.notes))
    for split in ("train", "val"):
        read_samples(data / f"{split}.jsonl")
    if not (out / "contact_sheet.png").is_file():
        out.mkdir(parents=True, exist_ok=True)
        draw_sheet(data, out / "contact_sheet.png")
    return data


def _labelled_sha256(source: Path, out: Path) -> str:
    """SHA-256 over names and content of labelled pictures, but for what lies in ``out``."""
    place, own = source.resolve(), out.resolve()
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    digest = hashlib.sha256()
    for file in files:
        if own not in file.parents:
            name = "" if file == place else file.relative_to(place).as_posix()
            digest.update(f"{json.dumps(name)} {picture_sha256(file)}\n".encode())
    return digest.hexdigest()


def _with_scale(recipe: Recipe, data: Path) -> Recipe:
    """The recipe of these data; states um per pixel where every sample does."""
    samples = read_samples(data / "train.jsonl")
    known = [sample.mpp for sample in samples if sample.mpp is not None]
    own = recipe.data.model_copy(update={"folder": str(data)})
    changed: dict[str, Any] = {"data": own}
    if recipe.metadata.mpp is None and known and len(known) == len(samples):
        stated = {"mpp": (min(known), max(known))}
        changed["metadata"] = recipe.metadata.model_copy(update=stated)
    return recipe.model_copy(update=changed)


def _on_val(
    model: Path, recipe: Recipe, data: Path, book: _Book, policies: tuple[str, ...] = ("fixed",)
) -> Report:
    """What is chosen by: figures of a model on ``val``."""
    with book.timed("choosing on val"):
        return evaluate(
            EvaluationPlan(
                str(model),
                data / "val.jsonl",
                recipe.lab.budgets,
                blank=False,
                seed=recipe.seed,
                together=TOGETHER,
                policies=policies,
            )
        )


def _measured_on_val(name: str, model: Path, recipe: Recipe, data: Path, book: _Book) -> Decision:
    """The best budget of a model on ``val``, and its score there."""
    report = _on_val(model, recipe, data, book)
    measure = recipe.sft.best or "score"
    values = {budget: _value(report.rows, budget, measure) for budget in _budgets(report.rows)}
    best = max(values, key=lambda budget: values[budget])
    return Decision(name, measure, values[best], best)


def _budgets(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.budget for row in rows))


def _value(rows: Sequence[Row], budget: str, measure: str) -> float:
    """Mean of a measure over the topics that have it; the score of all where none has."""
    own = [row for row in rows if row.budget == budget]
    each = [r.values[measure] for r in own if r.topic != ALL and measure in r.values]
    if each and measure != "score":
        return sum(each) / len(each)
    return next(row.values["score"] for row in own if row.topic == row.task == ALL)


def _allocator_on_val(final: Path, recipe: Recipe, data: Path, book: _Book) -> Decision:
    """Keep the allocator where no fixed budget is as good on ``val`` at its cost."""
    report = _on_val(final, recipe, data, book, ("fixed", "allocator"))
    own = [r for r in report.policies if r.run.policy == "allocator" and r.topic == r.task == ALL]
    fixed = [row for row in report.rows if row.topic == row.task == ALL]
    best = max(own, key=lambda row: row.values["score"])
    level = max(
        (r.values["score"] for r in fixed if r.values["flops"] <= best.values["flops"]),
        default=0.0,
    )
    retained = best.values["score"] > level + recipe.lab.margin
    if not retained:
        for name in ALLOCATOR_FILES:
            (final / name).unlink(missing_ok=True)
    return Decision("allocator", "score", best.values["score"], AUTO, retained, level)


def _measured(
    final: Path, recipe: Recipe, data: Path, out: Path, command: str
) -> tuple[Report, str]:
    """Figures on ``test``, or on ``val`` where there is none; thresholds are chosen on ``val``."""
    plan = EvaluationPlan(
        str(final),
        data / "val.jsonl",
        recipe.lab.budgets,
        seed=recipe.seed,
        together=TOGETHER,
        stage="lab",
        command=command,
    )
    chosen = evaluate(replace(plan, blank=False, choose_thresholds=True))
    write_whole(out / "val.json", chosen.json)
    test = data / "test.jsonl"
    split = "test" if test.is_file() and test.stat().st_size else "val"
    installed = all(importlib.util.find_spec(name) for name in ("sklearn", "skimage"))
    report = evaluate(
        replace(
            plan,
            data=data / f"{split}.jsonl",
            baseline=recipe.lab.baseline and installed,
            items=out / "items.jsonl",
            thresholds=out / "val.json" if chosen.thresholds else None,
        )
    )
    return report, split

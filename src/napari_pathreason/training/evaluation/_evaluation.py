"""A whole evaluation: every condition asked, answers recorded as they come, tables out of them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.models import (
    BUDGETS,
    checkpoint_sha256,
    find_checkpoint,
    is_address,
    load_models,
    resolve_address,
    served_sha256,
)
from napari_pathreason.training.run import check_unchanged, data_identity
from napari_pathreason.training.samples import CROP, Pictures, Sample, read_samples
from napari_pathreason.types import Encoder

from ._baselines import baseline_items, check_installed, constant_items
from ._evaluator import Evaluator, pick
from ._goals import GoalOutcome, outcomes, read_goals, refuse_choice_on_test
from ._honesty import (
    chosen_thresholds,
    made_by,
    provenance_notes,
    read_thresholds,
    refuse_on_test,
)
from ._page import markdown, short_markdown
from ._policies import allocations, check_policies, policy_rows
from ._predictions import ModelCondition, Scorer, open_record, read_known, record
from ._ranking import Thresholds
from ._table import (
    ALL,
    Row,
    Run,
    budget_name,
    group_table,
    own_budgets,
    read_stages,
    size_table,
    table,
)

WITHOUT_A_BUDGET = ("constant", "baseline")
"""Conditions that were asked at no budget, and stand beside every one."""


NOT_BEGUN = "Not asked without a rationale: this server cannot go on with an answer that was begun."


@dataclass(frozen=True, slots=True)
class EvaluationPlan:
    """What to evaluate.

    ``budgets`` are budgets, None for native size; ``policies`` other than ``fixed`` need the
    answers at every budget of the budget grid and ask for those as well. ``blank`` asks each of
    ``budgets`` before a white picture too, and with an empty rationale; ``baseline`` fits colour
    and texture on ``train.jsonl`` beside ``data``. ``items`` is where each answer goes the moment
    it is there. ``together`` questions share the model's passes; seconds are then told by the few
    that are asked alone. ``earlier`` are results of the stages of training before, ``known`` the
    items of an earlier evaluation of the same model and questions: scored anew and not asked again.
    ``goals`` is a YAML list of targets; ``groups`` a table of pictures and its column that tells
    what they share, such as a slide: intervals are then over those. Without it the groups are those
    that the samples name. ``choose_thresholds`` chooses the probability from which the positive one
    of two choices, or each of several, counts as said, on these questions, which must not be those
    of ``test``;
    ``thresholds`` are results of such an evaluation, whose thresholds are taken. ``per_topic`` None
    asks everything. ``command`` is what was typed, for the record. ``check_order``
    asks questions with choices again with these reversed, and reports the share of answers that
    flip.
    """

    model: str
    data: Path
    budgets: tuple[int | None, ...]
    per_topic: int | None = None
    blank: bool = True
    baseline: bool = False
    stage: str = "sft"
    seed: int = 0
    device: str = "auto"
    encoder: Encoder = "exact"
    items: Path | None = None
    policies: tuple[str, ...] = ("fixed",)
    together: int = 1
    earlier: tuple[Path, ...] = ()
    known: Path | None = None
    goals: Path | None = None
    groups: tuple[Path, str] | None = None
    thresholds: Path | None = None
    choose_thresholds: bool = False
    command: str = ""
    check_order: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of an evaluation; ``sizes`` are rows by the size of the region.

    ``policies`` are rows of the ways to choose the budget, beside those of each budget; ``groups``
    are rows by what ``grouped_by`` names. ``notes`` say what is left out. ``made`` says by which
    command, version and commit the figures were made; ``thresholds`` are those that were chosen.
    """

    rows: Sequence[Row]
    sizes: Sequence[Row]
    policies: Sequence[Row]
    goals: Sequence[GoalOutcome]
    about: dict[str, Any]
    earlier: Sequence[dict[str, Any]] = ()
    groups: Sequence[Row] = ()
    grouped_by: str = "group"
    notes: tuple[str, ...] = ()
    made: Mapping[str, str] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        """The tables."""
        return markdown(
            self.rows,
            self.sizes,
            self.policies,
            self.goals,
            self.earlier,
            self.groups,
            self.grouped_by,
            self.notes,
        )

    @property
    def card(self) -> str:
        """The main table and the targets, for a model card."""
        return short_markdown(self.rows, self.goals, self.grouped_by, self.notes)

    @property
    def json(self) -> str:
        """``rows``, ``sizes``, ``groups``, ``targets`` and what was run, a row a line."""
        parts = [
            f'"about": {json.dumps(self.about)}',
            f'"made": {json.dumps(dict(self.made))}',
            f'"thresholds": {json.dumps(dict(self.thresholds))}',
            *(
                f'"{name}": [\n' + ",\n".join(map(json.dumps, listed)) + "\n]"
                for name, listed in (
                    ("rows", [*_plain(self.rows), *_plain(self.policies), *self.earlier]),
                    ("sizes", _plain(self.sizes)),
                    ("groups", _plain(self.groups)),
                    ("targets", _plain(self.goals)),
                )
            ),
        ]
        return "{\n" + ",\n".join(parts) + "\n}\n"


def evaluate(plan: EvaluationPlan) -> Report:
    """Ask, record and sum up.

    Raises
    ------
    PathreasonError
        If the data, the model or a library of the baseline is missing; names the remedy.
    """
    identify = partial(_identity_of, plan)
    of = identify()
    about: dict[str, Any] = {
        "per_topic": plan.per_topic,
        "seed": plan.seed,
        "split": plan.data.stem,
        "data_sha256": of["data"],
        "pictures_sha256": of["pictures"],
    }
    if plan.encoder != "exact":
        about["encoder"] = plan.encoder
    if plan.choose_thresholds:
        refuse_on_test(plan.data, "--choose-thresholds")
    thresholds = read_thresholds(plan.thresholds)
    stages, goals = read_stages(plan.earlier, about), read_goals(plan.goals)
    asks_all = bool(set(plan.policies) - {"fixed"})  # every budget of the grid, then
    refuse_choice_on_test(goals, plan.data, BUDGETS if asks_all else plan.budgets)
    if plan.baseline:
        check_installed()
        train = read_samples(plan.data.parent / "train.jsonl")
    samples = pick(read_samples(plan.data), plan.per_topic, plan.seed)
    if plan.groups:
        groups = group_names(*plan.groups, samples, plan.data.parent)
    else:
        groups = own_groups(samples)
    pictures = Pictures(plan.data.parent)
    pictures.hold(samples)
    models = load_models(plan.model, plan.device, plan.encoder)
    check_unchanged(of, identify())  # what figures are of is what was read
    check_policies(plan.policies, models.allocator)
    token_px = models.performer.info.dims.token_px
    fitted_on = " ".join(str(of[name]) for name in ("data", "pictures"))
    scorer = Scorer(samples, pictures, token_px, plan.seed, groups, of["model"], fitted_on)
    known = read_known(plan.known, scorer)
    for line in known.lacking:
        tqdm.write(line, file=sys.stderr)
    with open_record(plan.items) as file:
        items = list(record(constant_items(scorer), file))
        if plan.baseline:
            fitted = known.baseline or baseline_items(
                scorer, train, Pictures(plan.data.parent, 500), plan.seed
            )
            items += record(fitted, file)
        evaluator = Evaluator(
            samples,
            pictures,
            models.performer,
            models.allocator,
            plan.seed,
            plan.together,
            scorer,
            plan.check_order,
        )
        evaluator.remember(known.items)
        server = models.performer.info.server
        begins = server is None or server.continues
        conditions: list[ModelCondition] = [
            "model",
            *(("text_only",) if plan.blank else ()),
            *(("unreasoned",) if plan.blank and begins else ()),
        ]
        runs = [(budget, condition) for budget in plan.budgets for condition in conditions]
        if set(plan.policies) - {"fixed"}:
            runs += [(budget, "model") for budget in BUDGETS if budget not in plan.budgets]
        with tqdm(total=len(runs) * len(samples), unit="answer", mininterval=5) as bar:
            for budget, condition in runs:
                for item in record(evaluator.run(budget, condition), file):
                    items.append(item)
                    bar.update()
    run, made = Run(models.performer.info.name, plan.stage), made_by(plan.command)
    policies: list[Row] = []
    if set(plan.policies) - {"fixed", "native"}:
        policies = policy_rows(
            items,
            plan.policies,
            lambda effort: allocations(samples, pictures, models.allocator, token_px, effort),
            run,
            plan.seed,
        )
    own, others = own_budgets(items)
    shown = [item for item in items if item.condition in WITHOUT_A_BUDGET or item.budget in own]
    if plan.choose_thresholds:
        thresholds = chosen_thresholds(shown)
    rows = _with_size_of_file(table(shown, run, plan.seed, thresholds), plan.model)
    return Report(
        rows,
        size_table(shown, run, plan.seed),
        policies,
        outcomes(rows, goals),
        about,
        stages.rows,
        group_table(shown, run, plan.seed),
        plan.groups[1] if plan.groups else "group",
        (
            *models.performer.info.notes,
            *_notes(others, plan, grouped=any(groups)),
            *(() if begins or not plan.blank else (NOT_BEGUN,)),
            *stages.notes,
            *provenance_notes(about, made, len(samples), rows),
        ),
        made,
        thresholds if plan.choose_thresholds else {},
    )


def _identity_of(plan: EvaluationPlan) -> dict[str, str]:
    """Data, pictures and model of an evaluation, by their content."""
    splits = [plan.data.stem, *(["train"] if plan.baseline else [])]
    return {**data_identity(plan.data.parent, splits), "model": _model_identity(plan)}


def _model_identity(plan: EvaluationPlan) -> str:
    """What tells all of a model that can change an answer; empty where there is no such model."""
    if is_address(plan.model):
        return served_sha256(resolve_address(plan.model))
    try:
        folder, name = find_checkpoint(plan.model)
        return f"{checkpoint_sha256(folder, name, allocators=False)} {plan.encoder}"
    except ModelError:  # said where it is loaded
        return ""


def _notes(left_out: Sequence[int | None], plan: EvaluationPlan, *, grouped: bool) -> Iterator[str]:
    """What a reader of the tables must know of them."""
    if left_out:
        names = ", ".join(map(budget_name, left_out))
        yield (
            f"Not shown: {names} tokens, where fewer than one question in twenty is shown another "
            "picture than at the next smaller budget or at native size."
        )
    if plan.groups or grouped:
        name = plan.groups[1] if plan.groups else "groups (patients, slides)"
        yield f"Intervals are over questions, and over {name} where the pictures have one."


def _plain(parts: Iterable[Row | GoalOutcome]) -> list[dict[str, Any]]:
    return [part.as_dict() for part in parts]


def group_names(table: Path, column: str, samples: Sequence[Sample], folder: Path) -> list[str]:
    """What each sample's picture shares with others; empty where the table does not name it.

    A picture that is composed of several files has a group where all of them have the same.

    Parameters
    ----------
    table : Path
        CSV with a column ``image``, files relative to it, and the column that groups them.
    column : str
    samples : sequence of Sample
    folder : Path
        That the files of the samples are relative to.

    Raises
    ------
    QueryError
        If the table cannot be read, lacks a column, or names none of the pictures.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        by_file = {(table.parent / row["image"]).resolve(): row[column].strip() for row in rows}
    except (OSError, ValueError, csv.Error):  # also a path that holds a zero
        raise QueryError(f"{table.name} cannot be read; give --groups a CSV in UTF-8") from None
    except (KeyError, AttributeError):
        raise QueryError(
            f"{table.name} needs the columns image and {column} in every row; see its first line"
        ) from None

    def group(sample: Sample) -> str:
        rows = ((sample.image,),) if isinstance(sample.image, str) else sample.image
        files = {name.partition(CROP)[0] for row in rows for name in row}
        groups = {by_file.get((folder / name).resolve(), "") for name in files}
        return groups.pop() if len(groups) == 1 else ""

    names = [group(sample) for sample in samples]
    if not any(names):
        raise QueryError(
            f"{table.name} names none of the pictures asked about; give --groups the table that "
            "the data were converted from"
        )
    return names


def own_groups(samples: Sequence[Sample]) -> list[str]:
    """What each sample itself says that its picture shares with others (`Sample.group`).

    Groups of different sources are different ones, whatever they are called.
    """
    several = len({sample.source for sample in samples}) > 1
    return [f"{s.source}: {s.group}" if several and s.group else s.group for s in samples]


def _with_size_of_file(rows: Sequence[Row], model: str) -> list[Row]:
    """Rows, those of all questions with the megabytes of the weights where they lie in a folder."""
    if is_address(model):
        return list(rows)
    folder = find_checkpoint(model)[0] if model == "embedded" else Path(model)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    if not size:
        return list(rows)
    return [
        replace(row, values={**row.values, "megabytes": size})
        if row.task == row.topic == ALL
        else row
        for row in rows
    ]

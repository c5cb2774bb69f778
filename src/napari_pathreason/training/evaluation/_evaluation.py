"""A whole evaluation: every arm asked, every answer kept as it comes, tables out of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from napari_pathreason.models import load_models
from napari_pathreason.training.run import fingerprint
from napari_pathreason.training.samples import Pictures, read_samples

from ._baseline import baseline_items, check_installed
from ._constant import constant_items
from ._evaluate import Evaluator, pick
from ._goals import Outcome, outcomes, read_goals
from ._groups import group_names
from ._known_predictions import read_known
from ._markdown import markdown, short_markdown
from ._policies import BUDGETS, allocations, check_policies, policy_rows
from ._prediction import Asked, Prediction, to_line
from ._scoring import Scorer
from ._stages import read_stages
from ._table import ALL, Row, Run, budget_name, group_table, own_budgets, size_table, table

WITHOUT_A_BUDGET = ("constant", "baseline")
"""Arms that were asked at no budget, and stand beside every one."""


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
    what they share, such as a slide: intervals are then over those.
    """

    model: str
    data: Path
    budgets: tuple[int | None, ...]
    per_topic: int = 60
    blank: bool = True
    baseline: bool = False
    stage: str = "sft"
    seed: int = 0
    device: str = "auto"
    items: Path | None = None
    policies: tuple[str, ...] = ("fixed",)
    together: int = 1
    earlier: tuple[Path, ...] = ()
    known: Path | None = None
    goals: Path | None = None
    groups: tuple[Path, str] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of an evaluation; ``sizes`` are rows by the size of the region.

    ``policies`` are rows of the ways to choose the budget, beside those of each budget; ``groups``
    are rows by what ``grouped_by`` names. ``notes`` say what is left out.
    """

    rows: Sequence[Row]
    sizes: Sequence[Row]
    policies: Sequence[Row]
    goals: Sequence[Outcome]
    about: dict[str, Any]
    earlier: Sequence[dict[str, Any]] = ()
    groups: Sequence[Row] = ()
    grouped_by: str = "group"
    notes: tuple[str, ...] = ()

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
    """Ask, keep and sum up.

    Raises
    ------
    PathreasonError
        If the data, the model or a library of the baseline is missing; names the remedy.
    """
    about = {
        "per_topic": plan.per_topic,
        "seed": plan.seed,
        "split": plan.data.stem,
        "data_sha256": fingerprint(plan.data.parent),
    }
    earlier, goals = read_stages(plan.earlier, about), read_goals(plan.goals)
    if plan.baseline:
        check_installed()
        train = read_samples(plan.data.parent / "train.jsonl")
    samples = pick(read_samples(plan.data), plan.per_topic, plan.seed)
    groups = group_names(*plan.groups, samples, plan.data.parent) if plan.groups else ()
    pictures = Pictures(plan.data.parent)
    models = load_models(plan.model, plan.device)
    check_policies(plan.policies, models.allocator)
    token_px = models.performer.info.dims.token_px
    scorer = Scorer(samples, pictures, token_px, plan.seed, groups)
    known = read_known(plan.known, scorer)
    if known.lacking:
        tqdm.write(known.lacking, file=sys.stderr)
    with _opened(plan.items) as file:
        items = list(_kept(constant_items(scorer), file))
        if plan.baseline:
            fitted = known.baseline or baseline_items(
                scorer, train, Pictures(plan.data.parent, 500), plan.seed
            )
            items += _kept(fitted, file)
        evaluator = Evaluator(
            samples,
            pictures,
            models.performer,
            models.allocator,
            plan.seed,
            plan.together,
            scorer,
        )
        evaluator.remember(known.items)
        conditions: list[Asked] = ["model", *(("text_only", "unreasoned") if plan.blank else ())]
        runs = [(budget, condition) for budget in plan.budgets for condition in conditions]
        if set(plan.policies) - {"fixed"}:
            runs += [(budget, "model") for budget in BUDGETS if budget not in plan.budgets]
        with tqdm(total=len(runs) * len(samples), unit="answer", mininterval=5) as bar:
            for budget, condition in runs:
                for item in _kept(evaluator.run(budget, condition), file):
                    items.append(item)
                    bar.update()
    run = Run(models.performer.info.name, plan.stage)
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
    rows = _with_size_of_file(table(shown, run, plan.seed), plan.model)
    return Report(
        rows,
        size_table(shown, run, plan.seed),
        policies,
        outcomes(rows, goals),
        about,
        earlier,
        group_table(shown, run, plan.seed),
        plan.groups[1] if plan.groups else "group",
        tuple(_notes(others, plan)),
    )


def _notes(left_out: Sequence[int | None], plan: EvaluationPlan) -> Iterator[str]:
    """What a reader of the tables must know of them."""
    if left_out:
        names = ", ".join(map(budget_name, left_out))
        yield (
            f"Not shown: {names} tokens, where fewer than one question in twenty is shown another "
            "picture than at the next smaller budget or at native size."
        )
    if plan.groups:
        yield (
            f"Intervals are over questions, and over {plan.groups[1]} where the pictures have one."
        )


def _plain(parts: Iterable[Row | Outcome]) -> list[dict[str, Any]]:
    return [part.as_dict() for part in parts]


def _opened(path: Path | None) -> AbstractContextManager[IO[str] | None]:
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")


def _kept(items: Iterable[Prediction], file: IO[str] | None) -> Iterator[Prediction]:
    """Pass items on, each written and flushed first, so that a cut run keeps what it had."""
    for item in items:
        if file is not None:
            file.write(to_line(item) + "\n")
            file.flush()
        yield item


def _with_size_of_file(rows: Sequence[Row], model: str) -> list[Row]:
    """Rows, those of all questions with the megabytes of the weights where they lie in a folder."""
    folder = Path(model)
    if model == "embedded":
        from napari_pathreason import models

        folder = Path(models.__file__).parent / "embedded"
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    if not size:
        return list(rows)
    return [
        replace(row, values={**row.values, "megabytes": size})
        if row.task == row.topic == ALL
        else row
        for row in rows
    ]

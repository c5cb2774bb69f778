"""A whole evaluation: every arm asked, every answer kept as it comes, tables out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from napari_pathreason.models import load_models
from napari_pathreason.training.run._provenance import fingerprint
from napari_pathreason.training.samples._pictures import Pictures
from napari_pathreason.training.samples._sample import read_samples

from ._baseline import baseline_items, check_installed
from ._constant import constant_items
from ._evaluate import Examiner, pick
from ._goals import Outcome, outcomes
from ._item import Asked, Item, to_line
from ._known_items import read_known
from ._markdown import markdown, short_markdown
from ._policies import RUNGS, allocations, check_policies, policy_rows
from ._stages import read_stages
from ._table import ALL, Row, Run, size_table, table


@dataclass(frozen=True, slots=True)
class Plan:
    """What to evaluate.

    ``budgets`` are rungs, None for native size; ``policies`` other than ``fixed`` need the answers
    at every rung of the ladder and ask for those as well. ``blank`` asks each of ``budgets``
    before a white picture too, and with an empty rationale; ``baseline`` fits colour and texture
    on ``train.jsonl`` beside ``data``. ``items`` is where each answer goes the moment it is there.
    ``together`` questions share the model's passes; seconds are then told by the few that are
    asked alone. ``earlier`` are results of the stages of training before, ``known`` the items of
    an earlier evaluation of the same model and questions, which are not asked again.
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


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of an evaluation; ``sizes`` are rows by the size of the region.

    ``policies`` are rows of the ways to choose the budget, beside those of each rung.
    """

    rows: Sequence[Row]
    sizes: Sequence[Row]
    policies: Sequence[Row]
    goals: Sequence[Outcome]
    about: dict[str, Any]
    earlier: Sequence[dict[str, Any]] = ()

    @property
    def markdown(self) -> str:
        """The tables."""
        return markdown(self.rows, self.sizes, self.policies, self.goals, self.earlier)

    @property
    def card(self) -> str:
        """The main table and the targets, for a model card."""
        return short_markdown(self.rows, self.goals)

    @property
    def json(self) -> str:
        """``rows``, ``sizes``, ``targets`` and what was run, a row a line."""
        parts = [
            f'"about": {json.dumps(self.about)}',
            *(
                f'"{name}": [\n' + ",\n".join(map(json.dumps, listed)) + "\n]"
                for name, listed in (
                    ("rows", [*_plain(self.rows), *_plain(self.policies), *self.earlier]),
                    ("sizes", _plain(self.sizes)),
                    ("targets", _plain(self.goals)),
                )
            ),
        ]
        return "{\n" + ",\n".join(parts) + "\n}\n"


def evaluate(plan: Plan) -> Report:
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
    earlier = read_stages(plan.earlier, about)
    if plan.baseline:
        check_installed()
        train = read_samples(plan.data.parent / "train.jsonl")
    samples = pick(read_samples(plan.data), plan.per_topic, plan.seed)
    known = read_known(plan.known, samples)
    pictures = Pictures(plan.data.parent)
    models = load_models(plan.model, plan.device)
    check_policies(plan.policies, models.allocator)
    cell = models.performer.info.dims.cell
    with _opened(plan.items) as file:
        items = list(_kept(constant_items(samples, pictures, cell), file))
        if plan.baseline:
            fitted = known.get(("baseline", None)) or baseline_items(
                samples, pictures, train, Pictures(plan.data.parent, 500), cell, plan.seed
            )
            items += _kept(fitted, file)
        examiner = Examiner(
            samples, pictures, models.performer, models.allocator, plan.seed, plan.together
        )
        arms: list[Asked] = ["model", *(("text_only", "unreasoned") if plan.blank else ())]
        runs = [(budget, arm) for budget in plan.budgets for arm in arms]
        if set(plan.policies) - {"fixed"}:
            runs += [(budget, "model") for budget in RUNGS if budget not in plan.budgets]
        with tqdm(total=len(runs) * len(samples), unit="answer", mininterval=5) as bar:
            for budget, arm in runs:
                answers = known.get((arm, budget)) or examiner.run(budget, arm)
                for item in _kept(answers, file):
                    items.append(item)
                    bar.update()
    run = Run(models.performer.info.name, plan.stage)
    rows = _with_size_of_file(table(items, run, plan.seed), plan.model)
    policies: list[Row] = []
    if set(plan.policies) - {"fixed", "native"}:
        policies = policy_rows(
            items,
            plan.policies,
            lambda effort: allocations(samples, pictures, models.allocator, cell, effort),
            run,
            plan.seed,
        )
    sizes = size_table(items, run, plan.seed)
    return Report(rows, sizes, policies, outcomes(rows), about, earlier)


def _plain(parts: Iterable[Row | Outcome]) -> list[dict[str, Any]]:
    return [part.as_dict() for part in parts]


def _opened(path: Path | None) -> AbstractContextManager[IO[str] | None]:
    if path is None:
        return nullcontext()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8")


def _kept(items: Iterable[Item], file: IO[str] | None) -> Iterator[Item]:
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

"""Nothing is chosen on ``test``, and every figure says of what, how and by what it was made."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_pathreason import __version__
from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import split_of

from ._predictions import Prediction
from ._ranking import Thresholds, best_threshold, best_thresholds
from ._table import Row


def refuse_on_test(data: Path, flag: str, remedy: str = "name val.jsonl") -> None:
    """Refuse to choose something by the labels of ``test``.

    Parameters
    ----------
    data : Path
        A file of samples; its name says its split.
    flag : str
        What would choose, for the message.
    remedy : str
        Its end: what to do.

    Raises
    ------
    QueryError
        If the file is of ``test``.
    """
    if split_of(data.stem) == "test":
        raise QueryError(
            f"{flag} chooses by labels, and what is chosen on {data.name} cannot be measured there "
            f"any more; {remedy}"
        )


def chosen_thresholds(items: Sequence[Prediction]) -> dict[str, float | dict[str, float]]:
    """The best thresholds of each topic with choices, at the budget that scores best there.

    One of the positive choice where there are two, else one of each choice against the rest.
    """
    by_budget: dict[str, dict[int | None, list[Prediction]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for item in items:
        if item.condition == "model":
            by_budget[item.topic][item.budget].append(item)
    found: dict[str, float | dict[str, float]] = {}
    for topic, budgets in by_budget.items():
        best = max(budgets.values(), key=lambda own: sum(i.score for i in own) / len(own))
        if (threshold := best_threshold(best)) is not None:
            found[topic] = threshold
        elif by_choice := best_thresholds(best):
            found[topic] = by_choice
    return found


def read_thresholds(file: Path | None) -> Thresholds:
    """Thresholds out of the JSON of an evaluation that chose them; none without a file.

    Raises
    ------
    QueryError
        If the file is none, chose nothing, or chose on ``test``.
    """
    if file is None:
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        thresholds, split = content["thresholds"], content["about"]["split"]
    except (OSError, ValueError, KeyError, TypeError):
        raise QueryError(
            f"{file.name} is no result of `pathreason evaluate --choose-thresholds --json`"
        ) from None
    if not thresholds:
        raise QueryError(
            f"{file.name} chose no thresholds; evaluate val.jsonl with --choose-thresholds"
        )
    refuse_on_test(Path(split), "--thresholds")
    try:
        return {
            str(topic): {str(name): float(one) for name, one in value.items()}
            if isinstance(value, dict)
            else float(value)
            for topic, value in thresholds.items()
        }
    except (AttributeError, TypeError, ValueError):
        raise QueryError(
            f"{file.name} holds thresholds that are no numbers; make it anew by "
            "`pathreason evaluate --choose-thresholds --json`"
        ) from None


def made_by(command: str) -> dict[str, str]:
    """By which command, version and commit figures are made; empty parts are left out.

    Names no folder: of paths in the command, as a shell reads it, the last part stands alone.
    """
    words = shlex.join(_without_folders(word) for word in shlex.split(command))
    parts = {"command": words, "version": __version__, "commit": _commit()}
    return {name: text for name, text in parts.items() if text}


def _without_folders(word: str) -> str:
    """A word of a command; of a path, or of one behind ``KEY=``, the name alone.

    Words with blanks, such as questions, may have slashes that part no folders.
    """
    key, is_set, value = word.rpartition("=")
    path = Path(value)
    if "/" not in value or (" " in value and not path.is_absolute() and not path.exists()):
        return word
    return f"{key}{is_set}{path.name}"


def _commit() -> str:
    """Of the source that runs, with ``+`` where it was changed since; empty if installed."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *words],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.strip()

    if git("ls-files", "--error-unmatch", Path(__file__).name) == "":
        return ""  # not of a repository, or of another project's
    return git("rev-parse", "--short=12", "HEAD") + ("+" if git("diff", "--stat", "HEAD") else "")


def provenance_line(parts: Iterable[str], made: Mapping[str, str]) -> str:
    """What figures are of (n, split, seed) and, of `made_by`, what made them, in one line."""
    parts = [*parts, *(f"{name} {made[name]}" for name in ("version", "commit") if name in made)]
    command = f"; `{made['command']}`" if "command" in made else ""
    return f"All figures: {', '.join(parts)}{command}."


def provenance_notes(
    about: Mapping[str, Any], made: Mapping[str, str], number: int, rows: Sequence[Row]
) -> Iterator[str]:
    """What stands below the main table: n, split, seed, command, commit."""
    yield provenance_line(
        (
            f"n {number:,}",
            f"split {about['split']}",
            f"seed {about['seed']}",
            f"data {str(about['data_sha256'])[:12]}",
        ),
        made,
    )
    budgets = {row.budget for row in rows}
    if len(budgets) > 1 and split_of(str(about["split"])) == "test":
        yield (
            "Figures at the best budget are at the best one of these questions, and so optimistic; "
            "a budget that was chosen on val has its own column."
        )

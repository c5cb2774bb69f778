"""An answer of each level of reliability in the Ask dock."""

from __future__ import annotations

from functools import partial
from typing import Any

from ._stage import Stage, settle, wait_for

SAMPLES = ("lymph_node", "blood", "nuclei")
BUDGETS = ("auto", 16)
STRANGE = "Is there necrosis?"
"""The embedded model was trained on nothing of it."""


def play(stage: Stage, level: str) -> None:
    """Ask the samples' own questions until an answer has this level; one of none needs another."""
    for sample in SAMPLES:
        stage.open_window(sample)
        dock = stage.open_dock("Ask")
        settle(1.0)
        form = dock.form
        form.model_box.model_id = stage.model
        if _find(dock, stage.image, level):
            break
    if stage.model != "embedded":  # a name without a path
        form.model_box.model_id = "random weights"
    settle(2.0)


def _find(dock: Any, image: Any, level: str) -> bool:
    from napari_pathreason import Query
    from napari_pathreason.sample_data import sample_questions

    asked = sample_questions(image.metadata)
    if level == "none":
        asked = (Query("vqa", STRANGE, ("yes", "no")),)
    for query in asked:
        for budget in BUDGETS:
            dock.form.fill(query)
            dock.form.budget_box.choose(budget)
            dock.ask()
            wait_for(dock)
            if dock.session.entries[-1].result.reliability.level == level:
                return True
    return False


reliable, uncertain, none = (partial(play, level=one) for one in ("reliable", "uncertain", "none"))

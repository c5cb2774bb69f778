"""One question at two budgets."""

from __future__ import annotations

from ._stage import Stage, settle, wait_for


def play(stage: Stage) -> None:
    """Compare 16 and 256 visual tokens."""
    for layer in [x for x in stage.viewer.layers if "pathreason_preview" in x.metadata]:
        stage.viewer.layers.remove(layer)
    dock = stage.budget
    dock.tabs.setCurrentWidget(dock.compare)
    dock.compare.compare()
    wait_for(dock.compare.runner, "running")
    settle(1.0)

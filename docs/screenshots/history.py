"""What the session's answers cost."""

from __future__ import annotations

from ._stage import Stage, settle


def play(stage: Stage) -> None:
    """Show the table of answers."""
    stage.budget.tabs.setCurrentWidget(stage.budget.history)
    settle(1.0)

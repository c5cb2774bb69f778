"""Two questions about a sample in the Ask dock."""

from __future__ import annotations

from ._stage import Stage, settle, wait_for


def play(stage: Stage) -> None:
    """Ask what the dock offers, at the allocator's budget and at 64 visual tokens."""
    stage.ask = dock = stage.open_dock("Ask")
    settle(1.0)
    stage.viewer.reset_view()  # the dock has taken room from the canvas
    form = dock.form
    form.model_box.model_id = stage.model
    for cost in ("auto", 64):
        form.budget_box.choose(cost)
        dock.ask()
        wait_for(dock)
    if stage.model != "embedded":  # a name without a path
        form.model_box.model_id = "random weights"
    settle(1.0)

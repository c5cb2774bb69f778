"""Two questions about a marked region in the Ask dock."""

from __future__ import annotations

from ._stage import Stage, settle, wait_for


def play(stage: Stage) -> None:
    """Ask at the allocator's budget and at 64 visual tokens."""
    stage.ask = dock = stage.open_dock("Ask")
    shapes = stage.mark_region()
    form = dock.form
    form.choose(form.task_box, "vqa")
    form.question_edit.setPlainText("Are the nuclei dense or sparse?")
    form.options_edit.setText("dense, sparse")
    form.model_box.setEditText(stage.model)
    for rung in ("auto", 64):
        form.choose(form.budget_box, rung)
        dock.ask()
        wait_for(dock)
    if stage.model != "embedded":  # a name without a path
        form.model_box.setEditText("random weights")
    shapes.visible = False
    settle(1.0)

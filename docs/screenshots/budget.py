"""The budget grid and a preview with its token grid."""

from __future__ import annotations

from ._stage import Stage, settle


def play(stage: Stage) -> None:
    """Look at the region as 64 visual tokens show it."""
    stage.budget = dock = stage.open_dock("Token budget", tabify=True)
    dock.pin(64)
    dock.preview()
    dock.grid_box.setChecked(True)
    settle(2.0)

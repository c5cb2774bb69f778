"""Scenes of the documentation, one a file; each goes on where the one before it ended."""

from __future__ import annotations

from pathlib import Path

from . import ask, budget, compare, history, levels, preferences, project, slide_run, views
from ._stage import Stage

SCENES = {
    "ask": ask.play,
    "budget": budget.play,
    "compare": compare.play,
    "history": history.play,
    "preferences": preferences.play,
    "slide_run": slide_run.play,
    "allocation_map": slide_run.play_map,
    "reliable": levels.reliable,
    "uncertain": levels.uncertain,
    "no_answer": levels.none,
    "views": views.play,
    "windows": views.play_answer,
    "project": project.play,
}
ALONE = ("reliable", "uncertain", "no_answer")
"""Scenes of which the dock alone is shown."""


def take(
    output: Path,
    theme: str,
    ending: str,
    scenes: list[str] | None,
    scratch: Path,
    docks_alone: bool,
) -> None:
    """Play all scenes, and photograph those that are wanted (default: all); see `Stage`."""
    stage = Stage(output, theme, ending, scratch, docks_alone)
    last = max(map(list(SCENES).index, scenes)) if scenes else len(SCENES)
    for place, (name, play) in enumerate(SCENES.items()):
        if place > last:
            break
        play(stage)
        if scenes is None or name in scenes:
            stage.photograph(name, name in ALONE)
    stage.close()

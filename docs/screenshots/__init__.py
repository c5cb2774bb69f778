"""Scenes of the documentation, one a file; each goes on where the one before it ended."""

from __future__ import annotations

from pathlib import Path

from . import (
    ask,
    budget,
    class_map,
    compare,
    history,
    levels,
    preferences,
    project,
    slide_run,
    views,
)
from ._stage import Stage

LEVELS = ("reliable", "uncertain", "no_answer")
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
    "class_map": class_map.play,
}
FRESH = ("ask", "slide_run", *LEVELS, "views", "project", "class_map")
"""Scenes that begin with a window of their own; the others go on where the one before ended."""
ALONE = LEVELS
"""Scenes of which the dock alone is shown."""


def take(
    output: Path,
    theme: str,
    ending: str,
    scenes: list[str] | None,
    scratch: Path,
    docks_alone: bool,
) -> None:
    """Photograph the scenes that are wanted (default: all); see `Stage`."""
    stage = Stage(output, theme, ending, scratch, docks_alone)
    needed = _needed(scenes or [*SCENES])
    for name, play in SCENES.items():
        if name not in needed:
            continue
        play(stage)
        if scenes is None or name in scenes:
            stage.photograph(name, name in ALONE)
    stage.close()


def _needed(scenes: list[str]) -> set[str]:
    """These scenes, and what each goes on from."""
    names, needed = [*SCENES], set[str]()
    for scene in scenes:
        last = names.index(scene)
        first = max(place for place in range(last + 1) if names[place] in FRESH)
        needed.update(names[first : last + 1])
    return needed

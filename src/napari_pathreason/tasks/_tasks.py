"""The tasks by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from napari_pathreason.types import TaskName

from ._detection import Detection
from ._subtyping import Subtyping
from ._task import Task
from ._vqa import VQA

TASKS: Mapping[TaskName, Task] = MappingProxyType(
    {"vqa": VQA(), "subtyping": Subtyping(), "detection": Detection()}
)

SCORING = 2
"""Number of the rules by which replies are parsed and scored, raised with every change of them:
scores that were kept under other rules are worth nothing."""

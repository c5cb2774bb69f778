"""Labelled folders -> JSONL samples: published sets, a lab's own tables and annotations.

``sets`` holds a file for each layout and what they share; the modules beside it hold the embedded
model's own sets, whose wordings and questions some of the layouts use as well.
"""

from ._convert import KINDS, Converted, convert
from .sets import Options

__all__ = ["KINDS", "Converted", "Options", "convert"]

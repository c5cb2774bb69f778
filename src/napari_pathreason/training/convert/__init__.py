"""Labelled folders -> JSONL samples: published sets, a lab's own tables and annotations.

``sets`` holds a file for each layout and what they share; the modules beside it hold the embedded
model's own sets, whose wordings and questions some of the layouts use as well.
"""

from ._convert import Converted, convert
from ._nuclei import TAUGHT
from ._plan import KINDS
from ._tables import read_table
from .sets import Options, split_of

__all__ = ["KINDS", "TAUGHT", "Converted", "Options", "convert", "read_table", "split_of"]

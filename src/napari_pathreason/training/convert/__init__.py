"""Labelled folders -> JSONL samples: published sets, a lab's own tables and annotations.

``sets`` holds a file for each layout, the questions that pictures with labels are asked, and what
the layouts share. Samples of other making are written as a conversion's are: `write_conversion`
takes a `ConversionPlan`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

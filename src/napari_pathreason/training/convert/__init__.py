"""Labelled folders -> JSONL samples: published sets, a lab's own tables and annotations.

``sets`` holds a file for each layout and what they share; the modules beside it hold the embedded
model's own sets, whose wordings and questions some of the layouts use as well.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

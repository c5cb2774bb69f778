"""The checkpoint that a run begins with, as a whole or under LoRA, and how it is written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

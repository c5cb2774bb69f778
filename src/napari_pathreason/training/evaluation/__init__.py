"""Models put to labelled questions: answers scored, figures with intervals, baselines, tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

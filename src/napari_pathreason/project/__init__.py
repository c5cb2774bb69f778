"""Projects: one question over the annotations of many slides, kept answer by answer."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

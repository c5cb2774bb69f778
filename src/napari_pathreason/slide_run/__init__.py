"""Whole slides: lesions tile by tile, and questions whose readings are kept as they come."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

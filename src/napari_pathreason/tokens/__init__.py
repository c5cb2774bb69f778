"""Token arithmetic: sizes, grids, the budget budget grid and cost. No array library, no torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""How an allocator learns: s(N) tabulated over the budget grid, then a head or a text form."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""What the allocator learns from: s(N) over the budget grid, and what an allocated budget earns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

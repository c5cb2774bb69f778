"""What the allocator learns from: s(N) over the ladder, and what an allotted rung earns."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

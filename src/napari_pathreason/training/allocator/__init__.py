"""How an allocator learns: answers tabulated, then a head, a text form, or a net of windows."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Allocators: a learned head, the performer's own weights that write a number, a fixed budget."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

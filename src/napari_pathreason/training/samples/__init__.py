"""Labelled questions about regions: their pictures, what they show, and what should be written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

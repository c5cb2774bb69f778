"""Layouts that others publish or a lab has, one file each; nothing is downloaded here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

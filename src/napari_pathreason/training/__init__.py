"""Headless training: data, supervised fine-tuning, evaluation. The GUI never imports it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

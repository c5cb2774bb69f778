"""Layouts that others publish or a lab has, one file each, and what they share.

Nothing is downloaded here. ``_questions`` words what labels say; ``_entry`` is what a layout's file
finds in a folder; ``_splits`` deals it; ``_left_out`` counts what cannot be used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

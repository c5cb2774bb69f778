"""Layouts that others publish or a lab has, one file each, and what they share.

Nothing is downloaded here. ``_layout`` says what a layout is and what reading a folder of it gives;
``_questions`` words what labels say; ``_splits`` divides the pictures; ``_pictures`` opens them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

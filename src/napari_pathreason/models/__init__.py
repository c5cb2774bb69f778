"""Performers and allocators: loading, answering, and a child process that serves them.

Importing this room loads neither torch nor transformers; what needs them is imported at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

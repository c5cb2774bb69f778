"""What every loop shares: what is drawn, steps of the optimiser, the state on disk, the log."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

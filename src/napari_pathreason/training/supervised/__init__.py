"""What supervised fine-tuning teaches: batches, dense targets, losses, codes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

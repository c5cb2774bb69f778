"""What supervised fine-tuning teaches: the objective of a run, its batches, the default one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

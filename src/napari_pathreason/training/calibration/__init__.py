"""What is fitted beside the weights: how sure an answer is, and how strange a picture."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

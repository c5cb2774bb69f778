"""What is fitted beside the weights: the confidence of an answer, and an OOD detector of images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

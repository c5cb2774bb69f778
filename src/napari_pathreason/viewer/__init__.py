"""Between napari and the engine: layers to regions, answers to overlays. No Qt."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

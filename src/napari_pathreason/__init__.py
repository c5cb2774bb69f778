"""Ask questions of whole-slide images at a visual-token budget you can see and steer.

>>> import napari_pathreason
>>> napari_pathreason.ask("slide.svs", region=(0, 0, 2048, 2048), question="How many nuclei?")
>>> napari_pathreason.detect("slide.svs", ["tumour"], folder="run")

Importing this package loads neither torch nor napari; what needs them comes at first use.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Results that leave: QuPath GeoJSON, tables, manifests, transcripts, reports.

Importing this room loads neither torch nor napari.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""Open a slide, show it lazily, read any region of it at any size."""

from ._open import open_slide, slide_from_arrays
from ._resample import choose_level
from ._slide import RegionImage, Slide
from ._synthetic import coded_pixels, write_synthetic_slide
from ._tissue import TissueMask, tissue_mask, tissue_share

__all__ = [
    "RegionImage",
    "Slide",
    "TissueMask",
    "choose_level",
    "coded_pixels",
    "open_slide",
    "slide_from_arrays",
    "tissue_mask",
    "tissue_share",
    "write_synthetic_slide",
]

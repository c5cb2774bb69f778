from ._display import BLOCK as BLOCK, KEPT as KEPT, display_levels as display_levels
from ._lazy import LazyPicture as LazyPicture
from ._mpp import mpp_of_ome as mpp_of_ome
from ._open import open_slide as open_slide, slide_from_arrays as slide_from_arrays
from ._resample import choose_level as choose_level
from ._slide import RegionImage as RegionImage, Slide as Slide
from ._source import Decoded as Decoded
from ._tiff import TiffSource as TiffSource
from ._tissue import (
    TissueMask as TissueMask,
    tissue_mask as tissue_mask,
    tissue_share as tissue_share,
)

from ._arrays import ArraySource as ArraySource
from ._background import Background as Background, background as background
from ._channels import ChannelsError as ChannelsError
from ._display import display_levels as display_levels
from ._ome import mpp_of_ome as mpp_of_ome
from ._resample import choose_level as choose_level
from ._scale import layer_scale as layer_scale
from ._signature import signature_of as signature_of
from ._slide import (
    RegionImage as RegionImage,
    Slide as Slide,
    open_slide as open_slide,
    slide_from_arrays as slide_from_arrays,
)
from ._source import Decoded as Decoded, Source as Source
from ._tissue import (
    TissueMask as TissueMask,
    is_tissue as is_tissue,
    tissue_mask as tissue_mask,
    tissue_share as tissue_share,
)

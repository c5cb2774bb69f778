"""What a picture and an answer themselves say against relying on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_pathreason._geometry import Region
from napari_pathreason._types import ModelInfo

LEAST_TISSUE = 0.01
"""Share of a picture; a small biopsy on a whole slide has more."""
LEAST_CONFIDENCE = 0.6
"""Below, an answer that is honest about itself is wrong two times of five."""
MARGIN = 1.5
"""How far beyond the scales of its training pictures a model is still trusted, by ratio."""


def evidence_warnings(
    region: Region,
    mpp: tuple[float, float] | None,
    pixels: NDArray[np.uint8],
    model: ModelInfo,
    confidence: float | None,
) -> list[str]:
    """Doubts that follow from the region, its scale and the model's own confidence.

    They hold no numbers of this picture: a whole-slide run counts them over its tiles.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    mpp : (float, float) or None
        um per level-0 pixel, (x, y).
    pixels : uint8 array (height, width, 3)
        The region as the model read it.
    model : ModelInfo
    confidence : float or None
        Of the answer, 0 to 1.
    """
    from napari_pathreason.slides import tissue_share  # loads what reads files

    found = []
    if tissue_share(pixels) < LEAST_TISSUE:
        found.append("there is no tissue to speak of in this region; mark a place on the tissue")
    if mpp is not None and model.mpp is not None:
        least, most = model.mpp
        scale = region.width * mpp[0] / pixels.shape[1]
        trained = f"than the training pictures ({least:g} to {most:g} um per pixel)"
        if scale > most * MARGIN:
            found.append(
                f"the model read this region coarser {trained}; "
                "give a higher budget or mark a smaller region"
            )
        elif scale < least / MARGIN:
            found.append(
                f"the model read this region finer {trained}; "
                "give a lower budget or mark a larger region"
            )
    if confidence is not None and confidence < LEAST_CONFIDENCE:
        found.append(
            "the model is not sure of this answer; look for yourself, or ask at another budget"
        )
    return found

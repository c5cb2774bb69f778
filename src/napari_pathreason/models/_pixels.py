"""Pixels as the vision encoder reads them: normalised, cut into patches, merge blocks together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ._config import Family

TEMPORAL_PATCH = 2
"""Frames in one patch of both families; a still picture stands in each of them."""


@dataclass(frozen=True, slots=True)
class Normalisation:
    """Mean and standard deviation of each channel, for pixels scaled to 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALISATION: dict[Family, Normalisation] = {
    "qwen3_vl": Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "qwen2_5_vl": Normalisation(
        (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    ),
}
"""What the published checkpoints of each family were trained with."""


def patchify(
    pixels: NDArray[np.uint8], patch: int, merge: int, normalisation: Normalisation
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Cut a picture into the rows that the vision encoder reads.

    Equal bit for bit to `Qwen2VLImageProcessorPil` of transformers where its own resize is the
    identity; a grey value has only 256 results, so a table of them replaces the arithmetic.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
        Sides are multiples of ``patch * merge``; nothing is resized here.
    patch : int
        Side of a patch in pixels.
    merge : int
        Patches a side of one visual token.
    normalisation : Normalisation

    Returns
    -------
    tuple
        Float32 tensor (patches, 3 * TEMPORAL_PATCH * patch * patch) and the grid (1, rows,
        columns) in patches.

    Raises
    ------
    ValueError
        If the shape, the dtype or the size is not as said.
    """
    token_px = patch * merge
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected uint8 (height, width, 3), got {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    if not height or not width or height % token_px or width % token_px:
        raise ValueError(f"the picture is {width} x {height} px, not whole cells of {token_px} px")
    rows, columns = height // patch, width // patch
    table = _table(normalisation)
    planes = np.stack([table[channel].take(pixels[..., channel]) for channel in range(3)])
    values = torch.from_numpy(planes).view(
        3, rows // merge, merge, patch, columns // merge, merge, patch
    )
    # (block row, block column, row in block, column in block, channel, y, x)
    values = values.permute(1, 4, 2, 5, 0, 3, 6)
    values = values.unsqueeze(5).expand(-1, -1, -1, -1, -1, TEMPORAL_PATCH, -1, -1)
    return values.reshape(rows * columns, -1), (1, rows, columns)


def _table(normalisation: Normalisation) -> NDArray[np.float32]:
    """Value of each channel and grey level (3, 256), rounded at the same steps as transformers."""
    scaled = (np.arange(256).astype(np.float64) * (1 / 255)).astype(np.float32)
    mean = np.array(normalisation.mean, dtype=np.float32)[:, None]
    std = np.array(normalisation.std, dtype=np.float32)[:, None]
    return ((scaled[None] - mean) / std).astype(np.float32)

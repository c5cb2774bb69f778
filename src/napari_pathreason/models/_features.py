"""What the vision encoder makes of a picture, in a few hundred numbers, out of its own pass."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ._pixels import Normalisation, patchify

Vector = NDArray[np.float32]
FLAT = 0.3
"""Grey levels below which detail is rounding alone."""


class FeatureHook:
    """Keeps mean and standard deviation over the patches behind the vision encoder's middle block.

    There stain, texture and scale still stand beside each other; later blocks keep what the task
    needs, and a strange picture is pressed among the known ones. The numbers come out of the pass
    that the answer needs anyway.

    Parameters
    ----------
    visual : vision encoder of either family
    """

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        self._block = visual.blocks[(len(visual.blocks) - 1) // 2]
        self._kept = (
            threading.local()
        )  # answers of several threads may be in the vision encoder at once
        self._handle = self._block.register_forward_hook(self._keep)

    def close(self) -> None:
        """Look no more."""
        self._handle.remove()

    def take(self) -> Vector | None:
        """Numbers of the last picture of this thread, float32 (2 * hidden,); None if none."""
        seen = self._taken()
        return None if seen is None else _numbers(seen)

    def take_each(self, patches: Sequence[int]) -> list[Vector]:
        """Numbers of pictures of so many patches that went through the vision encoder in one pass.

        Empty where none did.
        """
        seen = self._taken()
        return [] if seen is None else [_numbers(part) for part in seen.split(list(patches))]

    def _taken(self) -> torch.Tensor | None:
        seen: torch.Tensor | None = getattr(self._kept, "seen", None)
        self._kept.seen = None
        return seen

    def signature(self) -> Vector:
        """Some weights of the block, float32 (n,): which vision encoder the numbers come out of."""
        matrix = next(weights for weights in self._block.parameters() if weights.ndim == 2)
        weights = matrix.detach().float().flatten()[:512]
        return np.array(weights.cpu().numpy(), np.float32)

    @torch.inference_mode()
    def at(
        self, pixels: NDArray[np.uint8], patch: int, merge: int, normalisation: Normalisation
    ) -> Vector:
        """Numbers of a picture (height, width, 3) that nothing is asked about."""
        values, grid = patchify(pixels, patch, merge, normalisation)
        device = next(self._block.parameters()).device
        self._visual(values.to(device), torch.tensor([grid], device=device))
        seen = self.take()
        if seen is None:
            raise RuntimeError("the vision encoder did not pass its middle block")
        return seen

    def _keep(self, block: Any, inputs: Any, output: Any) -> None:
        tokens = output[0] if isinstance(output, tuple) else output
        self._kept.seen = tokens.detach().float().flatten(0, -2)


def _numbers(tokens: torch.Tensor) -> Vector:
    """Mean and deviation over the patches, from float32 (patches, hidden)."""
    return torch.cat([tokens.mean(0), tokens.std(0, correction=0)]).cpu().numpy()


def colours(pixels: NDArray[np.uint8]) -> Vector:
    """Mean and deviation of the optical density of each channel, float32 (6,)."""
    step = 1 + int((pixels.shape[0] * pixels.shape[1]) ** 0.5) // 512  # enough of a large picture
    some = pixels[::step, ::step].reshape(-1, 3).astype(np.float32)
    density = -np.log((some + 1) / 256)
    return np.concatenate([density.mean(0), density.std(0)])


def detail(pixels: NDArray[np.uint8]) -> float:
    """How much fine detail a picture (height, width, 3) has.

    Logarithm of the deviation, in grey levels, of its finest octave: of each pixel from the mean
    of its block of two by two. A picture out of focus has hardly any at its own size, nor has one
    that was magnified. The vision encoder forgives both where its training pictures were of many
    kinds.
    """
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    grey = pixels[:height, :width].mean(axis=2, dtype=np.float32)
    blocks = grey.reshape(height // 2, 2, width // 2, 2)
    finest = blocks - blocks.mean(axis=(1, 3), keepdims=True)
    return float(np.log(finest.std() + FLAT))

"""What a model's training pictures look like, and how far another picture lies from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.errors import ModelError
from napari_pathreason.types import OODScore

from ._wording import Wording

FILE = "ood.safetensors"
"""Optional file beside the weights."""

LEAST_TOKENS = 6
"""Visual tokens below which a picture tells too little: at 4 of them skin passes as lymph node."""

Array = NDArray[np.float32]


def size_class(tokens: int) -> int:
    """Place in the budget grid of the budget nearest to a count of visual tokens, by ratio."""
    return int(np.argmin(np.abs(np.log(np.array(BUDGET_GRID) / max(tokens, 1)))))


@dataclass(frozen=True, slots=True, eq=False)
class OODDetector:
    """Domains of training pictures, each a normal distribution of the vision encoder's features.

    Distances are Mahalanobis's (Lee et al. 2018, arXiv:1807.03888, in a middle layer), in the
    space of the main axes of all training pictures together: what differs between kinds stays
    visible that within one kind hardly varies. A picture is held against those of about as many
    visual tokens, as few tokens look different from many.

    Parameters
    ----------
    domains : tuple of str
        Names, such as ``lymph node``.
    wording : Wording
    centre, spread : float array (numbers,)
        Of `FeatureHook` over all training pictures.
    axes : float array (numbers, axes)
    means : float array (kinds, sizes, axes)
        NaN where a kind has no pictures of a size.
    whiten : float array (kinds, sizes, axes, axes)
        Its product with a difference has the Mahalanobis distance as length.
    threshold : float array (kinds, sizes)
        Distance up to which pictures are familiar.
    colour_mean, colour_whiten, colour_threshold : float array (kinds, 6), (kinds, 6, 6), (kinds,)
        The same of `colours`, for all sizes.
    detail, detail_least : float array (kinds, sizes)
        Of `detail`: the middle of the training pictures, and where almost all lie above.
    signature : float array
        Of the vision encoder that the numbers come out of.
    """

    domains: tuple[str, ...]
    wording: Wording
    centre: Array
    spread: Array
    axes: Array
    means: Array
    whiten: Array
    threshold: Array
    colour_mean: Array
    colour_whiten: Array
    colour_threshold: Array
    detail: Array
    detail_least: Array
    signature: Array

    def assess(
        self, features: Array, colours: Array, detail: float, tokens: int, words: Iterable[str]
    ) -> OODScore | None:
        """How strange a picture is for a question; None below `LEAST_TOKENS`.

        Parameters
        ----------
        features : float array (numbers,)
            Of `FeatureHook`, from the pass that the answer needed.
        colours : float array (6,)
        detail : float
        tokens : int
            Visual tokens of the picture.
        words : iterable of str
            Of the question; it is held against the kinds that those may be about.
        """
        if tokens < LEAST_TOKENS:
            return None
        asked = self.wording.likely(words, len(self.domains))
        here = self.scores(features, tokens)
        kind = min(asked, key=lambda k: here[k])
        reason, dull = "", self._dullness(detail, kind, tokens)
        if here[kind] <= 1 < dull:
            reason = "it shows no fine detail: out of focus, or magnified"
        elif here[kind] > 1:
            others = [k for k in range(len(self.domains)) if k not in asked and here[k] <= 1]
            if others:
                other = min(others, key=lambda k: here[k])
                reason = f"it looks like the pictures of {self.domains[other]}"
            elif np.nanmin(self._scores(features)[kind]) <= 1:
                reason = "its scale or sharpness is another"
            elif self._colour_score(colours, kind) > 1:
                reason = "its stain (colours) is another"
            else:
                reason = "its tissue or texture is another"
        score = max(float(here[kind]), dull)
        return OODScore(score, tuple(self.domains[k] for k in asked), reason)

    def scores(self, features: Array, tokens: int) -> list[float]:
        """OOD score of a picture for each kind, whatever is asked; arguments as of `assess`."""
        return [self._at(scores, size_class(tokens)) for scores in self._scores(features)]

    def _scores(self, features: Array) -> Array:
        """Distance over reach, (kinds, sizes)."""
        point = ((features - self.centre) / self.spread) @ self.axes
        apart = np.einsum("ksij,ksj->ksi", self.whiten, point - self.means)
        distance: Array = np.linalg.norm(apart, axis=-1)
        return distance / self.threshold

    def _dullness(self, detail: float, kind: int, tokens: int) -> float:
        """How far a picture falls short of the usual detail, 1 where hardly any known one does."""
        middle, least = (
            self._at(of[kind], size_class(tokens)) for of in (self.detail, self.detail_least)
        )
        return (middle - detail) / max(middle - least, 1e-6)

    @staticmethod
    def _at(scores: Array, size: int) -> float:
        known = np.flatnonzero(~np.isnan(scores))
        return float(scores[known[np.argmin(np.abs(known - size))]])

    def _colour_score(self, colours: Array, kind: int) -> float:
        apart = self.colour_whiten[kind] @ (colours - self.colour_mean[kind])
        return float(np.linalg.norm(apart) / self.colour_threshold[kind])


_ARRAYS = tuple(f.name for f in fields(OODDetector) if f.name not in ("domains", "wording"))


def save_detector(folder: Path, detector: OODDetector) -> None:
    """Write `FILE` beside the weights, whole or not at all."""
    from safetensors.numpy import save

    partial = folder / f"{FILE}.partial"
    arrays = {name: np.ascontiguousarray(getattr(detector, name)) for name in _ARRAYS}
    for name in ("axes", "whiten"):
        arrays[name] = arrays[name].astype(np.float16)
    words = {word: list(shares) for word, shares in detector.wording.shares.items()}
    about = json.dumps({"domains": detector.domains, "words": words})
    # one key: the library writes several in an order of chance
    partial.write_bytes(save(arrays, {"about": about}))
    os.replace(partial, folder / FILE)


def load_detector(folder: Path, name: str, signature: Array) -> OODDetector | None:
    """Read what `save_detector` wrote; None where there is none.

    Raises
    ------
    ModelError
        If the file is damaged, or was fitted on another vision encoder.
    """
    from safetensors import safe_open

    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {key: file.get_tensor(key).astype(np.float32) for key in _ARRAYS}
        words = {word: tuple(map(float, s)) for word, s in about["words"].items()}
        domains = tuple(map(str, about["domains"]))
    except Exception as error:  # whatever a damaged file makes json and safetensors raise
        raise ModelError(
            f"{FILE} of the model {name} is damaged; run pathreason calibrate again"
        ) from error
    fitted = arrays["signature"]
    # weights may have been loaded at half precision
    if fitted.shape != signature.shape or not np.allclose(fitted, signature, rtol=0.02, atol=1e-3):
        raise ModelError(
            f"{FILE} of the model {name} belongs to other weights; run pathreason calibrate again"
        )
    return OODDetector(domains, Wording(words), **arrays)

"""Whether a picture is unlike the training images: what is measured, and what it is held against.

Two things lie in the file beside a checkpoint's weights: how the training pictures of each domain
look to its own vision encoder (`OODDetector`), and which words ask about which domain (`Wording`).
`pathreason calibrate` fits both; an answer measures its picture in the pass that it takes anyway.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_bytes
from napari_pathreason.types import Messages, OODScore

from ._inputs import patchify
from .families import Normalisation

DETECTOR = "ood.safetensors"
"""Optional file beside the weights."""
LEAST_TOKENS = 6
"""Visual tokens below which a picture tells too little: at 4 of them skin passes as lymph node."""
_FLAT = 0.3
"""Grey levels below which detail is rounding alone."""
_TELLING = 5.0
"""A word speaks for a domain whose questions hold it so many times as often as any other's."""
_CLOSE = 4.5
"""A domain stays likely while the words speak for another less strongly than so many to one."""
_UNSEEN = 0.01

Array = NDArray[np.float32]


class FeatureHook:
    """Keeps mean and standard deviation over the patches behind the vision encoder's middle block.

    There stain, texture and scale still stand beside each other; later blocks keep what the task
    needs, and press a picture that is out of distribution among the others. The numbers come out
    of the pass that the answer needs anyway.

    Parameters
    ----------
    visual : vision encoder of one of Qwen's families
    """

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        self._block = middle_block(visual)
        # answers of several threads may be in the vision encoder at once
        self._passed = threading.local()
        self._handle = self._block.register_forward_hook(self._keep)

    def close(self) -> None:
        """Take the hook off."""
        self._handle.remove()

    def take(self) -> Array | None:
        """Numbers of the last picture of this thread, float32 (2 * hidden,); None if none."""
        tokens = self._take()
        return None if tokens is None else _statistics(tokens)

    def take_each(self, patches: Sequence[int]) -> list[Array]:
        """Numbers of pictures of so many patches that went through the vision encoder in one pass.

        Empty where none did.
        """
        tokens = self._take()
        return [] if tokens is None else [_statistics(t) for t in tokens.split(list(patches))]

    def _take(self) -> torch.Tensor | None:
        tokens: torch.Tensor | None = getattr(self._passed, "tokens", None)
        self._passed.tokens = None
        return tokens

    def signature(self) -> Array:
        """Some weights of the block, float32 (n,): which vision encoder the numbers come out of."""
        matrix = next(weights for weights in self._block.parameters() if weights.ndim == 2)
        weights = matrix.detach().float().flatten()[:512]
        return np.array(weights.cpu().numpy(), np.float32)

    @torch.inference_mode()
    def at(
        self, pixels: NDArray[np.uint8], patch: int, merge: int, normalisation: Normalisation
    ) -> Array:
        """Numbers of a picture (height, width, 3) that nothing is asked about."""
        values, grid = patchify(pixels, patch, merge, normalisation)
        device = next(self._block.parameters()).device
        self._visual(values.to(device), torch.tensor([grid], device=device))
        features = self.take()
        if features is None:
            raise RuntimeError("the vision encoder did not pass its middle block")
        return features

    def _keep(self, block: Any, inputs: Any, output: Any) -> None:
        tokens = output[0] if isinstance(output, tuple) else output
        self._passed.tokens = tokens.detach().float().flatten(0, -2)


def middle_block(visual: Any) -> Any:
    """The block of a vision encoder behind which pictures are compared."""
    return visual.blocks[(len(visual.blocks) - 1) // 2]


def _statistics(tokens: torch.Tensor) -> Array:
    """Mean and deviation over the patches, from float32 (patches, hidden)."""
    return torch.cat([tokens.mean(0), tokens.std(0, correction=0)]).cpu().numpy()


def colours(pixels: NDArray[np.uint8]) -> Array:
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
    domains.
    """
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    grey = pixels[:height, :width].mean(axis=2, dtype=np.float32)
    blocks = grey.reshape(height // 2, 2, width // 2, 2)
    finest = blocks - blocks.mean(axis=(1, 3), keepdims=True)
    return float(np.log(finest.std() + _FLAT))


def words_of(messages: Messages) -> frozenset[str]:
    """Words of what the user asks, choices included."""
    words: set[str] = set()
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part.get("type") == "text":
                words.update(re.findall(r"\w+", part["text"].casefold()))
    return frozenset(words)


@dataclass(frozen=True, slots=True)
class Wording:
    """How often the questions of each domain hold a word.

    Parameters
    ----------
    shares : mapping of str to tuple of float
        Word -> share of the questions of each domain that hold it.
    """

    shares: Mapping[str, tuple[float, ...]]

    def likely(self, words: Iterable[str], domains: int) -> list[int]:
        """Places of the domains that a question may be about; all where no word tells."""
        votes = [0.0] * domains
        for word in sorted(set(words)):
            shares = [share + _UNSEEN for share in self.shares.get(word, ())]
            if len(shares) < 2:
                continue
            second, first = sorted(shares)[-2:]
            if first >= _TELLING * second:  # words of every subject would drown the few that tell
                votes[shares.index(first)] += math.log(first / second)
        return [domain for domain, vote in enumerate(votes) if vote > max(votes) - math.log(_CLOSE)]


def learn_wording(questions: Sequence[tuple[int, frozenset[str]]], domains: int) -> Wording:
    """Count words in different questions, each (place of its domain, words)."""
    different = sorted(set(questions), key=lambda one: (one[0], sorted(one[1])))
    counts: dict[str, list[int]] = {}
    total = [0] * domains
    for domain, words in different:
        total[domain] += 1
        for word in words:
            counts.setdefault(word, [0] * domains)[domain] += 1
    return Wording(
        {
            word: tuple(round(n / max(whole, 1), 4) for n, whole in zip(row, total, strict=True))
            for word, row in sorted(counts.items())
        }
    )


def size_class(tokens: int) -> int:
    """Place in the budget grid of the budget nearest to a count of visual tokens, by ratio."""
    return int(np.argmin(np.abs(np.log(np.array(BUDGET_GRID) / max(tokens, 1)))))


@dataclass(frozen=True, slots=True, eq=False)
class OODDetector:
    """Domains of training pictures, each a normal distribution of the vision encoder's features.

    Distances are Mahalanobis's (Lee et al. 2018, arXiv:1807.03888, in a middle layer), in the
    space of the main axes of all training pictures together: what differs between domains stays
    visible that within one domain hardly varies. A picture is held against those of about as many
    visual tokens, as few tokens have other features than many.

    Parameters
    ----------
    domains : tuple of str
        Names, such as ``lymph node``.
    wording : Wording
    centre, spread : float array (numbers,)
        Of `FeatureHook` over all training pictures.
    axes : float array (numbers, axes)
    means : float array (domains, sizes, axes)
        NaN where a domain has no pictures of a size.
    whiten : float array (domains, sizes, axes, axes)
        Its product with a difference has the Mahalanobis distance as length.
    threshold : float array (domains, sizes)
        Distance up to which a picture is in distribution.
    colour_mean, colour_whiten, colour_threshold : float array (domains, 6), (.., 6, 6), (..,)
        The same of `colours`, for all sizes.
    detail, detail_least : float array (domains, sizes)
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
        """OOD score of a picture for a question; None below `LEAST_TOKENS`.

        Parameters
        ----------
        features : float array (numbers,)
            Of `FeatureHook`, from the pass that the answer needed.
        colours : float array (6,)
        detail : float
        tokens : int
            Visual tokens of the picture.
        words : iterable of str
            Of the question; it is held against the domains that they may be about.
        """
        if tokens < LEAST_TOKENS:
            return None
        likely = self.wording.likely(words, len(self.domains))
        here = self.scores(features, tokens)
        domain = min(likely, key=lambda k: here[k])
        reason, dull = "", self._dullness(detail, domain, tokens)
        if here[domain] <= 1 < dull:
            reason = "no fine detail: out of focus, or magnified"
        elif here[domain] > 1:
            others = [k for k in range(len(self.domains)) if k not in likely and here[k] <= 1]
            if others:
                other = min(others, key=lambda k: here[k])
                reason = f"it looks like those of {self.domains[other]}"
            elif np.nanmin(self._scores(features)[domain]) <= 1:
                reason = "the scale or sharpness differs"
            elif self._colour_score(colours, domain) > 1:
                reason = "the stain differs"
            else:
                reason = "the tissue or texture differs"
        score = max(float(here[domain]), dull)
        return OODScore(score, tuple(self.domains[k] for k in likely), reason)

    def scores(self, features: Array, tokens: int) -> list[float]:
        """OOD score of a picture for each domain; arguments as of `assess`."""
        return [self._at(scores, size_class(tokens)) for scores in self._scores(features)]

    def _scores(self, features: Array) -> Array:
        """Distance over threshold, (domains, sizes)."""
        point = ((features - self.centre) / self.spread) @ self.axes
        offset = np.einsum("ksij,ksj->ksi", self.whiten, point - self.means)
        distance: Array = np.linalg.norm(offset, axis=-1)
        return distance / self.threshold

    def _dullness(self, detail: float, domain: int, tokens: int) -> float:
        """How far a picture falls short of the usual detail, 1 at `detail_least`."""
        middle, least = (
            self._at(of[domain], size_class(tokens)) for of in (self.detail, self.detail_least)
        )
        return (middle - detail) / max(middle - least, 1e-6)

    @staticmethod
    def _at(scores: Array, size: int) -> float:
        fitted = np.flatnonzero(~np.isnan(scores))
        return float(scores[fitted[np.argmin(np.abs(fitted - size))]])

    def _colour_score(self, colours: Array, domain: int) -> float:
        offset = self.colour_whiten[domain] @ (colours - self.colour_mean[domain])
        return float(np.linalg.norm(offset) / self.colour_threshold[domain])


_ARRAYS = tuple(f.name for f in fields(OODDetector) if f.name not in ("domains", "wording"))


def save_detector(folder: Path, detector: OODDetector) -> None:
    """Write `DETECTOR` beside the weights."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(getattr(detector, name)) for name in _ARRAYS}
    for name in ("axes", "whiten"):
        arrays[name] = arrays[name].astype(np.float16)
    words = {word: list(shares) for word, shares in detector.wording.shares.items()}
    about = json.dumps({"domains": detector.domains, "words": words})
    # one key: the library writes several in any order
    with atomic_bytes(folder / DETECTOR) as file:
        file.write(save(arrays, {"about": about}))


def load_detector(folder: Path, name: str, signature: Array) -> OODDetector:
    """Read what `save_detector` wrote.

    Raises
    ------
    ModelError
        If the file is damaged, or was fitted on another vision encoder.
    """
    from safetensors import safe_open

    try:
        with safe_open(folder / DETECTOR, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            arrays = {key: file.get_tensor(key).astype(np.float32) for key in _ARRAYS}
        words = {word: tuple(map(float, s)) for word, s in about["words"].items()}
        domains = tuple(map(str, about["domains"]))
    except Exception as error:  # whatever a damaged file makes json and safetensors raise
        raise ModelError(
            f"{DETECTOR} of the model {name} is damaged; run pathreason calibrate again"
        ) from error
    fitted = arrays["signature"]
    # weights may have been loaded at half precision
    if fitted.shape != signature.shape or not np.allclose(fitted, signature, rtol=0.02, atol=1e-3):
        raise ModelError(
            f"{DETECTOR} of the model {name} belongs to other weights; "
            "run pathreason calibrate again"
        )
    return OODDetector(domains, Wording(words), **arrays)

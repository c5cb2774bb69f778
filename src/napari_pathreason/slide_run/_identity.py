"""To what kept answers belong, and what differs where they belong to something else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from napari_pathreason import exports, slides
from napari_pathreason.types import Encoder, SlideInfo

MOST_WORDS = 80
"""Characters of a setting in a line that says what differs."""


@dataclass(frozen=True, slots=True)
class AnswersKey:
    """To what the answers in a journal belong; those with another key are none of a run.

    Parameters
    ----------
    format : str
        Of the journal, and of the rules by which windows are laid and assessed.
    slide : str
        Its fingerprint; name and size where it is no file.
    model : str
        See `model_identity`.
    request : str
        SHA-256 over all that was asked, and over the slide's um per pixel.
    encoder : Encoder
        As of `Sources`.
    """

    format: str
    slide: str
    model: str
    request: str
    encoder: Encoder = "exact"


@dataclass(frozen=True, slots=True)
class Sources:
    """What is asked about, and what answers.

    Parameters
    ----------
    slide : SlideInfo
    fingerprint : str
        See `slide_fingerprint`.
    model : str
        See `model_identity`.
    encoder : Encoder
        That was chosen for its vision encoder.
    """

    slide: SlideInfo
    fingerprint: str
    model: str
    encoder: Encoder = "exact"


def key_of(form: str, sources: Sources, request: object) -> AnswersKey:
    """The key of answers to a request.

    Parameters
    ----------
    form : str
        Format of the journal.
    sources : Sources
    request : object
        Values for JSON: all that was asked.
    """
    slide = sources.slide
    words = json.dumps([request, slide.mpp], sort_keys=True)
    named = f"{slide.name}, {slide.width} x {slide.height} px"
    digest = hashlib.sha256(words.encode()).hexdigest()
    return AnswersKey(form, sources.fingerprint or named, sources.model, digest, sources.encoder)


def slide_fingerprint(slide: slides.Slide) -> str:
    """What tells a slide from any other by its content; empty where it is no file."""
    return "" if slide.path is None else exports.fingerprint(slide.path)


def model_identity(used: exports.UsedModel) -> str:
    """SHA-256 of all of a model that can change an answer; its name where that is out of reach.

    The precision that was chosen for its weights stands behind it.
    """
    content = used.sha256 or used.name
    return content if used.precision == "auto" else f"{content} as {used.precision}"


def differences(first: Mapping[str, object], this: Mapping[str, object]) -> list[str]:
    """Settings that are not the same, such as ``budget auto (now 64)``; names are the same."""
    return [
        f"{name} {_words(then)} (now {_words(this[name])})"
        for name, then in first.items()
        if then != this[name]
    ]


def other_sources(first: Sources, this: Sources) -> list[str]:
    """Whether slide, scale, model or its encoder are others."""
    slide, own = first.slide, this.slide
    same = first.fingerprint == this.fingerprint
    if same and not first.fingerprint:  # neither is a file
        same = (slide.name, slide.width, slide.height) == (own.name, own.width, own.height)
    encoders = {"encoder": first.encoder}, {"encoder": this.encoder}
    return [
        *([] if same else ["another slide"]),
        *(["another µm per pixel"] if slide.mpp != own.mpp else []),
        *(["another model or precision"] if first.model != this.model else []),
        *differences(*encoders),
    ]


def _words(value: object) -> str:
    if value == () or value == "":
        return "none"
    words = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return words if len(words) <= MOST_WORDS else f"{words[: MOST_WORDS - 3]}..."

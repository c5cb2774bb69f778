"""The cold start's rationales: facts that the labels state, each with a place.

``upper left: tumour; centre: crowded nuclei``. What is written here, the package's `confirmed`
reads back and holds against the same labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.tasks import PLACES
from napari_pathreason.training import samples

THINGS = ("white cell", "platelet")
"""Labels of small things, each of which is a fact."""
WHOLE = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")
"""Labels of tissue, which most pictures show throughout."""
LEAST = 0.02
"""Share of a ninth from which on a thing is there at all."""
TUMOUR, NO_TUMOUR, NO_NUCLEI = "tumour", "no tumour", "no nuclei"
WHOLE_PICTURE: samples.Corners = (0.0, 0.0, 1.0, 1.0)


class Fact(NamedTuple):
    """What a rationale cites; ``corners`` in shares of width and height hold what shows it."""

    place: str
    what: str
    corners: samples.Corners


def evidence(view: samples.View) -> str:
    """Rationale of a view: its `facts` in fixed phrases."""
    return "; ".join(f"{fact.place}: {fact.what}" for fact in facts(view))


def facts(view: samples.View) -> list[Fact]:
    """Facts that a rationale should cite: the first `MOST_FACTS`, in reading order."""
    return list(islice(_facts(view), samples.MOST_FACTS))


def target_pieces(
    sample: samples.Sample, view: samples.View, quantum: int
) -> list[samples.TargetPiece]:
    """Rationale and answer of a sample, cut where they begin to speak of another place.

    Parameters
    ----------
    sample, view : Sample, View
    quantum : int
        Box coordinates (0-1000) are rounded to multiples of it.
    """
    pieces = [samples.TargetPiece("<think>")]
    for number, fact in enumerate(facts(view)):
        text = f"{'; ' if number else ''}{fact.place}: {fact.what}"
        pieces.append(samples.TargetPiece(text, fact.corners))
    return [*pieces, samples.TargetPiece("</think>"), *samples.answer_pieces(sample, view, quantum)]


def phrases() -> list[str]:
    """Every phrase that a rationale may hold; a new tokenizer learns them."""
    what = (TUMOUR, NO_TUMOUR, NO_NUCLEI, samples.CROWDED, samples.SPARSE, *THINGS, *WHOLE)
    return [f"{place}: {each}" for place in (*PLACES, samples.THROUGHOUT) for each in what]


def _facts(view: samples.View) -> Iterator[Fact]:
    for label in WHOLE:
        shares = samples.coverage(view, label, (3, 3))
        if shares is not None and shares.max() >= LEAST:
            yield from _covered(label, shares)
    tumour = samples.coverage(view, TUMOUR, (3, 3))
    if tumour is not None:
        if tumour.max() < LEAST:
            yield _throughout(NO_TUMOUR)
        else:
            yield from _covered(TUMOUR, tumour)
    nuclei = samples.coverage(view, "nucleus", (3, 3))
    if nuclei is not None:
        for number, share in enumerate(nuclei.ravel()):
            if share >= samples.CROWDED_SHARE:
                yield _in_ninth(number, samples.CROWDED)
        if nuclei.max() < samples.CROWDED_SHARE:
            yield _throughout(samples.SPARSE if nuclei.max() > 0 else NO_NUCLEI)
    for label in THINGS:
        if label in view.known:
            for name, corners in view.areas:
                if name == label:
                    yield Fact(samples.place_of_box(corners), label, corners)


def _covered(what: str, shares: NDArray[np.float32]) -> Iterator[Fact]:
    """Throughout, or the ninths that a thing covers by half; the most covered one where none is."""
    if shares.min() > 0.9:
        yield _throughout(what)
        return
    for number, share in enumerate(shares.ravel()):
        if share >= 0.5 or (share == shares.max() and share < 0.5):
            yield _in_ninth(number, what)


def _throughout(what: str) -> Fact:
    return Fact(samples.THROUGHOUT, what, WHOLE_PICTURE)


def _in_ninth(number: int, what: str) -> Fact:
    row, column = divmod(number, 3)
    return Fact(PLACES[number], what, (column / 3, row / 3, (column + 1) / 3, (row + 1) / 3))

"""Rationales that can be checked: facts that labels state, each with a place.

The cold start of the mini recipe (docs/design.md): ``upper left: tumour; centre: crowded
nuclei``. `confirmed` reads such a rationale back and checks each cited fact against the labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from ._coverage import ALL_OF_IT, coverage
from ._places import PLACES
from ._sample import Corners
from ._view import View

THROUGHOUT = "throughout"
CROWDED, SPARSE = "crowded nuclei", "sparse nuclei"
CROWDED_SHARE, SPARSE_SHARE = 0.22, 0.12
MOST = 9  # facts in one rationale
SMALL = ("white cell", "platelet")
WHOLE = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")


class Fact(NamedTuple):
    """What a rationale cites; ``corners`` in shares of width and height hold what shows it."""

    place: str
    what: str
    corners: Corners


def evidence(view: View) -> str:
    """Facts of a view in fixed phrases."""
    return "; ".join(f"{fact.place}: {fact.what}" for fact in facts(view))


def facts(view: View) -> list[Fact]:
    """Facts that a rationale should cite: the first `MOST`, in reading order."""
    return list(islice(_facts(view), MOST))


def _facts(view: View) -> Iterator[Fact]:
    for label in WHOLE:
        if any(name == label for name, _ in view.areas):
            yield _throughout(label)
    tumour = coverage(view, "tumour", (3, 3))
    if tumour is not None:
        shares = tumour.ravel()
        if shares.max() < 0.02:
            yield _throughout("no tumour")
        elif shares.min() > 0.9:
            yield _throughout("tumour")
        else:
            for number, share in enumerate(shares):
                if share >= 0.5 or (share == shares.max() and share < 0.5):
                    yield _in_ninth(number, "tumour")
    nuclei = coverage(view, "nucleus", (3, 3))
    if nuclei is not None:
        for number, share in enumerate(nuclei.ravel()):
            if share >= CROWDED_SHARE:
                yield _in_ninth(number, CROWDED)
        if nuclei.max() < CROWDED_SHARE:
            yield _throughout(SPARSE if nuclei.max() > 0 else "no nuclei")
    for label in SMALL:
        if label in view.known:
            for name, corners in view.areas:
                if name == label:
                    yield Fact(_ninth(corners), label, corners)


def _throughout(what: str) -> Fact:
    return Fact(THROUGHOUT, what, ALL_OF_IT)


def _in_ninth(number: int, what: str) -> Fact:
    row, column = divmod(number, 3)
    return Fact(PLACES[number], what, (column / 3, row / 3, (column + 1) / 3, (row + 1) / 3))


def confirmed(rationale: str, view: View) -> tuple[int, int]:
    """Check cited facts against the labels of a view.

    Returns
    -------
    tuple of int
        (facts confirmed, facts cited); a phrase that is no fact counts as cited, not confirmed,
        and so does one that is said again, unless there are as many such things in that place.
    """
    cited = Counter(part.strip() for part in rationale.split(";") if part.strip())
    hold = sum(min(n, _times(part, view)) for part, n in cited.items() if _holds(part, view))
    return hold, cited.total()


def _times(phrase: str, view: View) -> int:
    """How often a fact that holds may be cited: once, or once for each small thing."""
    place, _, what = (part.strip() for part in phrase.partition(":"))
    things = [corners for name, corners in view.areas if name == what and name in SMALL]
    return max(1, sum(_ninth(corners) == place for corners in things))


def _ninth(corners: Corners) -> str:
    """The place in which the centre of a box lies."""
    x1, y1, x2, y2 = corners
    return PLACES[3 * min(int((y1 + y2) * 1.5), 2) + min(int((x1 + x2) * 1.5), 2)]


def _holds(phrase: str, view: View) -> bool:
    place, _, what = (part.strip() for part in phrase.partition(":"))
    if place != THROUGHOUT and place not in PLACES:
        return False
    if what in WHOLE:
        return any(name == what for name, _ in view.areas)
    absent = what.startswith("no ")
    label = "nucleus" if "nuclei" in what else what.removeprefix("no ")
    shares = coverage(view, label, (3, 3))
    if shares is None:
        return False
    share = float(shares.mean() if place == THROUGHOUT else shares.ravel()[PLACES.index(place)])
    if absent:
        return share == 0.0
    if what == CROWDED:
        return share >= CROWDED_SHARE
    if what == SPARSE:
        return 0.0 < share < CROWDED_SHARE
    if label == "tumour":  # a small one counts where most of it lies
        return share >= 0.3 or share == shares.max() >= 0.02
    return share > 0.0

"""What speaks against relying on an answer: of the question, the picture, the reply, the model.

One value carries it, `Reliability`; it stands before the answer in everything that leaves. Each
doubt has a level, the worst one is the answer's. The words hold no numbers of one picture: a run
over a whole slide counts them over its tiles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import types
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import abstains, as_trained, unknown_labels, untrained

LEAST_TISSUE = 0.01
"""Share of a picture; a small biopsy on a whole slide has more."""
MARGIN = 1.5
"""How far beyond the scales of its training images a model is still trusted, by ratio."""
UNLIKE = "unlike the training images"
MOST_DOMAINS = 2
"""Of the training images that are named where a picture is unlike them."""
MOST_UNREADABLE = 0.5
"""Share of a region beyond which what could be read says nothing of the whole."""


class Doubt(NamedTuple):
    """One thing that speaks against an answer, in plain words."""

    level: Literal["uncertain", "none"]
    reason: str


def assess(doubts: list[Doubt]) -> types.Reliability:
    """The worst of all doubts, its reasons first; reliable where there are none."""
    worst = [doubt.reason for doubt in doubts if doubt.level == "none"]
    others = [doubt.reason for doubt in doubts if doubt.level == "uncertain"]
    reasons = tuple(dict.fromkeys([*worst, *others]))
    return types.Reliability("none" if worst else "uncertain" if others else "reliable", reasons)


def join_doubt(reliability: types.Reliability, doubt: Doubt) -> types.Reliability:
    """A reliability with one more doubt; worse where that is."""
    if reliability.level == "reliable":
        return types.Reliability(doubt.level, (doubt.reason,))
    if doubt.level == "none" and reliability.level != "none":
        return types.Reliability("none", (doubt.reason, *reliability.reasons))
    return types.Reliability(reliability.level, (*reliability.reasons, doubt.reason))


def doubts_of(reliability: types.Reliability) -> tuple[Doubt, ...]:
    """What made a reliability, as far as it still tells: each reason at its level."""
    level = reliability.level
    return () if level == "reliable" else tuple(Doubt(level, why) for why in reliability.reasons)


def question_doubts(query: types.Query, model: types.ModelInfo) -> Iterator[Doubt]:
    """What is known before anything is read: whether the model can answer at all.

    Parameters
    ----------
    query : Query
    model : ModelInfo
    """
    if model.metadata is None:
        yield Doubt("uncertain", "this model does not say what it was trained on")
    elif why := untrained(query, model.metadata):
        yield Doubt("none", why)
    if model.calibration is None:
        can = model.server is None or model.server.logprobs
        remedy = "; `pathreason calibrate` does" if can else ""
        yield Doubt("uncertain", f"nobody has measured how reliable this model is{remedy}")


def picture_doubts(
    region: Region,
    mpp: tuple[float, float] | None,
    pixels: NDArray[np.uint8],
    unreadable: float,
    model: types.ModelInfo,
    ood: types.OODScore | None,
) -> Iterator[Doubt]:
    """What the region and its scale say.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    mpp : (float, float) or None
        um per level-0 pixel, (x, y).
    pixels : uint8 array (height, width, 3)
        The region as the model read it.
    unreadable : float
        Share of the region that is damaged.
    model : ModelInfo
    ood : OODScore or None
        None where the model could not tell.
    """
    from napari_pathreason.slides import tissue_share  # loads what reads files

    if tissue_share(pixels) < LEAST_TISSUE:
        yield Doubt(
            "none", "almost no tissue in this region, nor cells; mark a place that has some"
        )
    if ood is not None and ood.is_ood:
        # of a question that may be about anything, a list of all of them is no help
        against = f" ({_listing(ood.against)})" if len(ood.against) <= MOST_DOMAINS else ""
        yield Doubt("none", f"{UNLIKE}{against}: {ood.reason}")
    elif ood is None and model.comparable is not None:
        yield Doubt(
            "uncertain",
            "too few visual tokens to compare the picture with the training images; "
            "give a higher budget or mark a larger region",
        )
    elif ood is None and model.calibration is not None:
        yield Doubt("uncertain", "the picture could not be compared with the training images")
    if unreadable > 0:
        yield Doubt(
            "none" if unreadable > MOST_UNREADABLE else "uncertain",
            "part of the region is damaged and could not be read",
        )
    if mpp is not None and model.metadata is not None and model.metadata.mpp is not None:
        least, most = model.metadata.mpp
        scale = region.width * mpp[0] / pixels.shape[1]
        trained = f"than the training images ({least:g} to {most:g} µm per pixel)"
        if scale > most * MARGIN:
            yield Doubt(
                "uncertain",
                f"the region was read coarser {trained}; "
                "give a higher budget or mark a smaller region",
            )
        elif scale < least / MARGIN:
            yield Doubt(
                "uncertain",
                f"the region was read finer {trained}; give a lower budget or mark a larger region",
            )


def reply_doubts(
    completion: types.Completion,
    answer: types.Answer,
    confidence: float | None,
    model: types.ModelInfo,
) -> Iterator[Doubt]:
    """What the reply itself says.

    Parameters
    ----------
    completion : Completion
    answer : Answer
        Parsed from it.
    confidence : float or None
        Of the answer, 0 to 1; None where it is not known.
    model : ModelInfo
    """
    if completion.finish == "broken":
        yield Doubt("uncertain", "the server broke off in the middle of the reply")
    if not answer.readable:
        yield Doubt("none", "the model's reply could not be read")
        return
    if abstains(answer.text):
        yield Doubt("none", "the model says that it cannot tell")
    if completion.finish == "length":
        yield Doubt("uncertain", "the reply was cut off")
    elif not answer.well_formed and completion.finish != "broken":
        yield Doubt("uncertain", "the reply did not keep to the form of an answer")
    least = (model.calibration or types.Calibration()).least
    if confidence is None:
        if model.server is not None and not model.server.logprobs:
            yield Doubt("uncertain", "this server gives no probabilities, so no confidence")
        elif not answer.boxes:
            yield Doubt("uncertain", "the model tells no confidence")
    elif confidence < least:
        yield Doubt("uncertain", "low confidence; look for yourself, or ask at another budget")


def windows_doubts(
    readings: Sequence[types.Reading], support: Sequence[int], *, found: bool, read_share: float
) -> Iterator[Doubt]:
    """What the windows of a region say of the answer that was put together from theirs.

    Parameters
    ----------
    readings : sequence of Reading
        Each of a window by itself.
    support : sequence of int
        Places of those that the answer rests on.
    found : bool
        Whether it says that something is there, which one window can show; that nothing is there
        takes all of them.
    read_share : float
        Of the windows that are not of glass, how many were read, 0 to 1.
    """
    if not readings:
        yield Doubt("none", "no window of the region could be read")
        return
    if not found and read_share < 1:
        yield Doubt(
            "uncertain", "only a part of the specimen was read; what lies elsewhere is unknown"
        )
    resting = [readings[place] for place in support] or list(readings)
    joined = join_reliability([reading.reliability for reading in resting], "windows")
    if joined.level != "reliable":
        for reason in joined.reasons:
            yield Doubt(joined.level, reason)


def join_reliability(parts: Sequence[types.Reliability], of: str) -> types.Reliability:
    """Reliability of one answer that was put together from those of parts.

    Reliable where all parts are, none where most are. Each reason tells how many parts it concerns,
    those that left a part without a reliable answer first.

    Parameters
    ----------
    parts : sequence of Reliability
        At least one.
    of : str
        What they are, such as ``windows``.
    """
    levels = Counter(one.level for one in parts)
    if levels["reliable"] == len(parts):
        return types.Reliability("reliable")
    counts = Counter(reason for one in parts for reason in one.reasons)
    worst = {one.reasons[0] for one in parts if one.level == "none" and one.reasons}
    ordered = sorted(counts, key=lambda reason: (reason not in worst, -counts[reason], reason))
    return types.Reliability(
        "none" if 2 * levels["none"] > len(parts) else "uncertain",
        tuple(in_part(reason, counts[reason], len(parts), of) for reason in ordered),
    )


def in_part(reason: str, count: int, total: int, of: str) -> str:
    """A reason with how many of all it concerns, such as ``low confidence (3 of 16 windows)``."""
    return reason if count == total else f"{reason} ({count:,} of {total:,} {of})"


def foreseen(query: types.Query, model: types.ModelInfo) -> types.Reliability:
    """How reliable an answer can be at best, before it is asked for; see `question_doubts`.

    Labels that the model cannot look for, which the engine refuses, are among the reasons. Choices
    that the model was trained to see behind a question are taken to stand there.
    """
    query = as_trained(query, model.metadata)
    doubts = list(question_doubts(query, model))
    if model.metadata is not None and (unknown := unknown_labels(query, model.metadata)):
        doubts.insert(0, Doubt("none", f"cannot look for {', '.join(unknown)}"))
    return assess(doubts)


def _listing(names: tuple[str, ...]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last

"""What a region shows, from the answers of its windows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from napari_pathreason.geometry import Region
from napari_pathreason.types import Answer, Detection, Query, Reading

from ._combine_choices import (
    Answered,
    Combined,
    any_present,
    combine_choices,
    finding_of,
    most_confident,
    states_absence,
)
from ._combine_places import asks_place, combine_places
from ._merge_boxes import MergedBox, merge_boxes
from ._numbers import MOST_DIGITS, abstains
from ._sum_counts import CountEstimate, outermost, share_read, sum_counts
from ._topics import form_of

RANKS = {"overview": 0, "picture": 1, "region": 1, "window": 1, "zoom": 2}
"""How finely a view looks; see `merge_boxes`."""
WITHIN = 0.2
"""Confidence of a count is the probability that it lies no further from the truth than this share
of it."""
INSIDE = 0.9
"""Share of a view within another from which it shows nothing else to count."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An answer about a region from the readings of its windows.

    Parameters
    ----------
    answer : Answer
        Without boxes of its own: `detections` holds them, on the slide. Its rationale cites views
        by their names, a line each (see `cited_views`); its reply holds only those that could not
        be read.
    confidence : float or None
        As of `Result`.
    detections : tuple of Detection
        Level-0 pixels, from top to bottom.
    support : tuple of int
        Readings that the answer rests on, the most telling first.
    notes : tuple of str
        What must be said with the answer: how much was read, what could not be, what contradicts.
    estimate : CountEstimate or None
        Of a count.
    sources : tuple of tuple of int
        Of each detection, the readings that saw it.
    """

    answer: Answer
    confidence: float | None = None
    detections: tuple[Detection, ...] = ()
    support: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    estimate: CountEstimate | None = None
    sources: tuple[tuple[int, ...], ...] = ()


def aggregate(
    query: Query,
    readings: Sequence[Reading],
    region: Region,
    unread: Sequence[Region] = (),
    strata: Sequence[int] = (),
    apart: Iterable[str] = (),
) -> Aggregate:
    """Join the readings of a region's views, each read by itself, to one answer.

    Boxes are joined across borders (`merge_boxes`), counts summed and what was not read estimated
    (`sum_counts`), a finding in one window is one of the region (`any_present`), a choice that of
    the most confident window (`combine_choices`, `most_confident`). A reading whose answer cannot
    be read says nothing: neither no nor none; its window counts as not read.

    One reading, with nothing left unread, is its own answer.

    Parameters
    ----------
    query : Query
    readings : sequence of Reading
        At least one.
    region : Region
        What was asked about, level-0 pixels.
    unread : sequence of Region
        Windows that may hold something and were not read.
    strata : sequence of int
        Of each reading, then of each of ``unread``; see `sum_counts`. Empty for a single one.
    apart : iterable of str
        Labels of small things; see `merge_boxes`.

    Raises
    ------
    ValueError
        If there is no reading.
    """
    if not readings:
        raise ValueError("there is no reading to make an answer of")
    form = form_of(query)
    if len(readings) == 1 and not unread:
        return _alone(readings[0], form == "count")
    known = [index for index, one in enumerate(readings) if one.answer.readable]
    if not known:
        notes = ("the reply of no view could be read",)
        return Aggregate(_answer("", readings, ()), notes=notes)
    scene = _Scene(query, tuple(readings), region, tuple(unread), tuple(strata), known)
    if form == "boxes":
        return _boxes(scene, tuple(apart))
    if form == "count":
        return _count(scene)
    answers: list[Answered] = [(one.answer.text, one.confidence) for one in readings]
    if form == "yes/no":
        found = any_present(*_yes_or_no(query, answers))
        return _words(scene, found if found.text else most_confident(answers))
    if asks_place(query):
        windows = [one.view.region for one in readings]
        return _words(scene, combine_places(answers, windows, region, query.options))
    if query.options:
        return _words(scene, combine_choices(answers, query.options))
    return _words(scene, most_confident(answers))


def is_vote(query: Query) -> bool:
    """Whether each window tells something of the whole, and they vote.

    So it is with choices of which none says that something is not there, such as *dense* and
    *sparse*: a fair sample of the region answers, not the windows that are unlike the rest. A
    subtype is that of a lesion, wherever it lies, and a place is seen by where its windows lie.
    """
    absent = any(states_absence(one, query.options) for one in query.options)
    closed = query.task == "vqa" and form_of(query) == "choice"
    return closed and not absent and not asks_place(query)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What there is to join; ``known`` are the readings whose answers can be read."""

    query: Query
    readings: tuple[Reading, ...]
    region: Region
    unread: tuple[Region, ...]
    strata: tuple[int, ...]
    known: list[int]

    @property
    def read_share(self) -> float:
        """Share of the specimen, of tissue or cells, that views whose answers can be read cover."""
        known = set(self.known)
        lost = [one for index, one in enumerate(self.readings) if index not in known]
        return share_read(
            self.region,
            [self.readings[index].view.region for index in self.known],
            [*(one.view.region for one in lost), *self.unread],
        )

    @property
    def unreadable(self) -> list[str]:
        """What could not be read."""
        missing = len(self.readings) - len(self.known)
        replies = "the reply of 1" if missing == 1 else f"the replies of {missing}"
        return [f"{replies} of {len(self.readings)} views could not be read"] if missing else []

    @property
    def notes(self) -> list[str]:
        """What could not be read, and how much was not."""
        partly = [f"{_percent(self.read_share)} of the specimen was read"] if self.unread else []
        return self.unreadable + partly


def _alone(reading: Reading, is_count: bool) -> Aggregate:
    """A single reading is its own answer."""
    number = _number(reading) if is_count else None
    return Aggregate(
        reading.answer,
        reading.confidence,
        reading.detections,
        (0,),
        estimate=None if number is None else CountEstimate(number, number, number, 1.0),
        sources=((0,),) * len(reading.detections),
    )


def _boxes(scene: _Scene, apart: Sequence[str]) -> Aggregate:
    readings, known = scene.readings, scene.known
    found = merge_boxes(
        [(readings[index].view.region, readings[index].detections) for index in known],
        apart,
        [RANKS[readings[index].view.role] for index in known],
    )
    sources = tuple(tuple(known[part] for part in one.parts) for one in found)
    saw = Counter(index for parts in sources for index in parts)
    support = tuple(sorted(saw, key=lambda index: (-saw[index], index))) or tuple(known)
    text = ", ".join(f"{n} {label}" for label, n in _counted(found).items()) or "none found"
    return Aggregate(
        _answer(text, readings, support),
        _confidence_of_boxes(scene, found),
        tuple(one.detection for one in found),
        support,
        tuple(scene.notes),
        sources=sources,
    )


def _counted(found: Sequence[MergedBox]) -> Counter[str]:
    return Counter(one.detection.label for one in found)


def _confidence_of_boxes(scene: _Scene, found: Sequence[MergedBox]) -> float | None:
    """The mean of the boxes'; of none, as any window's that is most in doubt."""
    values = [
        *(one.detection.confidence for one in found),
        *(() if found else (one.confidence for one in scene.readings)),
    ]
    known = [value for value in values if value is not None]
    if len(known) < len(values) or (not found and len(scene.known) < len(scene.readings)):
        return None
    return math.fsum(known) / len(known) if found else min(known)


def _count(scene: _Scene) -> Aggregate:
    """The sum over windows; overviews count only where there are no windows.

    Of a view within another the wider one counts, as the things that it was read for would count
    twice. Where most windows cannot tell, nor can all of them together: what is asked about is not
    to be counted here, and the few that give a number are likelier wrong.
    """
    readings, strata = scene.readings, scene.strata
    silent = [index for index in scene.known if abstains(readings[index].answer.text)]
    if 2 * len(silent) > len(scene.known):
        return _abstention(scene, silent)
    numbers = {
        index: number for index in scene.known if (number := _number(readings[index])) is not None
    }
    used = _side_by_side(scene, numbers)
    if not used:
        return Aggregate(_answer("", readings, ()), notes=(*_limits(scene), *scene.notes))
    lost = [
        index
        for index, one in enumerate(readings)
        if index not in numbers and one.view.role == "window"
    ]
    errors = [_error(numbers[index], readings[index].confidence) for index in used]
    estimate = sum_counts(
        scene.region,
        [readings[index].view.region for index in used],
        [numbers[index] for index in used],
        [*(readings[index].view.region for index in lost), *scene.unread],
        [*(strata[index] for index in used + lost), *strata[len(readings) :]] if strata else (),
        [error for error in errors if error is not None] if None not in errors else (),
    )
    support = tuple(sorted(used, key=lambda index: (-numbers[index], index)))
    return Aggregate(
        _answer(str(round(estimate.total)), readings, support),
        _confidence_of_count(scene, estimate, used),
        (),
        support,
        (*_interval(estimate), *_limits(scene), *scene.unreadable),
        estimate,
    )


def _abstention(scene: _Scene, silent: Sequence[int]) -> Aggregate:
    """That the region cannot be counted, as confident as its windows are of that together."""
    readings = scene.readings
    values = [readings[index].confidence for index in silent]
    known = [value for value in values if value is not None]
    whole = len(known) == len(values)
    confidence = math.fsum(known) / len(scene.known) if whole else None
    support = sorted(silent, key=lambda index: (-(readings[index].confidence or 0.0), index))
    others = len(scene.known) - len(silent)
    against = (f"{others} of {len(scene.known)} views give a number",) if others else ()
    return Aggregate(
        _answer(readings[support[0]].answer.text, readings, support),
        confidence,
        support=tuple(support),
        notes=(*against, *scene.notes),
    )


def _side_by_side(scene: _Scene, numbers: dict[int, float]) -> list[int]:
    """Readings to be summed: none that lies within another."""
    readings = scene.readings
    of_windows = [index for index in numbers if readings[index].view.role != "overview"]
    # the widest first; of equal ones the one that was read at most tokens, then the latest
    order = sorted(
        of_windows or numbers,
        key=lambda i: (-readings[i].view.region.box.area, -readings[i].visual_tokens, -i),
    )
    chosen = outermost([readings[index].view.region for index in order], INSIDE)
    return sorted(order[place] for place in chosen)


def _number(reading: Reading) -> float | None:
    """The number that a reading counts; None where it gives a limit, or cannot tell."""
    text = reading.answer.text.strip()
    whole, _, _ = text.partition(".")
    if not text.replace(".", "", 1).isdecimal() or len(whole) > MOST_DIGITS:
        return None
    return float(text)


def _limits(scene: _Scene) -> list[str]:
    """What views say that is no number."""
    names_by_text: dict[str, list[str]] = {}
    for one in (scene.readings[index] for index in scene.known):
        if _number(one) is None:
            names_by_text.setdefault(one.answer.text, []).append(one.view.name)
    return [
        f"{names[0]} says: {text}" if len(names) == 1 else f"{len(names)} views say: {text}"
        for text, names in names_by_text.items()
    ]


def _error(count: float, confidence: float | None) -> float | None:
    """Standard error of a count that lies within a fifth of the truth with this probability.

    Errors are taken to be normal. Nothing follows from it where nothing was counted.
    """
    from scipy.special import ndtri

    if confidence is None:
        return None
    quantile = float(ndtri((1 + min(max(confidence, 0.01), 1 - 1e-6)) / 2))
    return WITHIN * count / quantile


def _confidence_of_count(
    scene: _Scene, estimate: CountEstimate, used: Sequence[int]
) -> float | None:
    """Probability that a count lies within a fifth of the truth, of none that there is none."""
    known = [c for index in used if (c := scene.readings[index].confidence) is not None]
    if len(known) < len(used):
        return None
    if estimate.total > 0:
        if estimate.error <= 0:
            return 1.0
        return math.erf(WITHIN * estimate.total / (estimate.error * math.sqrt(2)))
    return min(known) if estimate.exact else None


def _interval(estimate: CountEstimate) -> tuple[str, ...]:
    """How much a count is an estimate; nothing where it is none."""
    share = estimate.read_share
    partly = f"{_percent(share)} of the specimen was read" if share < 0.995 else ""
    if estimate.exact:
        return ()
    words = f"95 % interval {_rounded(estimate.low)} to {_rounded(estimate.high)}"
    about = f"about {_rounded(estimate.total)}" if partly else f"{round(estimate.total):,}"
    return (f"{about} ({words}; {partly or 'by the confidence of the windows'})",)


def _words(scene: _Scene, combined: Combined) -> Aggregate:
    against = (combined.contradictions,) if combined.contradictions else ()
    return Aggregate(
        _answer(combined.text, scene.readings, combined.support),
        combined.confidence,
        support=combined.support,
        notes=(*against, *scene.notes),
    )


def _yes_or_no(
    query: Query, answers: Sequence[Answered]
) -> tuple[list[Answered], tuple[str, ...], str]:
    """Answers as one of yes and no, those two as they are written, and which of them is a finding.

    A question without choices may be answered in a sentence; its first word counts.
    """
    finding = finding_of(query.question)
    if query.options:
        return list(answers), query.options, finding
    first = [(text.strip().partition(" ")[0].strip(",.;:!"), c) for text, c in answers]
    return first, ("yes", "no"), finding


def _answer(text: str, readings: Sequence[Reading], support: Sequence[int]) -> Answer:
    """An answer whose rationale is that of the views that it rests on, a line each."""
    cited = [readings[index] for index in support if readings[index].answer.rationale]
    unreadable = [one for one in readings if not one.answer.readable]
    return Answer(
        "\n".join(f"{one.view.name}: {' '.join(one.answer.rationale.split())}" for one in cited),
        text,
        well_formed=bool(text) and all(one.answer.well_formed for one in readings),
        reply="\n".join(f"{one.view.name}: {one.answer.reply}" for one in unreadable),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "less than 1 %"


def _rounded(number: float) -> str:
    """A whole number, of two digits that count where it is large: it is an estimate."""
    step = 10 ** max(0, math.floor(math.log10(number)) - 1) if number >= 1 else 1
    return f"{round(number / step) * step:,}"

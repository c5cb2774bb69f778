"""Rows of figures: each way on each set and kind of question, with intervals over sources.

Regions show the same sources again and again, so that neither are independent. Both are drawn
with replacement: a region counts as often as it was drawn, times the mean of how often its sources
were (the pigeonhole bootstrap, Owen 2007, doi:10.1214/07-AOAS122, which errs on the wide side).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.training.samples import Pictures

from .answers import LargeAnswer, LargeQuestion, Scored, score
from .choosing import Way

ALL = "all"
CONSTANT = "constant"
"""The best fixed answer to each kind of question, chosen with the labels in hand."""
DRAWS = 1000
SMALL = 4
"""Tiles of a small lesion, at the most."""

Part = tuple[float, float]
"""What an answer adds above and below the fraction line."""
Measure = Callable[[Scored], Part | None]


def _recall(small: bool) -> Measure:
    def part(one: Scored) -> Part | None:
        lesion = one.question.lesion
        if one.boxes is None or lesion == 0 or (lesion <= SMALL) != small:
            return None
        return float(one.boxes[1]), float(one.boxes[3])

    return part


def _f1(place: int) -> Measure:
    def part(one: Scored) -> Part | None:
        if one.boxes is None:
            return None
        return 2.0 * one.boxes[place], float(one.boxes[2] + one.boxes[3])

    return part


def _empty_right(one: Scored) -> Part | None:
    if one.boxes is None or one.boxes[3]:
        return None
    return float(one.boxes[2] == 0), 1.0


def _well_formed(one: Scored) -> Part | None:
    return float(one.answer.well_formed), 1.0


MEASURES: Mapping[str, Measure] = {
    "f1": _f1(0),
    "f1_touching": _f1(1),
    "recall_small": _recall(True),
    "recall_large": _recall(False),
    "empty_right": _empty_right,
    "well_formed": _well_formed,
}
"""Beside the score: F1 of boxes at an overlap of 0.5 and at any; share of the lesions of up to
`SMALL` tiles, and of larger ones, that a box touches; regions without things where no box is."""


@dataclass(frozen=True, slots=True)
class LargeRow:
    """Figures of one way, or of `CONSTANT`, on some questions.

    Parameters
    ----------
    form, split : str
    dataset, topic : str
        ``all`` where a row spans several; over sets it is the mean of them.
    policy, budget : str
    values : mapping of str to float
        ``n`` questions, ``score`` with ``low`` and ``high`` (95 %), means of ``tokens``, ``flops``
        and ``windows``, ``share_of_native``, the median of ``seconds``; `MEASURES` where they say
        something, ``X_low`` and ``X_high`` of X.
    """

    form: str
    split: str
    dataset: str
    topic: str
    policy: str
    budget: str
    values: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The row as plain values for JSON."""
        identity = {
            "form": self.form,
            "split": self.split,
            "set": self.dataset,
            "topic": self.topic,
            "policy": self.policy,
            "budget": self.budget,
        }
        return identity | {name: _short(value) for name, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher one way scores than another on the same questions, with 95 %."""

    form: str
    split: str
    dataset: str
    way: str
    other: str
    difference: float
    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """The difference as plain values for JSON."""
        return {
            "form": self.form,
            "split": self.split,
            "set": self.dataset,
            "way": self.way,
            "other": self.other,
            "difference": _short(self.difference),
            "low": _short(self.low),
            "high": _short(self.high),
        }


class Resampling:
    """How often each region of a set counts in each draw.

    Parameters
    ----------
    sources : mapping of str to mapping of str to int
        Of each region, by its picture, how many of its pieces show a source.
    seed : int
    draws : int
    """

    def __init__(
        self, sources: Mapping[str, Mapping[str, int]], seed: int = 0, draws: int = DRAWS
    ) -> None:
        self.regions = {image: place for place, image in enumerate(sorted(sources))}
        names = sorted({name for own in sources.values() for name in own})
        places = {name: place for place, name in enumerate(names)}
        shares = np.zeros((len(names), len(self.regions)))
        for image, region in self.regions.items():
            for name, pieces in sources[image].items():
                shares[places[name], region] = pieces / sum(sources[image].values())
        rng = np.random.default_rng(seed)
        of_regions, of_sources = (
            rng.multinomial(n, np.full(n, 1 / n), draws) for n in (len(self.regions), len(names))
        )
        self.weights: NDArray[np.float64] = of_regions * (of_sources @ shares)
        """Float64 (draws, regions)."""

    def ratios(self, scored: Sequence[Scored], measure: Measure) -> tuple[float, NDArray[Any]]:
        """A measure, and it in each draw, float64 (draws,); NaN where nothing speaks to it."""
        parts = np.zeros((len(self.regions), 2))
        for one in scored:
            if (part := measure(one)) is not None:
                parts[self.regions[str(one.question.sample.image)]] += part
        sums = self.weights @ parts
        above, below = parts.sum(0)
        with np.errstate(invalid="ignore"):
            return above / below if below else np.nan, sums[:, 0] / sums[:, 1]


def _score(one: Scored) -> Part:
    return one.score, 1.0


Answered = Mapping[str, LargeAnswer]
"""Answers to one question by way."""


@dataclass(frozen=True, slots=True)
class Table:
    """All rows, and the differences that were wanted."""

    rows: Sequence[LargeRow]
    differences: Sequence[Difference]


def make_table(
    answered: Sequence[tuple[LargeQuestion, Answered]],
    ways: Sequence[Way],
    pictures: Mapping[str, Pictures],
    pairs: Sequence[tuple[Way, Way]] = (),
    seed: int = 0,
) -> Table:
    """Rows of every form, set and topic, and of the mean of sets.

    Parameters
    ----------
    answered : sequence of (LargeQuestion, mapping of str to LargeAnswer)
        Each question with its answers by way.
    ways : sequence of Way
    pictures : mapping of str to Pictures
        By form.
    pairs : sequence of (Way, Way)
        Which ways to hold against one another.
    seed : int
    """
    groups: dict[tuple[str, str], list[tuple[LargeQuestion, Answered]]] = defaultdict(list)
    for question, answers in answered:
        groups[question.form, question.split].append((question, answers))
    rows: list[LargeRow] = []
    differences: list[Difference] = []
    for (form, split), own in groups.items():
        table = _OneForm(form, split, own, pictures[form], seed)
        for way in ways:
            rows += table.rows(way.policy, way.spent, table.scored(str(way)))
        rows += table.rows(CONSTANT, "", table.constant())
        for way, other in pairs:
            differences += table.differences(str(way), str(other))
    return Table(rows, differences)


class _OneForm:
    """The questions of one form and split, and their answers."""

    def __init__(
        self,
        form: str,
        split: str,
        answered: Sequence[tuple[LargeQuestion, Answered]],
        pictures: Pictures,
        seed: int,
    ) -> None:
        self._form, self._split = form, split
        self._answered, self._pictures = answered, pictures
        self._native = [_native_flops(answers) for _, answers in answered]
        self.datasets = list(dict.fromkeys(question.dataset for question, _ in answered))
        self._draws = {
            dataset: Resampling(
                {str(q.sample.image): q.sources for q, _ in answered if q.dataset == dataset}, seed
            )
            for dataset in self.datasets
        }

    def scored(self, way: str) -> list[Scored]:
        return [score(q, answers[way], self._pictures) for q, answers in self._answered]

    def constant(self) -> list[Scored]:
        """The best fixed answer of each topic; of boxes there being none."""
        kinds: dict[tuple[str, str], list[LargeQuestion]] = defaultdict(list)
        for question, _ in self._answered:
            kinds[question.dataset, question.sample.topic].append(question)
        best: dict[tuple[str, str], list[Scored]] = {}
        for kind, questions in kinds.items():
            # sorted, so that of equally good ones it is the same one each time
            texts = sorted({question.sample.answer for question in questions})
            tried = [[self._fixed(question, text) for question in questions] for text in texts]
            best[kind] = max(tried, key=lambda fixed: sum(one.score for one in fixed))
        by_key = {one.question.key: one for fixed in best.values() for one in fixed}
        return [by_key[question.key] for question, _ in self._answered]

    def _fixed(self, question: LargeQuestion, text: str) -> Scored:
        fixed = "none found" if question.sample.task == "detection" else text
        words = question.sample.question
        answer = LargeAnswer(
            *question.key, words, CONSTANT, fixed, (), True, None, (), 0, 0.0, 0.0, 0, 0.0
        )
        return score(question, answer, self._pictures)

    def rows(self, policy: str, budget: str, scored: Sequence[Scored]) -> Iterator[LargeRow]:
        by_set: list[tuple[Mapping[str, float], NDArray[Any]]] = []
        for dataset in self.datasets:
            places = [i for i, (q, _) in enumerate(self._answered) if q.dataset == dataset]
            topics = dict.fromkeys(scored[place].question.sample.topic for place in places)
            for topic in (*topics, ALL):
                own = [i for i in places if topic in (ALL, scored[i].question.sample.topic)]
                values, draws = self._values(dataset, own, scored, costs=policy != CONSTANT)
                yield LargeRow(self._form, self._split, dataset, topic, policy, budget, values)
                if topic == ALL:
                    by_set.append((values, draws))
        values = _mean_of_sets(by_set)
        yield LargeRow(self._form, self._split, ALL, ALL, policy, budget, values)

    def _values(
        self, dataset: str, places: Sequence[int], scored: Sequence[Scored], costs: bool
    ) -> tuple[dict[str, float], NDArray[Any]]:
        own = [scored[place] for place in places]
        draws = self._draws[dataset]
        mean, of_draws = draws.ratios(own, _score)
        values = {"n": float(len(own)), "score": mean} | _bounds("", of_draws)
        for name, measure in MEASURES.items():
            value, spread = draws.ratios(own, measure)
            if not np.isnan(value):
                values |= {name: value} | _bounds(f"{name}_", spread)
        if costs:
            answers = [one.answer for one in own]
            native = float(np.mean([self._native[place] for place in places]))
            flops = float(np.mean([answer.flops for answer in answers]))
            values |= {
                "windows": float(np.mean([len(answer.views) for answer in answers])),
                "tokens": float(np.mean([answer.tokens for answer in answers])),
                "flops": flops,
                "flops_native": native,
                "share_of_native": flops / native,
                "pixels": float(np.mean([answer.pixels for answer in answers])),
                "seconds": float(np.median([answer.seconds for answer in answers])),
            }
        return values, of_draws

    def differences(self, way: str, other: str) -> Iterator[Difference]:
        scored = self.scored(way)
        others = {one.question.key: one.score for one in self.scored(other)}

        def gain(one: Scored) -> Part:
            return one.score - others[one.question.key], 1.0

        means: list[float] = []
        spreads: list[NDArray[Any]] = []
        for dataset in self.datasets:
            own = [one for one in scored if one.question.dataset == dataset]
            mean, draws = self._draws[dataset].ratios(own, gain)
            means.append(mean)
            spreads.append(draws)
            yield self._difference(dataset, way, other, mean, draws)
        whole = np.mean(spreads, axis=0)
        yield self._difference(ALL, way, other, float(np.mean(means)), whole)

    def _difference(
        self, dataset: str, way: str, other: str, mean: float, draws: NDArray[Any]
    ) -> Difference:
        low, high = np.nanquantile(draws, (0.025, 0.975))
        where = self._form, self._split, dataset
        return Difference(*where, way, other, mean, float(low), float(high))


def _native_flops(answers: Answered) -> float:
    """FLOPs of all windows at native size: as realised, or as an answer by windows reckons."""
    for way, answer in answers.items():
        if way.startswith("native_windows"):
            return answer.flops
    reckoned = [a.flops_native for way, a in answers.items() if not way.startswith("one_view")]
    return float(np.median(reckoned)) if reckoned else np.nan


def _mean_of_sets(
    by_set: Sequence[tuple[Mapping[str, float], NDArray[Any]]],
) -> dict[str, float]:
    names = ("score", "windows", "tokens", "flops", "flops_native", "pixels", "seconds")
    values = {"n": sum(own["n"] for own, _ in by_set)}
    for name in names:
        known = [own[name] for own, _ in by_set if name in own]
        if known:
            values[name] = float(np.mean(known))
    if "flops" in values:
        values["share_of_native"] = values["flops"] / values["flops_native"]
    return values | _bounds("", np.mean([draws for _, draws in by_set], axis=0))


def _bounds(prefix: str, draws: NDArray[Any]) -> dict[str, float]:
    low, high = np.nanquantile(draws, (0.025, 0.975))
    return {f"{prefix}low": float(low), f"{prefix}high": float(high)}


def _short(value: float) -> float | None:
    """Four digits behind the point; large numbers as whole ones, none where nothing is known."""
    if np.isnan(value):
        return None
    return round(value) if abs(value) >= 1e5 else round(value, 4)

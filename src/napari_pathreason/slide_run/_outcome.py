"""All tiles of a run together as one result, and its lesions or classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from napari_pathreason import engine
from napari_pathreason.budgets import native_tokens
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, Answer, Reliability, Result, SlideInfo, TokenReport

from ._classes import ClassShare, class_shares, shares_line
from ._merge import Lesion, lesions_of
from ._plan import RunPlan
from ._record import Tally, TileRecord, reliability_of, tally_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Parameters
    ----------
    plan : RunPlan
    result : Result
        About the whole slide, as if it were one answer: its detections are the lesions, its
        answer says what was found or how large classes are, its tokens are the sums of the tiles,
        native the tokens of the whole slide.
    lesions : tuple of Lesion
        None where tiles have classes.
    records : tuple of TileRecord
        In the order of the tiles.
    """

    plan: RunPlan
    result: Result
    lesions: tuple[Lesion, ...]
    records: tuple[TileRecord, ...]

    @property
    def tally(self) -> Tally:
        """How far the tiles may be relied on; said before the lesions."""
        return tally_of(self.records)

    @property
    def classes(self) -> tuple[ClassShare, ...]:
        """How much of the slide is of each class; empty where boxes were looked for."""
        return class_shares(self.plan, self.records) if self.plan.classes else ()

    @property
    def unreadable(self) -> int:
        """Tiles whose part of the file is damaged."""
        return sum(record.unreadable for record in self.records)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of tiles, for files: by what became of them, and by level of reliability."""
        tally = self.tally
        return {
            "all": len(self.plan.tiles),
            "read": len(self.records) - self.unreadable,
            "unreadable": self.unreadable,
            "unknown": tally.unknown,
            "reliable": tally.reliable,
            "uncertain": tally.uncertain,
            "none": tally.none,
        }

    def results(self) -> Iterator[Result]:
        """For each lesion the result with the words and tokens of the tiles that saw it."""
        at = {record.index: record for record in self.records}
        for lesion in self.lesions:
            saw = [at[index] for index in lesion.tiles]
            words = "; ".join(f"tile {one.index}: {one.rationale}" for one in saw if one.rationale)
            yield replace(
                self.result,
                answer=Answer(words, lesion.detection.label),
                reliability=lesion.reliability,
                tokens=_sum(saw, self.result.tokens.native_picture),
            )


def outcome_of(plan: RunPlan, records: Sequence[TileRecord]) -> Outcome:
    """Join the tiles of a run.

    Parameters
    ----------
    plan : RunPlan
    records : sequence of TileRecord
        Of every tile that is read, in any order.
    """
    records = sorted(records, key=lambda record: record.index)
    lesions = lesions_of(plan, records)
    shares = class_shares(plan, records) if plan.classes else ()
    slide, settings = plan.slide, plan.settings
    whole = Region(0, 0, slide.width, slide.height)
    tokens = _sum(records, native_tokens(whole, plan.model.dims.token_px))
    confident = [lesion.detection.confidence for lesion in lesions]
    if shares:
        confident = [record.confidence for record in records if not record.unknown]
    values = [value for value in confident if value is not None]
    assessed = reliability_of(records)
    answered = [record.allocation for record in records if record.allocation is not None]
    result = Result(
        query=plan.query,
        region=whole,
        slide=slide,
        model=plan.model,
        allocation=Allocation(
            tokens.requested,
            answered[0].source if answered else "user",
            tokens.allocator,
            flops=sum(one.flops for one in answered),
        ),
        answer=Answer(
            "",
            _words_of_classes(shares, records) if shares else _summary(lesions, records, assessed),
        ),
        detections=tuple(lesion.detection for lesion in lesions),
        tokens=tokens,
        picture_size=_picture_size(slide, settings.mpp),
        level=min((record.level for record in records), default=0),
        pixels_decoded=plan.mask_pixels + sum(record.pixels_decoded for record in records),
        seconds=_seconds(records),
        warnings=(*plan.notes, *_warnings(records)),
        settings=settings.generation,
        confidence=sum(values) / len(values) if values and len(values) == len(confident) else None,
        reliability=assessed,
    )
    return Outcome(plan, result, tuple(lesions), tuple(records))


def _sum(records: Sequence[TileRecord], native_picture: int) -> TokenReport:
    reports = [record.tokens for record in records if record.tokens is not None]
    return engine.sum_tokens(reports, native_picture)


def _summary(
    lesions: Sequence[Lesion], records: Sequence[TileRecord], assessed: Reliability
) -> str:
    """Lesions in words, and in how many tiles nobody knows; empty where that is all of them."""
    unknown = sum(record.unknown for record in records)
    if records and unknown == len(records):
        return ""
    counts = Counter(lesion.detection.label for lesion in lesions)
    words = ", ".join(f"{n} {label}" for label, n in sorted(counts.items())) or "none found"
    guesses = sum(lesion.reliability.level == "none" for lesion in lesions)
    if guesses and assessed.level != "none":  # else all of it is called a guess
        words += f" ({guesses:,} of them {'a guess' if guesses == 1 else 'guesses'})"
    return f"{words}; {unknown:,} of {len(records):,} tiles unknown" if unknown else words


def _words_of_classes(shares: Sequence[ClassShare], records: Sequence[TileRecord]) -> str:
    """Classes in words; empty where no tile has one."""
    return "" if all(record.unknown for record in records) else shares_line(shares)


def _picture_size(slide: SlideInfo, mpp: float) -> tuple[int, int]:
    x, y = slide.mpp or (mpp, mpp)
    return max(1, round(slide.width * x / mpp)), max(1, round(slide.height * y / mpp))


def _seconds(records: Sequence[TileRecord]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for record in records:
        total.update(record.seconds)
    return dict(total)


def _warnings(records: Sequence[TileRecord]) -> tuple[str, ...]:
    """Each once, with the number of tiles that it concerns."""
    counts = Counter(warning for record in records for warning in record.warnings)
    return tuple(
        engine.in_part(warning, count, len(records), "tiles")
        for warning, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )

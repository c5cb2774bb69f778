"""What a folder of samples holds: classes by split, sizes, um per pixel, and what to be wary of."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image, UnidentifiedImageError

from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.slides import open_slide
from napari_pathreason.training.samples import (
    FLAT,
    SPLITS,
    Pictures,
    Sample,
    Split,
    read_samples,
)
from napari_pathreason.training.tables import plain_markdown, table

FEW = 10
"""Samples of an answer in `val` or `test` below which a score of it says little."""
WORDS = "in words"


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of answer to one kind of question; ``counts`` are samples of each split."""

    topic: str
    answer: str
    counts: Mapping[Split, int]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the samples of a folder are.

    ``lines`` are classes by split; ``facts`` of the pictures, a name and a text for each split;
    ``warnings`` say what a reader of scores must know.
    """

    splits: tuple[Split, ...]
    lines: tuple[Line, ...]
    facts: tuple[tuple[str, Mapping[Split, str]], ...]
    warnings: tuple[str, ...]

    @property
    def markdown(self) -> str:
        """Two tables and the warnings."""
        head = ["question", "answer", *self.splits]
        lines = [
            [line.topic, line.answer, *(f"{line.counts.get(s, 0):,}" for s in self.splits)]
            for line in self.lines
        ]
        facts = [["pictures", name, *(of[s] for s in self.splits)] for name, of in self.facts]
        warnings = (f"warning: {plain_markdown(text)}" for text in self.warnings)
        return "\n\n".join([table(head, [*lines, *facts]), *warnings])


def holds_samples(path: Path) -> bool | None:
    """Whether the first line of a file is a sample; None where there is no line at all."""
    try:
        with path.open("rb") as file:
            first = file.readline()
    except OSError:
        return None
    if not first.strip():
        return None
    try:
        Sample.model_validate_json(first)
    except ValueError:
        return False
    return True


def read_splits(folder: Path) -> dict[Split, list[Sample]]:
    """Samples of a folder of ``data convert`` by split; splits without any are left out.

    Raises
    ------
    QueryError
        If there are no samples at all, or a file is damaged.
    """
    found: dict[Split, list[Sample]] = {}
    for split in SPLITS:
        path = folder / f"{split}.jsonl"
        if path.is_file() and path.stat().st_size:
            found[split] = read_samples(path)
    if not found:
        raise QueryError(
            f"{folder.name} holds no samples; make them with `pathreason data convert`"
        )
    return found


def summarise(folder: Path) -> Summary:
    """Count the samples of a folder and look at the sizes of their pictures.

    Parameters
    ----------
    folder : Path
        Of ``data convert``.

    Raises
    ------
    QueryError
        As of `read_splits`.
    """
    parts = read_splits(folder)
    counts: dict[tuple[str, str], Counter[Split]] = defaultdict(Counter)
    for split, samples in parts.items():
        for sample in samples:
            counts[sample.kind, answer_of(sample)][split] += 1
    sizes = _Sizes(folder)
    facts = (
        ("questions", {s: f"{len(samples):,}" for s, samples in parts.items()}),
        ("number", {s: f"{len(_pictures(samples)):,}" for s, samples in parts.items()}),
        ("groups", {s: _groups(samples) for s, samples in parts.items()}),
        ("long side, px", {s: sizes.spread(samples) for s, samples in parts.items()}),
        ("µm per pixel", {s: sizes.scale(samples) for s, samples in parts.items()}),
    )
    lines = tuple(Line(*key, counts[key]) for key in sorted(counts))
    return Summary(tuple(parts), lines, facts, tuple(_warnings(parts, lines)))


def answer_of(sample: Sample) -> str:
    """The class of a sample as tables count it: a choice, else the form of its answer."""
    if sample.task == "detection":
        return "boxes" if sample.boxes else "no box"
    if sample.choices:
        return sample.answer
    return "a number" if sample.answer.isdecimal() else WORDS


def _pictures(samples: Iterable[Sample]) -> dict[object, Sample]:
    """One sample of each picture."""
    return {(s.image, s.region, s.views): s for s in samples}


def _groups(samples: Sequence[Sample]) -> str:
    groups = {(s.source, s.group) for s in samples if s.group}
    return f"{len(groups):,}" if groups else "not known"


class _Sizes:
    """Sizes of pictures and their um per pixel; headers alone are read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures = Pictures(folder, most=64)
        self._known: dict[str, tuple[int, float | None]] = {}

    def spread(self, samples: Sequence[Sample]) -> str:
        sides = sorted(side for s in _pictures(samples).values() if (side := self._side(s)))
        if not sides:
            return "-"
        return (
            f"{sides[0]:,}"
            if sides[0] == sides[-1]
            else f"{sides[0]:,} to {sides[-1]:,} (median {median(sides):,.0f})"
        )

    def scale(self, samples: Sequence[Sample]) -> str:
        found = [s.mpp or self._file(s)[1] for s in _pictures(samples).values()]
        known = sorted(mpp for mpp in found if mpp is not None)
        if not known:
            return "not known"
        text = f"{known[0]:.3g}" + (f" to {known[-1]:.3g}" if known[-1] > known[0] else "")
        return text + (f" (of {len(known):,})" if len(known) < len(found) else "")

    def _side(self, sample: Sample) -> int:
        return max(sample.region[2:]) if sample.region is not None else self._file(sample)[0]

    def _file(self, sample: Sample) -> tuple[int, float | None]:
        """Long side in px, 0 where it cannot be read, and um per pixel."""
        name = sample.image
        if not isinstance(name, str):
            region = self._pictures.region(sample)
            return max(region.width, region.height), None
        if name not in self._known:
            path, own = self._folder / name, (0, None)
            try:
                if path.suffix.lower() in FLAT:
                    with Image.open(path) as file:
                        self._known[name] = max(file.size), None
                else:
                    with open_slide(path) as slide:
                        mpp = slide.info.mpp
                        side = max(slide.width, slide.height)
                        self._known[name] = side, None if mpp is None else sum(mpp) / 2
            except (OSError, UnidentifiedImageError, SlideError):
                self._known[name] = own
        return self._known[name]


def _warnings(parts: Mapping[Split, Sequence[Sample]], lines: Sequence[Line]) -> Iterable[str]:
    splits_of: dict[tuple[str, str], set[Split]] = defaultdict(set)
    files_of: dict[object, set[Split]] = defaultdict(set)
    for split, samples in parts.items():
        for sample in samples:
            if sample.group:
                splits_of[sample.source, sample.group].add(split)
            files_of[sample.image, sample.region].add(split)
    for found, what in ((splits_of, "groups"), (files_of, "pictures")):
        if shared := sum(len(splits) > 1 for splits in found.values()):
            yield f"{shared:,} {what} lie in more than one split: scores will be optimistic"
    trained = [line for line in lines if line.counts.get("train")]
    if "train" in parts and len(trained) < len(lines):
        names = [f"{x.answer} ({x.topic})" for x in lines if not x.counts.get("train")]
        yield f"train has none of: {', '.join(names[:5])}" + ", ..." * (len(names) > 5)
    for split in ("val", "test"):
        none = [x for x in trained if not x.counts.get(split)]
        if split in parts and "train" in parts and none:
            names = [f"{x.answer} ({x.topic})" for x in none]
            yield f"{split} has none of: {', '.join(names[:5])}" + ", ..." * (len(names) > 5)
        few = [x for x in lines if 0 < x.counts.get(split, 0) < FEW]
        if split in parts and few:
            yield (
                f"{split} has fewer than {FEW} questions with {len(few):,} of the "
                f"{len(lines):,} answers"
            )
    if "train" in parts and not any(s.group for s in parts["train"]):
        yield (
            "no groups are known: intervals are over questions, and pictures of one patient may "
            "lie on both sides"
        )

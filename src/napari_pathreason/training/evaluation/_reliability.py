"""How often a question that nobody could answer is called reliable, and a good one is not.

Two sets are asked as users ask: questions with known answers, and questions that cannot be
answered, since they are about something else than the training, or their picture is: foreign
tissue, glass, a blur, another scale. What counts is `Result.reliability` alone.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from random import Random
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tqdm import tqdm

from napari_pathreason import QueryError, Region, Reliability
from napari_pathreason.engine import Job, Models, ask
from napari_pathreason.files import atomic_bytes
from napari_pathreason.models import load_models
from napari_pathreason.slides import Slide, open_slide, slide_from_arrays, tissue_share
from napari_pathreason.tasks import TASKS, abstains
from napari_pathreason.training.run import fingerprint
from napari_pathreason.training.samples import (
    FLAT,
    Pictures,
    Sample,
    read_samples,
    read_view,
    score_target,
)
from napari_pathreason.training.tables import table
from napari_pathreason.types import Answer, Budget, Encoder, Level, Query, Request

from ._evaluator import relative
from ._honesty import provenance_line
from ._predictions import SMALLEST

LEVELS: tuple[Level, ...] = get_args(Level)
BLUR = 1 / 16
"""Standard deviation of a blur, in shares of the picture's shorter side: no cell is left."""
ZOOM = 6
"""How many times a picture is read too fine or too coarse."""
SIDES = (256, 384, 512, 768)
"""Sides of regions of a foreign slide, level-0 pixels."""
TISSUE, GLASS = 0.3, 0.005
"""Share of tissue above which a region is tissue, and below which it is glass."""
TRIES = 2000
"""Regions of a foreign slide that are looked at, at the most."""
BINS = 10
"""Points of the curve of score against coverage."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ReliabilityPlan:
    """What to ask.

    ``data`` is a JSONL of ``pathreason data convert``; its questions are asked ``number`` times in
    all, and as many that cannot be answered. ``questions`` is a text file of questions that the
    model was not trained on, ``unlike`` are slides, pictures or folders of foreign tissue.
    """

    model: str
    data: Path
    questions: Path
    unlike: tuple[Path, ...]
    number: int = 200
    budget: Budget = "auto"
    seed: int = 0
    device: str = "auto"
    encoder: Encoder = "exact"


@dataclass(frozen=True, slots=True)
class Case:
    """One question: its group, what it is asked of, and its score where it can be answered."""

    group: str
    slide: Slide
    region: Region
    query: Query
    score: Callable[[Answer], float] | None = None


@dataclass(frozen=True, slots=True)
class Assessed:
    """What became of a case; ``score`` is 0 for one that cannot be answered."""

    group: str
    answerable: bool
    reliability: Reliability
    confidence: float | None
    score: float


def measure(plan: ReliabilityPlan) -> list[Assessed]:
    """Ask all, by the job that answers users.

    Raises
    ------
    PathreasonError
        If the model, the data or a foreign picture cannot be read.
    """
    samples = [s for s in read_samples(plan.data) if not abstains(s.answer)]
    pictures = Pictures(plan.data.parent)
    models = load_models(plan.model, plan.device, plan.encoder)
    for note in models.performer.info.notes:
        tqdm.write(note, file=sys.stderr)
    token_px = models.performer.info.dims.token_px
    rng = Random(f"{plan.seed}-reliability")
    cases = [*answerable(samples, pictures, plan.number, token_px, rng)]
    queries = read_questions(plan.questions)
    cases += unanswerable(samples, pictures, queries, plan.unlike, plan.number, rng)
    return [_assess(case, models, plan.budget) for case in tqdm(cases, unit="question")]


def _assess(case: Case, models: Models, budget: Budget) -> Assessed:
    job = Job(case.slide, Request(case.region, case.query, budget, policy="one_view"))
    try:
        result = ask(job, models.performer, models.allocator)
    except QueryError as error:  # a refusal is no answer either
        return Assessed(
            case.group, case.score is not None, Reliability("none", (str(error),)), None, 0.0
        )
    score = case.score(relative(result)) if case.score is not None else 0.0
    return Assessed(
        case.group, case.score is not None, result.reliability, result.confidence, score
    )


def answerable(
    samples: Sequence[Sample], pictures: Pictures, number: int, token_px: int, rng: Random
) -> Iterator[Case]:
    """Questions with answers, kinds of questions taking turns."""
    for sample in _in_turn(samples, lambda sample: sample.kind, number, rng):
        target = score_target(sample, read_view(sample, pictures, SMALLEST, token_px))
        yield Case(
            sample.kind,
            pictures.slide(sample),
            pictures.region(sample),
            sample.query,
            partial(TASKS[sample.task].score, target=target),
        )


def unanswerable(
    samples: Sequence[Sample],
    pictures: Pictures,
    queries: Sequence[Query],
    unlike: Sequence[Path],
    number: int,
    rng: Random,
) -> Iterator[Case]:
    """Questions without answers, groups taking about the same share of ``number``."""
    shown = list(_in_turn(samples, lambda sample: sample.source, 5 * number, rng))
    groups: dict[str, Iterator[tuple[Pixels, Query]]] = {
        "not trained on": _ood_questions(shown, pictures, queries, rng),
        "foreign tissue": _foreign(shown, unlike, TISSUE, 1.0, rng),
        "glass": _foreign(shown, unlike, 0.0, GLASS, rng),
        "blurred": ((_blurred(_pixels(s, pictures)), s.query) for s in shown),
        "wrong scale": _other_scales(shown, pictures),
    }
    for place, (group, cases) in enumerate(groups.items()):
        most = number // len(groups) + (place < number % len(groups))
        for (pixels, query), _ in zip(cases, range(most), strict=False):
            height, width = pixels.shape[:2]
            slide = slide_from_arrays([pixels], "sample")
            yield Case(group, slide, Region(0, 0, width, height), query)


def read_questions(path: Path) -> list[Query]:
    """Questions of a text file, one a line, choices behind ``|`` and between commas.

    Raises
    ------
    QueryError
        If there is none in it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise QueryError(f"{path.name} cannot be read; give a text file of questions") from None
    queries = []
    for line in lines:
        question, _, choices = line.partition("|")
        if question.strip() and not question.startswith("#"):
            options = tuple(choice.strip() for choice in choices.split(",") if choice.strip())
            queries.append(Query("vqa", question.strip(), options))
    if not queries:
        raise QueryError(f"{path.name} holds no question; write one a line, choices behind |")
    return queries


def _in_turn(
    samples: Sequence[Sample], kind: Callable[[Sample], str], number: int, rng: Random
) -> Iterator[Sample]:
    """At most ``number`` samples, drawn at random, kinds taking turns."""
    waiting: dict[str, list[Sample]] = defaultdict(list)
    for sample in rng.sample(list(samples), len(samples)):
        waiting[kind(sample)].append(sample)
    turns = zip_longest(*(waiting[name] for name in sorted(waiting)))
    return islice((sample for turn in turns for sample in turn if sample is not None), number)


def _pixels(sample: Sample, pictures: Pictures) -> Pixels:
    """The region of a sample, level-0 pixels."""
    region = pictures.region(sample)
    return pictures.read(sample, region, (region.width, region.height))


def _ood_questions(
    shown: Sequence[Sample], pictures: Pictures, queries: Sequence[Query], rng: Random
) -> Iterator[tuple[Pixels, Query]]:
    order = rng.sample(list(queries), len(queries))
    for place, sample in enumerate(shown):
        yield _pixels(sample, pictures), order[place % len(order)]


def _foreign(
    shown: Sequence[Sample], unlike: Sequence[Path], least: float, most: float, rng: Random
) -> Iterator[tuple[Pixels, Query]]:
    """Regions of foreign slides that hold so much tissue, files taking turns."""
    sources = [_regions(path, least, most, rng) for path in unlike]
    questions = iter(shown)
    for turn in zip_longest(*sources):
        for pixels in turn:
            if pixels is not None:
                yield pixels, next(questions).query


def _regions(path: Path, least: float, most: float, rng: Random) -> Iterator[Pixels]:
    """Of a slide regions of several sizes, of a folder its pictures."""
    if path.is_dir() and path.suffix != ".zarr":
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in FLAT)
        for file in rng.sample(files, len(files)):
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            if least <= tissue_share(pixels) <= most:
                yield pixels
        return
    with open_slide(path) as slide:
        for _ in range(TRIES):
            side = min(rng.choice(SIDES), slide.width, slide.height)
            x, y = rng.randint(0, slide.width - side), rng.randint(0, slide.height - side)
            pixels = slide.read_region(Region(x, y, side, side), (side, side)).pixels
            if least <= tissue_share(pixels) <= most:
                yield pixels


def _blurred(pixels: Pixels) -> Pixels:
    radius = BLUR * min(pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def _other_scales(shown: Sequence[Sample], pictures: Pictures) -> Iterator[tuple[Pixels, Query]]:
    """Half of the pictures `ZOOM` times too fine, half as many times too coarse."""
    for place, sample in enumerate(shown):
        pixels = _pixels(sample, pictures)
        height, width = pixels.shape[:2]
        if place % 2:
            h, w = max(height // ZOOM, 1), max(width // ZOOM, 1)
            y, x = (height - h) // 2, (width - w) // 2
            changed = Image.fromarray(pixels[y : y + h, x : x + w]).resize((width, height))
        else:  # the same tissue all around, as a slide would show from afar
            small = Image.fromarray(pixels).resize((max(width // ZOOM, 1), max(height // ZOOM, 1)))
            tiles = np.tile(np.asarray(small), (ZOOM, ZOOM, 1))
            changed = Image.fromarray(tiles).resize((width, height))
        yield np.asarray(changed), sample.query


@dataclass(frozen=True, slots=True)
class Shares:
    """How many of a group are at each level."""

    group: str
    answerable: bool
    counts: tuple[int, int, int]

    @property
    def number(self) -> int:
        """Of questions."""
        return sum(self.counts)


def shares(assessed: Sequence[Assessed]) -> list[Shares]:
    """Levels of each group, those that cannot be answered first, and of both sets as a whole."""
    rows = []
    for answerable in (False, True):
        own = [one for one in assessed if one.answerable is answerable]
        names = [] if answerable else list(dict.fromkeys(one.group for one in own))
        whole = "can be answered" if answerable else "cannot be answered"
        for name in [*names, whole]:
            levels = [o.reliability.level for o in own if name in (o.group, whole)]
            counts = (levels.count("reliable"), levels.count("uncertain"), levels.count("none"))
            rows.append(Shares(name, answerable, counts))
    return rows


def curve(assessed: Sequence[Assessed]) -> list[tuple[float, float]]:
    """Mean score of the share of answers that are relied on first: (coverage, 1 - score).

    Answers come in the order of their level, then of their confidence (El-Yaniv and Wiener 2010,
    risk against coverage).
    """
    order = sorted(
        assessed,
        key=lambda one: (LEVELS.index(one.reliability.level), -(one.confidence or 0.0)),
    )
    scores = np.array([one.score for one in order])
    points = [max(1, round(len(order) * share / BINS)) for share in range(1, BINS + 1)]
    return [(n / len(order), float(1 - scores[:n].mean())) for n in points]


def provenance_of(plan: ReliabilityPlan, number: int, made: Mapping[str, str]) -> str:
    """What the figures of ``number`` questions are of, and what made them (`made_by`)."""
    parts = (
        f"n {number:,}",
        f"split {plan.data.stem}",
        f"seed {plan.seed}",
        f"budget {plan.budget}",
        f"data {fingerprint(plan.data.parent)[:12]}",
    )
    return provenance_line(parts, made)


def page(assessed: Sequence[Assessed], provenance: str) -> str:
    """Tables as Markdown, ``provenance`` below them."""
    rows = shares(assessed)
    each = []
    for row in rows:
        name = f"**{row.group}**" if row.group.endswith("answered") else row.group
        each.append([name, str(row.number), *(f"{n / max(row.number, 1):.3f}" for n in row.counts)])
    head = ["questions", "n", "reliable", "uncertain", "no reliable answer"]
    lines = table(head, each).splitlines()
    known = [one for one in assessed if one.answerable]
    lines += [
        "",
        "Risk (1 - score) of the answers relied on first, by level and confidence:",
        "",
        "| coverage | " + " | ".join(f"{share:.1f}" for share, _ in curve(known)) + " |",
        "|---|" + "---|" * BINS,
        "| can be answered | " + " | ".join(f"{risk:.2f}" for _, risk in curve(known)) + " |",
        "| both sets | " + " | ".join(f"{risk:.2f}" for _, risk in curve(assessed)) + " |",
        "",
        provenance,
    ]
    return "\n".join(lines)


def as_json(assessed: Sequence[Assessed]) -> str:
    """Every question as a line of JSON."""
    return "".join(
        json.dumps(
            {
                "group": one.group,
                "answerable": one.answerable,
                "level": one.reliability.level,
                "reasons": list(one.reliability.reasons),
                "confidence": one.confidence,
                "score": round(one.score, 4),
            }
        )
        + "\n"
        for one in assessed
    )


def draw_curve(assessed: Sequence[Assessed], path: Path) -> None:
    """Coverage against risk as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, own in (
        ("questions that can be answered", [one for one in assessed if one.answerable]),
        ("those and as many that cannot", list(assessed)),
    ):
        points = curve(own)
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=name)
        relied = sum(one.reliability.level == "reliable" for one in own) / max(len(own), 1)
        axes.axvline(relied, linestyle=":", color=axes.lines[-1].get_color())
    axes.set(xlabel="coverage (dotted: called reliable)", ylabel="risk (1 - score)")
    axes.set_ylim(bottom=0)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_bytes(path) as out:
        figure.savefig(out, dpi=120, format="png")

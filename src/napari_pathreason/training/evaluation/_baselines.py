"""Baselines: what a score must be read beside, and a model must beat to have learnt to see.

One fixed answer to each wording of a kind; and colour and texture without any structure: histograms
of RGB, HSV and local binary patterns, logistic regression for choices, ridge regression on the
logarithm for counts. A field composed of tiles is answered tile by tile, and tiles that touch make
a box: the baseline is told where they lie, which a model has to see. scikit-image and scikit-learn
come with the development tools only.
"""

from __future__ import annotations

import importlib.util
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.convert import CANNOT_TELL
from napari_pathreason.training.samples import Pictures, Sample

from ._predictions import Prediction, Scorer

LONG_SIDE = 384
"""Long side in px that larger pictures are shrunk to before they are measured."""

PICTURES = 2500
"""Training pictures of one source at the most."""

BINS, STRENGTH = 32, 0.3
"""Bins of a colour channel, and C of the logistic regression. On `val` of PatchCamelyon's tiles 8
to 32 bins, roots or not, and C from 0.01 to 1 lie within three points; this is the strongest on
`test`, so that no model looks good beside a weak baseline."""

Features = NDArray[np.float64]
Wording = tuple[str, ...]
Grid = tuple[tuple[str, ...], ...]
ShowsIt = Callable[[str], bool]
"""Whether a tile of that file shows the thing."""


def constant_items(scorer: Scorer) -> Iterator[Prediction]:
    """The best fixed answer, chosen with the labels in hand; for boxes the empty list.

    Questions of one kind may be asked as yes or no and as a choice of names; each set of choices
    has its own best answer.
    """
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, sample in enumerate(scorer.samples):
        groups[sample.kind, sample.task, *sorted(sample.choices)].append(index)
    for members in groups.values():
        name = scorer.samples[members[0]].task
        labels = {"[]"} if name == "detection" else {scorer.target(i).text for i in members}
        score = TASKS[name].score
        totals = {
            guess: sum(score(scorer.parse(i, guess), scorer.target(i)) for i in members)
            for guess in sorted(labels)
        }
        best = max(totals, key=totals.__getitem__)
        for index in members:
            yield scorer.item(index, "constant", scorer.parse(index, best))


def baseline_items(
    scorer: Scorer, train: Sequence[Sample], train_pictures: Pictures, seed: int = 0
) -> Iterator[Prediction]:
    """Answers of the baseline to the choices and counts among the questions asked.

    One classifier is fitted for each topic and set of choices ("cannot tell" left out), whose
    classes are the answers themselves; one regression for each topic of counts. Topics that
    training has no two different answers of get none, nor have open words. Boxes are answered on
    fields composed of tiles alone (`grid_items`).

    Raises
    ------
    QueryError
        If scikit-image or scikit-learn is missing.
    """
    check_installed()
    samples, pictures = scorer.samples, scorer.pictures
    wanted = {key for sample in samples if (key := _group(sample)) is not None}
    known: dict[Wording, list[Sample]] = defaultdict(list)
    for sample in _thinned(train, seed):
        if (key := _group(sample)) in wanted and sample.answer != CANNOT_TELL:
            known[key].append(sample)
    questions: dict[Wording, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        if (key := _group(sample)) in known:
            questions[key].append(index)
    fitting, answering = _Measured(train_pictures), _Measured(pictures)
    for key in tqdm(sorted(questions), desc="colour and texture", unit="topic", disable=None):
        labels = [sample.answer for sample in known[key]]
        if len(set(labels)) < 2:
            continue
        fit = _Classifier if key[1:] else _Counter
        model = fit(fitting.of(known[key]), labels)
        members = questions[key]
        for index, answer in zip(
            members, model(answering.of([samples[i] for i in members])), strict=True
        ):
            yield scorer.item(index, "baseline", scorer.parse(index, answer))
    yield from grid_items(scorer, dict(_tile_models(scorer, train, train_pictures)))


def _tile_models(
    scorer: Scorer, train: Sequence[Sample], train_pictures: Pictures
) -> Iterator[tuple[str, ShowsIt]]:
    """For each label that is sought on a grid of tiles, what tells whether a tile shows it."""
    for label in sorted({s.choices[0] for s in scorer.samples if grid_of(s) is not None}):
        fields = [s for s in train if grid_of(s) is not None and s.choices[0] == label]
        labels = tile_labels(fields, train_pictures)
        if len(set(labels.values())) < 2:
            continue
        tiles = np.stack([features(train_pictures.tile(name)) for name in labels])
        model = _Classifier(tiles, ["yes" if shown else "no" for shown in labels.values()])

        def shows_it(name: str, model: _Classifier = model) -> bool:
            return model(features(scorer.pictures.tile(name))[None]) == ["yes"]

        yield label, lru_cache(maxsize=None)(shows_it)


def grid_of(sample: Sample) -> Grid | None:
    """Tiles of a question for boxes of one label on a grid of whole tiles; None of any other."""
    if sample.task != "detection" or isinstance(sample.image, str) or len(sample.choices) != 1:
        return None
    crops = any("#" in name for row in sample.image for name in row)
    return None if crops else sample.image


def tile_labels(samples: Sequence[Sample], pictures: Pictures) -> dict[str, bool]:
    """What the labels of composed fields say of each of their tiles."""
    labels: dict[str, bool] = {}
    for sample in samples:
        grid = grid_of(sample)
        if grid is None:
            continue
        region = pictures.region(sample)
        width, height = region.width / len(grid[0]), region.height / len(grid)
        covered = {
            (round(area.corners[0] / width), round(area.corners[1] / height))
            for area in sample.facts.areas
            if area.label == sample.choices[0]
        }
        for y, row in enumerate(grid):
            for x, name in enumerate(row):
                labels[name] = (x, y) in covered
    return labels


def grid_items(scorer: Scorer, models: Mapping[str, ShowsIt]) -> Iterator[Prediction]:
    """Boxes around tiles that touch by an edge, for each question that has a grid and a model.

    Parameters
    ----------
    scorer : Scorer
        Of the questions asked.
    models : mapping of str to callable
        By label.
    """
    for index, sample in enumerate(scorer.samples):
        grid = grid_of(sample)
        if grid is not None and sample.choices[0] in models:
            shows_it = models[sample.choices[0]]
            shown = np.array([[shows_it(name) for name in row] for row in grid])
            text = json.dumps(boxes_around(shown, sample.choices[0]))
            yield scorer.item(index, "baseline", scorer.parse(index, text))


def boxes_around(shown: NDArray[np.bool_], label: str) -> list[dict[str, object]]:
    """A box, 0 to 1000 of the picture, around each group of tiles (rows, columns)."""
    from scipy import ndimage

    rows, columns = shown.shape
    boxes: list[dict[str, object]] = []
    for down, right in ndimage.find_objects(ndimage.label(shown)[0]):
        sides = right.start / columns, down.start / rows, right.stop / columns, down.stop / rows
        boxes.append({"bbox_2d": [round(1000 * side) for side in sides], "label": label})
    return boxes


def check_installed() -> None:
    """Raise QueryError with the remedy where a library of the baseline is missing."""
    missing = [name for name in ("skimage", "sklearn") if importlib.util.find_spec(name) is None]
    if missing:
        raise QueryError(
            "--baseline needs scikit-image and scikit-learn; run "
            "`pip install scikit-image scikit-learn`, or leave the flag out"
        )


def features(pixels: NDArray[np.uint8]) -> Features:
    """Measure a picture.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)

    Returns
    -------
    float64 array
        Square roots of the shares of 32 bins of each channel of RGB and HSV, mean and spread of
        each, and the same of uniform local binary patterns of the grey picture at radii 1, 2 and 3
        (8, 16 and 24 points; Ojala et al. 2002).
    """
    from skimage.color import rgb2gray, rgb2hsv
    from skimage.feature import local_binary_pattern

    channels = np.concatenate([pixels / 255.0, rgb2hsv(pixels)], axis=-1).reshape(-1, 6)
    parts = [_shares(channel, BINS, 1.0) for channel in channels.T]
    parts += [channels.mean(0), channels.std(0)]
    grey = np.round(255 * rgb2gray(pixels)).astype(np.uint8)
    for radius in (1, 2, 3):
        points = 8 * radius
        patterns = local_binary_pattern(grey, points, radius, "uniform")
        parts.append(_shares(patterns.ravel(), points + 2, points + 2))
    return np.concatenate(parts)


def _shares(values: NDArray[Any], bins: int, top: float) -> Features:
    """Square roots of shares, so that a rare colour weighs more (Hellinger)."""
    return np.sqrt(np.histogram(values, bins, (0, top))[0] / values.size)


class _Measured:
    """Features of pictures, each measured once; the region's area is one more of them."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._cache: dict[tuple[Any, ...], Features] = {}

    def of(self, samples: Sequence[Sample]) -> Features:
        """Features, float64 (samples, features)."""
        return np.stack([self._one(sample) for sample in samples])

    def _one(self, sample: Sample) -> Features:
        key = sample.image, sample.region
        if key not in self._cache:
            region = self._pictures.region(sample)
            shrink = min(1.0, LONG_SIDE / max(region.width, region.height))
            size = max(8, round(region.width * shrink)), max(8, round(region.height * shrink))
            pixels = self._pictures.read(sample, region, size)
            self._cache[key] = np.append(features(pixels), np.log(region.width * region.height))
        return self._cache[key]


class _Classifier:
    def __init__(self, x: Features, labels: Sequence[str]) -> None:
        from sklearn.linear_model import LogisticRegression

        self._model = _fitted(LogisticRegression(C=STRENGTH, max_iter=2000), x, labels)

    def __call__(self, x: Features) -> list[str]:
        return [str(label) for label in self._model.predict(x)]


class _Counter:
    def __init__(self, x: Features, labels: Sequence[str]) -> None:
        from sklearn.linear_model import RidgeCV

        numbers = np.array([int(label) for label in labels])
        self._model = _fitted(RidgeCV(np.logspace(-1, 4, 16)), x, np.log1p(numbers))
        self._most = 2 * int(numbers.max())  # a line may run anywhere beyond what it knows

    def __call__(self, x: Features) -> list[str]:
        logs = np.minimum(np.maximum(self._model.predict(x), 0), np.log1p(self._most))
        return [str(round(number)) for number in np.expm1(logs).tolist()]


def _fitted(estimator: Any, x: Features, y: Sequence[str] | Features) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), estimator).fit(x, y)


def _group(sample: Sample) -> Wording | None:
    """Topic and set of choices (none for a count); None where the baseline has no answer."""
    if sample.task == "detection":
        return None
    if sample.choices:
        return sample.kind, *sorted(set(sample.choices) - {CANNOT_TELL})
    return (sample.kind,) if sample.answer.isdecimal() else None


def _thinned(samples: Sequence[Sample], seed: int) -> Iterator[Sample]:
    """Samples about at most `PICTURES` pictures of each source."""
    sources: dict[str, dict[tuple[Any, ...], None]] = defaultdict(dict)
    for sample in samples:
        sources[sample.source][sample.image, sample.region] = None
    chosen = {
        (source, *picture)
        for source, each in sources.items()
        for picture in Random(f"{seed}-{source}").sample(list(each), min(PICTURES, len(each)))
    }
    return (s for s in samples if (s.source, s.image, s.region) in chosen)

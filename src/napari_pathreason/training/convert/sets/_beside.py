"""Pictures and what is known of them in folders side by side, paired by name and by split.

::

    images/a.png, masks/a.png                 or labels/a.txt, annotations/a.xml
    train/images/a.png, train/masks/a.png
    images/train/a.png, masks/train/a.png     or imagesTr/, labelsTr/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.training.samples import Split

from ._layout import LeftOut
from ._pictures import pictures_in, shown, subfolders
from ._splits import split_of, words_of

PICTURES = {
    *("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "tile", "tiles"),
    *("patch", "patches", "slide", "slides", "wsi", "original", "originals", "raw", "input"),
    *("inputs", "he"),
}
LABELS = {
    *("mask", "masks", "label", "labels", "annotation", "annotations", "gt", "groundtruth"),
    *("bbox", "bboxes", "geojson"),
}
ONLY_LABELS = {
    *("segmentation", "segmentations", "segmented", "seg", "target", "targets", "box", "boxes"),
    *("truth", "ground", "outline", "outlines", "contour", "contours", "map", "maps", "overlay"),
    *("overlays", "json", "xml"),
}
"""Words of folders that hold pictures; of those that hold what is known of them; and words that
mean so only where nothing else is said: "segmented neutrophil" may be a class."""

NO_LABEL = "pictures have no file of labels beside them and were left out"


def names_pictures(path: Path) -> bool:
    """Whether a folder is called like one of pictures."""
    return bool(PICTURES & set(words_of(path.name)))


def names_labels(path: Path) -> bool:
    """Whether a folder is called like one of what is known of pictures."""
    words = {word for word in words_of(path.name) if split_of(word) is None}
    return bool(words & LABELS) or bool(words and words <= ONLY_LABELS)


def stem_of(path: Path) -> str:
    """Name of a mask without ending and without what marks it as one: ``a_mask``, ``a-label``."""
    *words, last = path.stem.replace("-", "_").split("_")
    return (
        path.stem[: -len(last) - 1] if words and last.lower() in LABELS | ONLY_LABELS else path.stem
    )


@dataclass(frozen=True, slots=True)
class Twins:
    """A folder of pictures and the one of what is known of them, of one split or of none."""

    pictures: Path
    labels: Path
    split: Split | None


def twins_in(folder: Path) -> list[Twins]:
    """All pairs of folders of a set, see the module; none where there is no such pair."""
    pairs = list(_side_by_side(folder, None))
    for below in subfolders(folder):
        if (split := split_of(below.name)) is not None and not _named(below):
            pairs += _side_by_side(below, split)
    return pairs


def _named(path: Path) -> bool:
    return names_pictures(path) or names_labels(path)


def _side_by_side(folder: Path, split: Split | None) -> Iterator[Twins]:
    below = subfolders(folder)
    labels = [path for path in below if names_labels(path)]
    pictures = [path for path in below if path not in labels and names_pictures(path)]
    for images in pictures:
        for known in labels:
            own = split or split_of(images.name)
            if split is None and own != split_of(known.name):
                continue
            inner = {s: path for path in subfolders(images) if (s := split_of(path.name))}
            if pictures_in(images) or not inner:
                yield Twins(images, known, own)
                continue
            for path in subfolders(known):
                if (named := split_of(path.name)) in inner:
                    yield Twins(inner[named], path, named)


def paired(
    twins: Twins, source: Path, is_label: Callable[[Path], bool], left: LeftOut
) -> Iterator[tuple[Path, Path]]:
    """Pictures with the file of the same name beside them; those without one are counted.

    Parameters
    ----------
    twins : Twins
    source : Path
        Of the set, for names in messages.
    is_label : callable
        Whether a file is one of labels.
    left : LeftOut
    """
    known = {stem_of(path): path for path in sorted(twins.labels.iterdir()) if is_label(path)}
    known |= {path.stem: path for path in known.values()}
    for picture in pictures_in(twins.pictures):
        label = known.get(picture.stem)
        if label is None:
            left.add(NO_LABEL, shown(picture, source))
        else:
            yield picture, label


def by_split(folder: Path) -> list[tuple[Path, Split | None]]:
    """A folder, and those in it that are named after a split, with that split."""
    below = [(path, split) for path in subfolders(folder) if (split := split_of(path.name))]
    return [(folder, None), *below]


def paired_together(
    places: Sequence[tuple[Path, Split | None]], suffix: str, source: Path, left: LeftOut
) -> Iterator[tuple[Path, Path, Split | None]]:
    """Pictures with the file of the same name in the same folder, and their splits.

    Those without one are counted.

    Parameters
    ----------
    places : sequence of (Path, Split or None)
        Folders, as `by_split` gives them.
    suffix : str
        Of the files of labels.
    source : Path
        Of the set, for names in messages.
    left : LeftOut
    """
    for place, split in places:
        for picture in pictures_in(place):
            label = picture.with_suffix(suffix)
            if label.is_file():
                yield picture, label, split
            else:
                left.add(NO_LABEL, shown(picture, source))

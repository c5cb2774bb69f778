"""Names of splits as folders, files and columns spell them, known in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import SPLITS, Split

NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "val"),
    **dict.fromkeys(("dev", "devel", "development", "tune", "tuning"), "val"),
    **dict.fromkeys(("test", "testing", "tst", "ts", "te", "holdout", "heldout"), "test"),
}
"""Spellings of each split, in lower case without blanks and marks.

``eval`` is not among them: some mean ``val`` by it, some ``test``.
"""
TOLD = (
    "train (training, tr), val (valid, validation, dev, tuning) and test (testing, ts, holdout), "
    "in any letter case"
)
"""The names in words, for messages."""
NAMED_SO = "is the name of a split: all of it is"
"""Stands in the note on a folder or table that is converted by itself."""
SHORT = 2
"""Letters of names that only a whole folder, file or cell may have: in a longer name they are
likely something else."""
_BESIDE = {
    *("set", "sets", "data", "dataset", "split", "subset", "part", "images", "image", "imgs"),
    *("img", "pictures", "patches", "tiles", "slides", "samples", "cases"),
}
"""Words that may stand beside the name: ``train_data``, ``Test Set``, ``images_val``."""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")


def split_of(name: str) -> Split | None:
    """Split that a whole name stands for: ``Training``, ``val2017``, ``test_set``; else None."""
    for text in (name.lower(), name):  # humps count only where letters alone tell nothing
        words = [word for word in words_of(text) if word not in _BESIDE and not _is_year(word)]
        whole = "".join(words)
        for spelling in (whole, whole.removesuffix("set")):
            if spelling in NAMES:
                return NAMES[spelling]
        named = {NAMES.get(word) for word in words}
        split = named.pop() if len(named) == 1 else None
        if split is not None:
            return split
    return None


def split_in(name: str) -> Split | None:
    """Split that a word of a longer name stands for: ``rldata_CLS_train``; else None.

    Raises
    ------
    QueryError
        If its words name several splits.
    """
    named = splits_in(name)
    if len(named) > 1:
        raise QueryError(
            f"{name} names the splits {' and '.join(sorted(named))}; rename it, or divide it in two"
        )
    return next(iter(named), None)


def splits_in(name: str) -> set[Split]:
    """All splits that words of a longer name stand for; short names count only by themselves."""
    whole = split_of(name)
    words = words_of(name)
    pairs = [a + b for a, b in pairwise(words)]  # hold out
    named = {NAMES[word] for word in (*words, *pairs) if word in NAMES and len(word) > SHORT}
    return {whole} if whole is not None else named


def split_of_source(name: str) -> Split | None:
    """Split that a folder means which is converted by itself: ``data/train``; else None.

    Short names and ``dev`` are taken for what else they may be.
    """
    plain = any(word in NAMES and word != "dev" for word in words_of(name) if len(word) > SHORT)
    return split_of(name) if plain else None


def published(
    names: Iterable[str], where: str, more: Mapping[str, Split] | None = None
) -> list[tuple[str, Split]]:
    """Names of splits of a published set with what they mean, in the order of the splits.

    Parameters
    ----------
    names : iterable of str
    where : str
        What carries the names, for the message.
    more : mapping of str to {"train", "val", "test"}, optional
        Names of this set alone.

    Raises
    ------
    QueryError
        If a name is unknown.
    """
    known = []
    for name in sorted(names):
        split = (more or {}).get(name) or split_of(name)
        if split is None:
            raise QueryError(
                f"{where}: {name!r} is no name of a split that is known: {TOLD}; rename it, or "
                "move it elsewhere"
            )
        known.append((name, split))
    return sorted(known, key=lambda one: SPLITS.index(one[1]))


def words_of(name: str) -> list[str]:
    """Words and numbers of a name in lower case; ``imagesTr`` is two words."""
    return [word.lower() for word in _WORD.findall(_HUMP.sub(" ", name))]


def _is_year(word: str) -> bool:
    return len(word) == 4 and word.isdigit()

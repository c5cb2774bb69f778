"""Answers that an evaluation has already: read back from the record of each question."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from napari_pathreason._errors import QueryError
from napari_pathreason.training.samples._sample import Sample

from ._item import Arm, Item, from_line

Known = dict[tuple[Arm, int | None], list[Item]]
"""Items of each arm at each budget, in the order that they were asked in."""


def read_known(file: Path | None, samples: Sequence[Sample]) -> Known:
    """Whole passes over ``samples`` out of a file of ``evaluate --items``.

    A pass that was cut is left out, and is asked anew. The baseline has no answer to some kinds
    of questions; it is whole once the model has been asked, which comes behind it.

    Parameters
    ----------
    file : Path or None
        JSONL, packed where its name ends in ``.gz``.
    samples : sequence of Sample
        What is asked now; the file must be of the same questions, and of the same model, which
        it does not tell.

    Raises
    ------
    QueryError
        If the file cannot be read, or is of other questions.
    """
    if file is None:
        return {}
    found: Known = {}
    try:
        raw = file.read_bytes()
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("utf-8")
        for line in text.splitlines():
            item = from_line(line)
            found.setdefault((item.arm, item.budget), []).append(item)
    except (OSError, EOFError, ValueError, TypeError, KeyError):
        raise QueryError(
            f"{file.name} is no record of `pathreason evaluate --items`; name such a file, or "
            "leave --known out"
        ) from None
    for items in found.values():
        if any(i.index >= len(samples) or samples[i.index].kind != i.topic for i in items):
            raise QueryError(
                f"{file.name} is of other questions; evaluate with the same --data, --per-topic "
                "and --seed, or leave --known out"
            )
    asked = any(arm == "model" for arm, _ in found)
    return {
        (arm, budget): items
        for (arm, budget), items in found.items()
        if len(items) == len(samples) or (arm == "baseline" and asked)
    }

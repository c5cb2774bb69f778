"""Labelled folders -> JSONL samples, one converter per set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from napari_pathreason._errors import QueryError
from napari_pathreason.training._sample import SPLITS, Sample, Split, write_samples

from ._blood import blood
from ._lung import lung
from ._lymph_node import lymph_node
from ._nuclei import nuclei, nuclei_instances
from ._stitched import stitched
from ._tables import plain_folder

FIELDS: dict[Split, int] = {"train": 9000, "val": 300, "test": 300}
STITCHED: dict[Split, int] = {"train": 3000, "val": 150, "test": 150}
VIEWS: dict[Split, int] = {"train": 6, "val": 2, "test": 2}
KNOWN = ("lymph_node", "lung", "blood", "nuclei", "nuclei_instances")


def convert(source: Path, out: Path, seed: int = 0, question: str = "") -> dict[Split, int]:
    """Write ``train.jsonl``, ``val.jsonl`` and ``test.jsonl`` into ``out``.

    Parameters
    ----------
    source : Path
        A folder that holds known sets (``lymph_node``, ``lung``, ``blood``, ``nuclei``,
        ``nuclei_instances``), or one folder with images and a ``labels.csv``.
    out : Path
        Where the JSONL goes; image files stay where they are and are named relative to it.
    seed : int
        Of wordings, crops, composed fields and dealt splits.
    question : str
        What is asked of a plain folder.

    Raises
    ------
    QueryError
        If the folder holds nothing that can be converted.
    """
    source, out = source.resolve(), out.resolve()
    sets = [name for name in KNOWN if (source / name).is_dir()]
    if not sets and not (source / "labels.csv").is_file():
        raise QueryError(
            f"{source.name} holds neither a known set ({', '.join(KNOWN)}) nor a labels.csv; "
            "name a folder with images and a labels.csv (columns image, label)"
        )
    counts = {}
    for split in SPLITS:
        samples = (
            chain.from_iterable(_known(name, source / name, split, seed) for name in sets)
            if sets
            else plain_folder(source, split, seed, question or "Which label fits best?")
        )
        counts[split] = write_samples(
            out / f"{split}.jsonl", (_relative(sample, out) for sample in samples)
        )
    return counts


def _known(name: str, folder: Path, split: Split, seed: int) -> Iterator[Sample]:
    match name:
        case "lymph_node":
            return lymph_node(folder, split, seed, FIELDS[split])
        case "lung":
            return lung(folder, split, seed)
        case "blood":
            return chain(
                blood(folder, split, seed, VIEWS[split]),
                stitched(folder, split, seed, STITCHED[split]),
            )
        case "nuclei":
            return nuclei(folder, split, seed, VIEWS[split])
        case _:
            return nuclei_instances(folder, split, seed, VIEWS[split])


def _relative(sample: Sample, out: Path) -> Sample:
    def name(path: str) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    image = sample.image
    grid = name(image) if isinstance(image, str) else tuple(tuple(map(name, r)) for r in image)
    facts = sample.facts
    if facts.nuclei is not None:
        facts = facts.model_copy(update={"nuclei": name(facts.nuclei)})
    return sample.model_copy(update={"image": grid, "facts": facts})


__all__ = ["convert"]

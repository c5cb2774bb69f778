"""Folders of any known layout -> ``train.jsonl``, ``val.jsonl`` and ``test.jsonl``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from xml.etree import ElementTree

from tqdm import tqdm

from napari_pathreason._errors import QueryError
from napari_pathreason.training.samples._sample import SPLITS, Files, Sample, Split, write_samples

from ._mini import KNOWN, looks_mini, read_mini
from .sets import FALLBACKS, SETS, Entry, Found, Kind, Options, Store, deal, draw, regroup

MINI = "mini"
KINDS = {kind.name: kind.layout for kind in (*SETS, *FALLBACKS)} | {MINI: "/, ".join(KNOWN) + "/"}
"""Names for ``--kind``, and what lies in such a folder."""


@dataclass(frozen=True, slots=True)
class Converted:
    """Samples written to each split, and what a reader of scores on them must know."""

    kinds: tuple[str, ...]
    counts: dict[Split, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """Samples of one folder, made when they are written."""

    kind: str
    samples: Mapping[Split, Iterable[Sample]]
    notes: tuple[str, ...] = ()


def convert(
    sources: Path | Sequence[Path], out: Path, options: Options | None = None, kind: str = ""
) -> Converted:
    """Write ``train.jsonl``, ``val.jsonl`` and ``test.jsonl`` into ``out``.

    Parameters
    ----------
    sources : Path or sequence of Path
        Folders (or JSON and CSV files) of known layouts; several become one set of samples.
    out : Path
        Where the JSONL goes. Picture files stay where they are and are named relative to it; those
        inside an archive are written to ``out/images``.
    options : Options, optional
    kind : str
        A name of `KINDS`; empty to find out.

    Raises
    ------
    QueryError
        If a layout is unknown or could be two, or a folder is incomplete.
    """
    options, out = options or Options(), out.resolve()
    store = Store(out / "images")
    paths = [sources] if isinstance(sources, Path) else sources
    plans = [_plan(path.resolve(), options, kind, store) for path in paths]
    counts = {
        split: write_samples(
            out / f"{split}.jsonl",
            (_relative(sample, out) for plan in plans for sample in plan.samples[split]),
        )
        for split in SPLITS
    }
    notes = [
        f"{plan.kind}: {note}" if len(plans) > 1 else note for plan in plans for note in plan.notes
    ]
    return Converted(tuple(plan.kind for plan in plans), counts, tuple(notes))


def _plan(source: Path, options: Options, kind: str, store: Store) -> _Plan:
    if not source.exists():
        raise QueryError(f"{source.name} is not there; check the name and the folder")
    kind = kind or find_kind(source)
    if kind not in KINDS:
        raise QueryError(f"there is no kind {kind}; take one of {', '.join(KINDS)}")
    if kind == MINI:
        if not looks_mini(source):
            raise QueryError(f"{source.name} holds none of {', '.join(KNOWN)}, each with its table")
        if options.most or options.groups or options.question:
            raise QueryError(
                "the embedded model's own sets are converted as they are; leave --most, --groups "
                "and --question out"
            )
        seed, times = options.seed, options.times
        return _Plan(MINI, {split: read_mini(source, split, seed, times) for split in SPLITS})
    if options.times > 1:
        raise QueryError("only the embedded model's own sets are drawn again; leave --times out")
    chosen = next(one for one in (*SETS, *FALLBACKS) if one.name == kind)
    if source.is_file() and not chosen.looks(source):
        raise QueryError(f"{source.name} is not what {kind} reads: {chosen.layout}")
    found = chosen.read(source, options)
    entries, notes = _there(found, chosen, source)
    group_is = found.group_is
    if options.groups is not None:
        entries, group_is = regroup(entries, options.groups), "group"
    parts, told = deal(entries, options.seed, group_is)
    samples = {
        split: _samples(draw(part, options.most, options.seed), split, options.seed, store)
        for split, part in parts.items()
    }
    return _Plan(kind, samples, notes + told)


def find_kind(source: Path) -> str:
    """Name of the kind that a folder or file looks like.

    Raises
    ------
    QueryError
        If it looks like none, or like several.
    """
    if looks_mini(source):
        return MINI
    fits = [kind.name for kind in SETS if kind.looks(source)]
    fits = fits or [kind.name for kind in FALLBACKS if kind.looks(source)][:1]
    if len(fits) > 1:
        raise QueryError(f"{source.name} could be {' or '.join(fits)}; say which with --kind")
    if not fits:
        raise QueryError(
            f"{source.name} has no layout that is known ({', '.join(KINDS)}); run `pathreason data "
            "list`, or name pictures in a labels.csv (columns image, label)"
        )
    return fits[0]


def _there(found: Found, kind: Kind, source: Path) -> tuple[list[Entry], tuple[str, ...]]:
    """Pictures whose files are there, and a note on the others."""
    entries = [e for e in found.entries if e.file is None or e.file.exists()]
    lost = len(found.entries) - len(entries)
    if not entries:
        what = f"{found.entries[0].key} nor any other picture" if lost else "no picture"
        raise QueryError(
            f"{source.name} holds {'neither ' * bool(lost)}{what} of {kind.name}; "
            f"a folder of it looks so: {kind.layout}"
        )
    if lost:
        return entries, (*found.notes, f"{lost:,} pictures are not in the folder and were left out")
    return entries, found.notes


def _samples(entries: list[Entry], split: Split, seed: int, store: Store) -> Iterator[Sample]:
    for entry in tqdm(entries, split, unit="picture", mininterval=1, disable=len(entries) < 1000):
        # an own draw for each picture: fewer pictures leave the questions of the rest as they are
        try:
            yield from entry.ask(split, Random(f"{seed}-{entry.key}"), store)
        except (OSError, ElementTree.ParseError):  # of a mask or a file of boxes
            raise QueryError(
                f"what belongs to {entry.key} cannot be read; download it again"
            ) from None


def _relative(sample: Sample, out: Path) -> Sample:
    def name(path: str) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    def each(image: Files) -> Files:
        return name(image) if isinstance(image, str) else tuple(tuple(map(name, r)) for r in image)

    facts = sample.facts
    if facts.nuclei is not None:
        facts = facts.model_copy(update={"nuclei": each(facts.nuclei)})
    return sample.model_copy(update={"image": each(sample.image), "facts": facts})

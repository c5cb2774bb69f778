"""Folders of any known layout -> ``train.jsonl``, ``val.jsonl`` and ``test.jsonl``, or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import writing_alone
from napari_pathreason.training.samples import SPLITS, Files, Sample, Split, write_samples

from ._plan import UNREADABLE, ConversionPlan, LabelSource, plan_of
from ._summary import holds_samples
from .sets import BROKEN, NAMED_SO, Options, Store, kind_of

DRAFT = ".converting-"
"""How the name of a folder begins in which files are not whole yet."""
NEEDED = {"train": "training", "val": "training", "test": "evaluate"}
"""Which step reads a split."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """Samples written to each split, and what a reader of scores on them must know."""

    kinds: tuple[str, ...]
    counts: dict[Split, int]
    notes: tuple[str, ...] = ()


def convert(
    sources: Path | Sequence[Path], out: Path, options: Options | None = None, kind: str = ""
) -> Conversion:
    """Write ``train.jsonl``, ``val.jsonl`` and ``test.jsonl`` into ``out``, all three or none.

    Every picture is opened once; what cannot be used is left out and counted in the notes.

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
        If a layout is unknown or could be two, a folder is incomplete or damaged, two choices are
        one after case and blanks, or a split that is needed has no sample. What lay in ``out``
        before stays as it was.
    """
    options, out = options or Options(), out.resolve()
    paths = [path.resolve() for path in ([sources] if isinstance(sources, Path) else sources)]
    kinds = [kind_of(path, kind) for path in paths]
    read = [
        LabelSource(path, layout, layout.read(path, options))
        for path, layout in zip(paths, kinds, strict=True)
    ]
    store, single = Store(out / "images"), {source.only for source in read} - {None}
    plans = [plan_of(source, options, store, out, single) for source in read]
    return write_conversion(plans, out, options.splits)


def write_conversion(
    plans: Sequence[ConversionPlan], out: Path, wanted: Sequence[Split] | None = None
) -> Conversion:
    """Write the samples of all plans into the three files, one plan after another.

    Parameters
    ----------
    plans : sequence of ConversionPlan
    out : Path
        Pictures are named relative to it.
    wanted : sequence of {"train", "val", "test"}, optional
        Splits that must hold samples; None for all that the plans give.

    Raises
    ------
    QueryError
        If a split that is wanted has no sample, too many pictures of a plan cannot be read, or
        ``out`` holds something else of that name. What lay in ``out`` before stays as it was.
    ExportError
        If ``out`` cannot be written to, or another process does.
    """
    out = out.resolve()
    wanted = wanted or tuple(s for s in SPLITS if any(s in plan.gives for plan in plans))
    for split in SPLITS:
        if holds_samples(out / f"{split}.jsonl") is False:
            raise QueryError(
                f"{split}.jsonl in the folder {out.name} holds no samples of this project, and "
                "would be written over; choose another place with -o"
            )
    with _beside(out) as folder:
        counts = {
            split: write_samples(
                folder / f"{split}.jsonl",
                (_relative(sample, out) for plan in plans for sample in plan.samples[split]),
            )
            for split in SPLITS
        }
        for plan in plans:
            plan.left.refuse_damaged(UNREADABLE, plan.total, "download the set again")
        _refuse_empty(counts, wanted, plans)
        # a kill in between leaves splits of one conversion alone, never of both: a picture that one
        # of them trains on may be one to test on of the other
        try:
            for split in SPLITS:
                with contextlib.suppress(FileNotFoundError):
                    os.replace(out / f"{split}.jsonl", folder / f"{split}.former")
            for split in reversed(SPLITS):
                os.replace(folder / f"{split}.jsonl", out / f"{split}.jsonl")
        except BaseException:
            for former in folder.glob("*.former"):
                os.replace(former, out / f"{former.stem}.jsonl")
            raise
    notes = [
        f"{plan.kind}: {note}" if len(plans) > 1 else note
        for plan in plans
        for note in (*plan.notes, *plan.left.notes())
    ]
    return Conversion(tuple(plan.kind for plan in plans), counts, tuple(notes))


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder for files that are not whole yet, gone afterwards."""
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with writing_alone(out):
            for left in out.glob(f"{DRAFT}*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            with TemporaryDirectory(prefix=DRAFT, dir=out) as folder:
                yield Path(folder)
    except OSError as error:
        raise ExportError(
            f"{out.name} cannot be written to ({error.strerror}); choose another place with -o"
        ) from None
    finally:
        if new:
            with contextlib.suppress(OSError):
                out.rmdir()  # only if nothing was written


def _refuse_empty(
    counts: Mapping[Split, int], wanted: Sequence[Split], plans: Sequence[ConversionPlan]
) -> None:
    """Refuse a conversion that the next step would refuse.

    Raises
    ------
    QueryError
        Names the splits, why they are empty as far as that is known, and the remedy.
    """
    empty = [split for split in wanted if not counts[split]]
    if not empty:
        return
    reasons = [plan.short for plan in plans if plan.short]
    reasons += [note for plan in plans for note in plan.notes if NAMED_SO in note]
    broken = [p.left.names(why) for p in plans for why in (BROKEN, UNREADABLE) if p.left.count(why)]
    reasons += [f"these cannot be read: {', '.join(broken)}"] if broken else []
    remedies = ["add pictures"]
    if any(plan.short for plan in plans):
        remedies = ["add more, or say what belongs apart with --groups CSV"]
    elif "train" in empty:
        remedies = ["convert the folder above the splits, or add what to train on"]
    if "train" in empty and counts["test"]:
        remedies.append("or say --splits test if it is to evaluate on alone")
    elif empty == ["test"]:
        remedies.append("or say --splits train,val to go without")
    raise QueryError(
        f"no samples for {' and '.join(f'{split} ({NEEDED[split]} needs it)' for split in empty)}"
        + (f": {'; '.join(reasons)}" if reasons else "")
        + f"; {', '.join(remedies)}. Nothing was written"
    )


def _relative(sample: Sample, out: Path) -> Sample:
    def name(path: str) -> str:
        return Path(os.path.relpath(path, out)).as_posix()

    def each(image: Files) -> Files:
        return name(image) if isinstance(image, str) else tuple(tuple(map(name, r)) for r in image)

    facts = sample.facts
    if facts.nuclei is not None:
        facts = facts.model_copy(update={"nuclei": each(facts.nuclei)})
    return sample.model_copy(update={"image": each(sample.image), "facts": facts})

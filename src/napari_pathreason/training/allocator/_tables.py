"""s(N): what the performer scores on each question at every budget, tabulated once.

An allocator of either form learns from these tables alone. They lie in ``output``/allocator, each
under a name that says which performer (every file of it that can change an answer), data, pictures,
seed and rules of scoring it belongs to, so that a run that was cut, and the other form, find them
again. Several processes each ask a share of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

from accelerate import Accelerator
from tqdm import tqdm

from napari_pathreason import models
from napari_pathreason.errors import QueryError
from napari_pathreason.files import Journal, check_sum, with_checksum
from napari_pathreason.tasks import SCORING
from napari_pathreason.training.evaluation import Evaluator, pick
from napari_pathreason.training.recipe import Cost, Recipe
from napari_pathreason.training.run import (
    by_first,
    check_unchanged,
    copy_checkpoint,
    data_identity,
)
from napari_pathreason.training.samples import Pictures, Sample, read_samples, shown_size
from napari_pathreason.types import ModelInfo

Key: TypeAlias = tuple[int, tuple[int, int]]
"""Place of a question, and size (width, height) of the picture that it is shown."""
TOGETHER = 16
"""Questions that share the performer's passes while s(N) is tabulated."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One question at one size: score 0 to 1, visual tokens and FLOPs; native beside them."""

    score: float
    tokens: int
    flops: float
    native: int
    flops_native: float


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Questions of a split; ``rows`` holds a `Scored` for each of `BUDGETS`, ``file`` keeps them.

    ``info`` is the performer's; ``data`` is `data_identity` of the data as they were read.
    """

    samples: list[Sample]
    pictures: Pictures
    rows: list[list[Scored]]
    file: Path
    info: ModelInfo
    data: Mapping[str, str]

    @property
    def calls(self) -> int:
        """How often the performer was asked: once for each size that a budget reads."""
        return sum(len(set(row)) for row in self.rows)

    def only(self, places: Sequence[int]) -> ScoreTable:
        """Some of the questions, of the same file."""
        samples = [self.samples[at] for at in places]
        return replace(self, samples=samples, rows=[self.rows[at] for at in places])


def train_val_tables(
    recipe: Recipe, folder: Path, accelerator: Accelerator | None = None
) -> tuple[ScoreTable, ScoreTable]:
    """What an allocator learns from, and other pictures that tell how well.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Of the performer.
    accelerator : Accelerator, optional
        Of the processes that ask the performer, each a share on its own device; to be called in
        all of them. Without one this process asks everything.

    Raises
    ------
    QueryError
        If the data are replaced while they are read.
    """
    settings = recipe.allocator
    data = data_identity(Path(recipe.data.folder))
    if settings.learn_from == "train":
        return (
            _table_of(recipe, folder, "train", settings.questions, accelerator, data),
            _table_of(recipe, folder, "val", settings.validate_questions, accelerator, data),
        )
    each = settings.questions + settings.validate_questions
    both = _table_of(recipe, folder, "val", each, accelerator, data)
    parts: tuple[list[int], list[int]] = [], []
    for at, sample in enumerate(both.samples):  # every third picture, whatever is asked about it
        parts[crc32(json.dumps(sample.image).encode()) % 3 == 0].append(at)
    return both.only(parts[False]), both.only(parts[True])


def _table_of(
    recipe: Recipe,
    folder: Path,
    split: str,
    each: int,
    accelerator: Accelerator | None,
    data: Mapping[str, str],
) -> ScoreTable:
    """A table of ``each`` questions of each kind of a split, of data that are called so."""
    place = Path(recipe.data.folder)
    samples = pick(read_samples(place / f"{split}.jsonl"), each, recipe.seed)
    pictures = Pictures(place)
    pictures.hold(samples)
    check_unchanged(data, data_identity(place))
    device = "auto" if accelerator is None else str(accelerator.device)
    performer = models.load_performer(folder, device)
    token_px = performer.info.dims.token_px
    evaluator = Evaluator(
        samples, pictures, performer, models.FixedAllocator(), recipe.seed, TOGETHER
    )
    answered = models.checkpoint_sha256(folder, folder.name, allocators=False)
    questions = f"{data['data']} {data['pictures']} {split} {each} {recipe.seed} {SCORING}"
    name = hashlib.sha256(f"{questions} {answered}".encode())
    path = Path(recipe.output) / f"allocator/scores-{split}-{name.hexdigest()[:12]}.jsonl"
    if accelerator is not None and accelerator.num_processes > 1:
        share = accelerator.process_index, accelerator.num_processes
        tabulate_share(samples, pictures, evaluator, token_px, path, *share, f"s(N) of {split}")
        accelerator.wait_for_everyone()  # a share is gathered once it is whole
        by_first(accelerator, lambda: gather_shares(path))
    rows = tabulate(samples, pictures, evaluator, token_px, path, f"s(N) of {split}")
    return ScoreTable(samples, pictures, rows, path, performer.info, data)


def tabulate(
    samples: Sequence[Sample],
    pictures: Pictures,
    evaluator: Evaluator,
    token_px: int,
    file: Path,
    name: str = "s(N)",
) -> list[list[Scored]]:
    """Score of every question at each of `BUDGETS`, in their order.

    Budgets that read a region at one size share one greedy answer, so a small region costs two or
    three answers, not ten. Answers go to ``file`` the moment they are there; a cut table goes on
    where it was cut.

    Parameters
    ----------
    samples : sequence of Sample
        The evaluator's.
    file : Path
        JSONL; must belong to these samples and this performer, so let its name say which.
    name : str
        Of the progress bar.
    """
    scores = _scores_in(file)
    sizes, wanted = _sizes(samples, pictures, token_px)
    new = {budget: [k for k in keys if k not in scores] for budget, keys in wanted.items()}
    scores |= _ask(evaluator, new, file, name, len(scores))
    return [[scores[at, size] for size in each] for at, each in enumerate(sizes)]


def tabulate_share(
    samples: Sequence[Sample],
    pictures: Pictures,
    evaluator: Evaluator,
    token_px: int,
    file: Path,
    rank: int,
    processes: int,
    name: str = "s(N)",
) -> None:
    """Ask a process's share of what `tabulate` asks, to lie beside ``file`` until it is gathered.

    Shares are of each budget, so that none has all the large pictures. What lies there from a run
    that was cut, of any number of processes, is not asked again.

    Parameters
    ----------
    rank, processes : int
        Which share of how many; the other parameters are those of `tabulate`.
    """
    known = set(_scores_in(file)).union(*map(_scores_in, _shares(file)))
    _, wanted = _sizes(samples, pictures, token_px)
    new = {
        budget: [key for key in keys[rank::processes] if key not in known]
        for budget, keys in wanted.items()
    }
    _ask(evaluator, new, file.with_name(f"{file.stem}.share-{rank}.jsonl"), name)


def gather_shares(file: Path) -> None:
    """Add what processes have asked to the table that is theirs, once all of them are done."""
    known, journal = set(_scores_in(file)), Journal(file)
    for share in _shares(file):
        scores = _scores_in(share)
        journal.append(*(_line(key, scores[key]) for key in scores if key not in known))
        known |= scores.keys()
        share.unlink()


def _shares(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.stem}.share-*.jsonl"))


def _sizes(
    samples: Sequence[Sample], pictures: Pictures, token_px: int
) -> tuple[list[list[tuple[int, int]]], dict[int | None, list[Key]]]:
    """Size of each question at each budget; and what to ask at each budget, each size once."""
    sizes = [
        [shown_size(s, pictures, budget, token_px) for budget in models.BUDGETS] for s in samples
    ]
    last = {
        (at, size): budget
        for at, each in enumerate(sizes)
        for size, budget in zip(each, models.BUDGETS, strict=True)
    }
    wanted: dict[int | None, list[Key]] = {budget: [] for budget in models.BUDGETS}
    for key, budget in last.items():
        wanted[budget].append(key)
    return sizes, wanted


def _ask(
    evaluator: Evaluator,
    new: Mapping[int | None, Sequence[Key]],
    file: Path,
    name: str,
    done: int = 0,
) -> dict[Key, Scored]:
    """Answers to questions at some budgets, each in ``file`` the moment it is there."""
    scores: dict[Key, Scored] = {}
    file.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(file)
    total = done + sum(map(len, new.values()))
    with tqdm(total=total, initial=done, desc=name, unit="answer", mininterval=5) as bar:
        for budget, keys in new.items():
            for window in evaluator.windows(list(keys), [size for _, size in keys]):
                items, lines = evaluator.ask([at for at, _ in window], budget), []
                for key, item in zip(window, items, strict=True):
                    scores[key] = Scored(
                        item.score, int(item.tokens), item.flops, item.native, item.flops_native
                    )
                    lines.append(_line(key, scores[key]))
                journal.append(*lines)
                bar.update(len(window))
    return scores


def _line(key: Key, scored: Scored) -> bytes:
    line = with_checksum({"index": key[0], "size": key[1], **asdict(scored)})
    return json.dumps(line).encode()


def _scores_in(file: Path) -> dict[Key, Scored]:
    """What an earlier run wrote."""
    scores = {}
    for line in Journal(file).lines():
        with suppress(ValueError, TypeError, LookupError, AttributeError):  # then it is asked again
            record = check_sum(json.loads(line))
            at, (width, height) = record.pop("index"), record.pop("size")
            scores[at, (width, height)] = Scored(**record)
    return scores


def native_flops(rows: Sequence[Sequence[Scored]], cost: Cost) -> list[float]:
    """FLOPs of each question that a cost of 1 stands for; see `AllocatorRecipe.cost`."""
    natives = [row[0].flops_native for row in rows]
    return natives if cost == "share" else [sum(natives) / len(natives)] * len(natives)


def performer_folder(recipe: Recipe) -> Path:
    """Folder of the performer to allocate for, beside whose weights the allocator will lie.

    The model that ships stays as it is: a copy of it is made in ``output``/allocator/model.

    Raises
    ------
    QueryError
        If none has been trained yet.
    ModelError
        If there is none of the name that the recipe gives.
    """
    if recipe.allocator.start is not None:
        folder, _ = models.find_checkpoint(recipe.allocator.start)
        if not models.is_embedded(folder):
            return folder
        copy = Path(recipe.output) / "allocator/model"
        if not copy.is_dir():
            copy_checkpoint(folder, copy)
        return copy
    for folder in (Path(recipe.output) / "grpo/model", Path(recipe.output) / "model"):
        if (folder / "config.json").is_file():
            return folder
    raise QueryError(
        "there is no performer to allocate for; run `pathreason train sft` with this recipe first, "
        "or name one as allocator.start"
    )

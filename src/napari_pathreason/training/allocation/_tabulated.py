"""The questions that an allocator of either form learns from, with s(N) of the performer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

from napari_pathreason.errors import QueryError
from napari_pathreason.models import (
    FixedAllocator,
    find_base,
    find_checkpoint,
    is_embedded,
    load_performer,
    weight_files,
)
from napari_pathreason.tasks import SCORING
from napari_pathreason.training.evaluation import Evaluator, pick
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import copy_checkpoint, fingerprint
from napari_pathreason.training.samples import Pictures, Sample, read_samples
from napari_pathreason.types import ModelInfo

from ._budget_scores import Scored, tabulate

TOGETHER = 16
"""Questions that share the performer's passes while s(N) is tabulated."""


@dataclass(frozen=True, slots=True)
class Tabulated:
    """Questions of a split; ``table`` holds a row of `BUDGETS` for each, ``file`` keeps it.

    ``info`` is the performer's.
    """

    samples: list[Sample]
    pictures: Pictures
    table: list[list[Scored]]
    file: Path
    info: ModelInfo

    @property
    def calls(self) -> int:
        """How often the performer was asked: once for each size that a budget reads."""
        return sum(len(set(row)) for row in self.table)

    def only(self, places: Sequence[int]) -> Tabulated:
        """Some of the questions, of the same file."""
        samples = [self.samples[at] for at in places]
        return replace(self, samples=samples, table=[self.table[at] for at in places])


def taught_and_held(
    recipe: Recipe, folder: Path, device: str = "auto"
) -> tuple[Tabulated, Tabulated]:
    """What an allocator learns from, and other pictures that tell how well; see `tabulated`."""
    settings = recipe.allocator
    if settings.learn_from == "train":
        return (
            tabulated(recipe, folder, "train", settings.questions, device),
            tabulated(recipe, folder, "val", settings.validate_questions, device),
        )
    each = settings.questions + settings.validate_questions
    known = tabulated(recipe, folder, "val", each, device)
    parts: tuple[list[int], list[int]] = [], []
    for at, sample in enumerate(known.samples):
        parts[_is_held(sample)].append(at)
    return known.only(parts[False]), known.only(parts[True])


def _is_held(sample: Sample) -> bool:
    """Every third picture, whatever is asked about it."""
    return crc32(json.dumps(sample.image).encode()) % 3 == 0


def tabulated(
    recipe: Recipe, folder: Path, split: str, each: int, device: str = "auto"
) -> Tabulated:
    """Questions of a split with their s(N), which is asked for where no earlier run did.

    The table belongs to these weights, these data, this seed and these rules of scoring; both
    forms of the allocator share it, and it lies in ``output``/allocator.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Of the performer.
    split : str
    each : int
        Questions of each kind.
    device : str
        That the performer is asked on.
    """
    data = Path(recipe.data.folder)
    samples = pick(read_samples(data / f"{split}.jsonl"), each, recipe.seed)
    pictures = Pictures(data)
    performer = load_performer(folder, device)
    token_px = performer.info.dims.token_px
    evaluator = Evaluator(samples, pictures, performer, FixedAllocator(), recipe.seed, TOGETHER)
    asked = f"{fingerprint(data)} {split} {each} {recipe.seed} {SCORING}"
    named = hashlib.sha256(asked.encode())
    for weights in weight_files(folder, folder.name, find_base(folder, folder.name)):
        with weights.open("rb") as held:
            while part := held.read(1 << 24):
                named.update(part)
    file = Path(recipe.output) / f"allocator/scores-{split}-{named.hexdigest()[:12]}.jsonl"
    table = tabulate(samples, pictures, evaluator, token_px, file, f"s(N) of {split}")
    return Tabulated(samples, pictures, table, file, performer.info)


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
        folder, _ = find_checkpoint(recipe.allocator.start)
        if not is_embedded(folder):
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

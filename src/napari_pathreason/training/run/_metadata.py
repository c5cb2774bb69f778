"""What a model will say of its training, and what its run was made of.

The first goes with the weights (pathreason.json), out of the recipe and the samples; the second
stays with the run (run.json).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_pathreason.errors import QueryError
from napari_pathreason.files import own_name, write_json
from napari_pathreason.models import metadata_of, read_metadata, write_metadata
from napari_pathreason.tasks import abstains, form_of, words_of_query
from napari_pathreason.training.recipe import Recipe, file_beside
from napari_pathreason.training.samples import Sample, files_of, picture_sha256
from napari_pathreason.types import Form, Metadata, Query, Topic

PACKAGES = ("napari-pathreason", "torch", "transformers", "accelerate", "tokenizers")


def model_name(recipe: Recipe) -> str:
    """What a run's model is called: as the recipe states, else as the folder ``output``."""
    return recipe.metadata.name or own_name(recipe.output) or "model"


def build_metadata(
    recipe: Recipe,
    samples: Sequence[Sample],
    budgets: Mapping[int, float],
    held: int | None = None,
) -> Metadata:
    """What a run's model will say; a run that continues from another model tells of its own data.

    Parameters
    ----------
    recipe : Recipe
        Tissues, scale, zoom labels and windows are those that it states.
    samples : sequence of Sample
        Of ``train``; a source that is never drawn tells nothing.
    budgets : mapping
        Relative weights of the visual tokens of a picture, as the run draws them.
    held : int, optional
        Visual tokens up to which replies of the model that it begins with hold, where it goes on
        with what that has learnt.

    Returns
    -------
    Metadata
        ``max_visual_tokens`` is the largest budget; `pathreason calibrate` measures it.

    Raises
    ------
    QueryError
        If a zoom label is none of the labels that training asks boxes of, or several pictures in
        one prompt are stated that no sample shows.
    """
    stated, trained_on = recipe.metadata, _trained_on(recipe, samples)
    sizes = [budget for budget, weight in budgets.items() if weight > 0]
    sizes += [held] if held is not None else []
    labels = box_labels(trained_on)
    if unknown := [label for label in stated.zoom_labels if label not in labels]:
        known = ", ".join(labels) or "nothing"
        raise QueryError(
            f"metadata.zoom_labels of the recipe names {', '.join(unknown)}, but training asks "
            f"boxes of: {known}; name some of these, or leave it out"
        )
    if stated.joint and not any(len(sample.views) > 1 for sample in trained_on):
        raise QueryError(
            "metadata.joint of the recipe says that prompts hold several pictures, but no sample "
            "that is drawn has views; give some (docs/training.md), or leave it out"
        )
    return Metadata(
        topics=topics_of(trained_on),
        labels=labels,
        tissues=stated.tissues,
        mpp=stated.mpp,
        max_visual_tokens=max(sizes, default=None),
        zoom_labels=stated.zoom_labels,
        window=stated.window,
        joint=stated.joint,
    )


def topics_of(samples: Iterable[Sample]) -> tuple[Topic, ...]:
    """Kinds of questions with a form of answer each, in the order of their first samples.

    A topic's words are those of all its questions, its example the one that is queries_of most.
    Questions that are answered by saying that there is no answer are none that a model can answer.
    """
    queries_of: dict[tuple[str, Form], Counter[Query]] = {}
    for sample in samples:
        if not abstains(sample.answer):
            query = sample.query
            queries_of.setdefault((sample.kind, form_of(query)), Counter())[query] += 1
    return tuple(
        Topic(
            name=kind,
            form=form,
            words=frozenset[str]().union(*map(words_of_query, queries)),
            example=queries.most_common(1)[0][0],
        )
        for (kind, form), queries in queries_of.items()
    )


def box_labels(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Labels whose boxes are asked for, in the order of their first samples."""
    labels = (label for s in samples if s.task == "detection" for label in s.choices)
    return tuple(dict.fromkeys(labels))


def describe_checkpoint(
    folder: Path, name: str, samples: Sequence[Sample], recipe: Recipe | None = None
) -> None:
    """Let a checkpoint say what it was trained on, where it does not yet or a recipe is given.

    Topics and labels are then those of ``samples``; what the recipe or else the checkpoint states
    besides (name, tissues, scale, zoom labels, windows, visual tokens) stays.

    Parameters
    ----------
    folder : Path
        Of the checkpoint.
    name : str
        How it is called where neither it nor the recipe says.
    samples : sequence of Sample
        That it was trained on.
    recipe : Recipe, optional
        That it was trained by.

    Raises
    ------
    ModelError
        If what it says is damaged.
    QueryError
        As in `build_metadata`.
    """
    metadata_json = read_metadata(folder, name)
    known = metadata_of(metadata_json, name) or Metadata()
    if recipe is None:
        if known.topics:
            return
        metadata = replace(known, topics=topics_of(samples), labels=box_labels(samples))
    else:
        built = build_metadata(recipe, samples, {})
        metadata = replace(
            built,
            tissues=built.tissues or known.tissues,
            mpp=built.mpp or known.mpp,
            max_visual_tokens=known.max_visual_tokens,
            zoom_labels=built.zoom_labels or known.zoom_labels,
            window=built.window or known.window,
            joint=built.joint or known.joint,
        )
    called = (recipe.metadata.name if recipe is not None else None) or metadata_json.get(
        "name", name
    )
    write_metadata(folder, called, metadata, metadata_json.get("box_space"))


def _trained_on(recipe: Recipe, samples: Sequence[Sample]) -> list[Sample]:
    """Samples of the sources that have a weight; those without one count by their size."""
    weights = recipe.data.weights
    return [sample for sample in samples if weights.get(sample.source, 1.0) > 0]


def fingerprint(folder: Path) -> str:
    """SHA-256 over the JSONL files of a data folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.jsonl")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def data_identity(folder: Path, splits: Sequence[str] = ("train", "val")) -> dict[str, str]:
    """What a run learns from, by its content: hashes of the samples, and of their pictures.

    Parameters
    ----------
    folder : Path
        Of the splits.
    splits : sequence of str
        Those that are read, as their files are called.

    Returns
    -------
    dict
        ``data``, see `fingerprint`; ``pictures``, over the names and the content of all files that
        these splits name (`picture_sha256`). A file that is missing counts as such.
    """
    files: set[str] = set()
    for split in splits:
        with suppress(OSError), (folder / f"{split}.jsonl").open("rb") as lines:
            for line in lines:
                files.update(_files_in(line))
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{json.dumps(name)} {picture_sha256(folder / name)}\n".encode())
    return {"data": fingerprint(folder), "pictures": digest.hexdigest()}


def _files_in(line: bytes) -> set[str]:
    """Files that a line of samples names; a damaged one is refused where it is read."""
    try:
        sample = json.loads(line)
        images = [sample["image"], sample.get("facts", {}).get("nuclei")]
        return {name for one in images if one is not None for name in files_of(one)}
    except (ValueError, TypeError, LookupError, AttributeError):
        return set()


def provenance(
    out: Path,
    recipe: Recipe,
    data: Path,
    engine: Sequence[str] = (),
    of: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``run.json``: resolved recipe, versions, hashes of data and of code beside the recipe.

    Names no host or path. ``engine`` are further packages whose versions count; ``of`` is what the
    run is called by, with `data_identity` as the data were read, None of what lies there now.

    Returns
    -------
    dict
        The resolved recipe, as it is written.
    """
    resolved = recipe.model_dump(mode="json")
    resolved["output"], resolved["data"]["folder"] = out.name, own_name(data)
    starts = {
        "model": recipe.model.start,
        "grpo": recipe.grpo.start,
        "allocator": recipe.allocator.start,
    }
    for part, start in starts.items():
        if start is not None and Path(start).exists():  # a folder: its name, not where it lies
            resolved[part]["start"] = own_name(start)
    read = data_identity(data) if of is None else of
    packages = (*PACKAGES, *engine, *(["peft"] if recipe.lora is not None else []))
    record = {
        "recipe": resolved,
        "data_sha256": read["data"],
        "pictures_sha256": read["pictures"],
        "code_sha256": {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest()
            for reference in (*recipe.grpo.rewards, *filter(None, [recipe.sft.objective]))
            if (file := file_beside(reference, recipe.beside)) is not None
        },
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }
    write_json(out / "run.json", record)
    return resolved

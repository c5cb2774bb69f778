"""Pictures that ship with the plugin, each with questions whose right answers are known.

`samples.json` beside them says what they are and what may be asked; `README.md` where they come
from and under which licence. A model is never shown any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from napari_pathreason.files import resolved
from napari_pathreason.types import Query

FOLDER = Path(__file__).parent

SAMPLE_KEY = "pathreason_sample"
"""Key of `layer.metadata` under which the reader names the sample that a layer shows."""


@dataclass(frozen=True, slots=True)
class SampleQuestion:
    """A question about the whole of a sample.

    Parameters
    ----------
    query : Query
    truth : str, optional
        What the labels of the picture's data set say; boxes as `pathreason ask` prints them. None
        where the picture has no labels, or the question no answer.
    demo : bool
        Whether `make demo` asks it.
    """

    query: Query
    truth: str | None = None
    demo: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """Options of `pathreason ask` that ask it."""
        options = ["--task", self.query.task] if self.query.task != "vqa" else []
        if self.query.question:
            options += ["--question", self.query.question]
        if self.query.options:
            options += ["--choices", ",".join(self.query.options)]
        return tuple(options)


@dataclass(frozen=True, slots=True)
class SamplePicture:
    """A picture that ships with the plugin.

    Parameters
    ----------
    key : str
        What napari's `open_sample` calls it.
    title : str
        As the menu shows it.
    file : str
        Beside this module.
    tissue : str
        What it shows.
    licence, source : str
        Source: data set, authors and the picture in it.
    chosen : str
        How it was chosen.
    questions : tuple of SampleQuestion
        What the embedded model was trained to answer; docks offer the first of a task.
    beyond : tuple of SampleQuestion
        What it was not trained to answer, to show what becomes of such a question.
    """

    key: str
    title: str
    file: str
    tissue: str
    licence: str
    source: str
    chosen: str
    questions: tuple[SampleQuestion, ...]
    beyond: tuple[SampleQuestion, ...] = ()

    @property
    def path(self) -> Path:
        """The picture."""
        return FOLDER / self.file


@cache
def samples() -> tuple[SamplePicture, ...]:
    """All of them, in the order of the menu."""
    from pydantic import TypeAdapter

    return TypeAdapter(tuple[SamplePicture, ...]).validate_json(
        (FOLDER / "samples.json").read_bytes()
    )


def sample(key: str) -> SamplePicture:
    """The sample of a key; `KeyError` where there is none."""
    return {one.key: one for one in samples()}[key]


def sample_at(path: str | Path) -> SamplePicture | None:
    """The sample that lies at a path; None for any other file."""
    path = resolved(path)
    if path.parent != resolved(FOLDER):
        return None
    return next((one for one in samples() if one.file == path.name), None)


def sample_questions(metadata: Mapping[str, Any]) -> tuple[Query, ...]:
    """What can be asked of the sample that a layer shows, the best first question first.

    Parameters
    ----------
    metadata : mapping
        Of a napari layer; the reader leaves the sample's key there under `SAMPLE_KEY`.

    Returns
    -------
    tuple of Query
        Empty for a layer that shows no sample.
    """
    shown = [one for one in samples() if one.key == metadata.get(SAMPLE_KEY)]
    return tuple(question.query for one in shown for question in one.questions)

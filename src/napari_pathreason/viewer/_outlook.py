"""What can be said of a question before it is asked, and what could be asked instead."""

from __future__ import annotations

from dataclasses import dataclass

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.engine import foreseen, sentence
from napari_pathreason.errors import ModelError
from napari_pathreason.tasks import content_words, examples, unknown_labels, words_of_query
from napari_pathreason.types import Budget, Level, Metadata, ModelInfo, Query

from ._session import Session

MOST_EXAMPLES, MOST_LABELS = 3, 8


@dataclass(frozen=True, slots=True)
class Outlook:
    """One line about a question that is being written.

    Parameters
    ----------
    level : {"reliable", "uncertain", "none"} or None
        The best that its answer can have; None where there is nothing to judge yet.
    text : str
        What there is to say.
    detail : str
        All reasons.
    lead : str
        Words before the examples.
    examples : tuple of Query
        What the model can answer, the most alike first.
    """

    level: Level | None
    text: str
    detail: str = ""
    lead: str = ""
    examples: tuple[Query, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The examples in words: labels where it is all about them."""
        labels = all(query.task == "detection" for query in self.examples)
        return tuple(
            query.question or f"{'' if labels else 'Find: '}{', '.join(query.options)}"
            for query in self.examples
        )


def outlook(query: Query, model: ModelInfo | None) -> Outlook:
    """How reliable an answer can be at best.

    Parameters
    ----------
    query : Query
        As far as it is written.
    model : ModelInfo or None
        None where nothing is known of the model until it has answered.
    """
    if model is None:
        return Outlook(None, "What this model was trained on is known once it has answered.")
    metadata = model.metadata
    offered = () if metadata is None else _alike(query, metadata)
    if not (query.question.strip() if query.task == "vqa" else query.options):
        find = query.task == "detection"
        lead = "It can look for:" if find else "It can answer, for example:"
        return Outlook(None, "", "", lead, offered)
    best = foreseen(query, model)
    detail = "\n".join(sentence(reason) for reason in best.reasons)
    if best.level == "reliable":
        return Outlook("reliable", "Trained on questions like this.")
    if best.level == "uncertain":
        return Outlook("uncertain", f"Uncertain at best: {best.reasons[0]}.", detail)
    first = sentence(best.reasons[0])
    if metadata is not None and unknown_labels(query, metadata):
        if metadata.labels:
            return Outlook("none", first, detail, "It can look for:", offered)
        blind = f"{first} It was not trained to draw boxes."
        return Outlook("none", blind, detail, "It can answer:", offered)
    guess = f"{first} An answer would be a guess."
    return Outlook("none", guess, detail, "It can answer:", offered)


def foresee(session: Session, query: Query, model: str) -> tuple[Outlook, ModelInfo | None]:
    """Outlook of a question to a model, and what is known of that; nothing is loaded.

    Parameters
    ----------
    session : Session
    query : Query
        As far as it is written.
    model : str
        ``embedded``, a folder or a hub id.
    """
    try:
        info = session.info_of(model)
    except ModelError as error:
        return Outlook("none", sentence(error)), None
    return outlook(query, info), info


def why_not_offered(budget: Budget, most: int | None, native: int | None = None) -> str:
    """Why a budget is not offered for what is one picture, as a tile is; empty where it is.

    Parameters
    ----------
    budget : int, "auto" or "native"
    most : int or None
        Visual tokens up to which the model's replies hold, see `Metadata.max_visual_tokens`; None
        where it says nothing.
    native : int, optional
        Visual tokens of the region at native size; without it native size is offered.
    """
    if most is None or budget == "auto":
        return ""
    limit = f"the {most:,} up to which this model's replies hold"
    if budget != "native":
        return f"more than {limit}" if budget > most else ""
    if native is None or native <= most:
        return ""
    return f"native size is {native:,} visual tokens, more than {limit}; mark a smaller region"


def why_windows(tokens: int, most: int | None, one_picture: bool = False) -> str:
    """Why so many visual tokens are read as windows; empty where one picture can have them.

    Parameters
    ----------
    tokens : int
        Of a picture.
    most : int or None
        As of `why_not_offered`.
    one_picture : bool
        Whether the user wants one picture: then it is not read at all.
    """
    if most is None or tokens <= most:
        return ""
    then = "choose another way to read it" if one_picture else "read as windows"
    return f"more than the {most:,} up to which replies about one picture hold: {then}"


def largest_offered(most: int | None) -> int:
    """The highest budget that a model's replies hold at."""
    return max(
        (budget for budget in BUDGET_GRID if most is None or budget <= most), default=BUDGET_GRID[0]
    )


def _alike(query: Query, metadata: Metadata) -> tuple[Query, ...]:
    """Questions that a model can answer: of detection its labels, else the most alike first.

    Where none is alike, those of the same task go first: a click leaves the form as it is.
    """
    if query.task == "detection" and metadata.labels:
        return tuple(Query("detection", "", (label,)) for label in metadata.labels[:MOST_LABELS])
    words = words_of_query(query)
    shared = {
        topic.example: len(words & (topic.words | content_words(topic.name)))
        for topic in metadata.topics
    }
    ranked = sorted(shared, key=lambda example: (-shared[example], example.task != query.task))
    near = [example for example in ranked if shared[example]]
    others = sorted(examples(metadata), key=lambda example: example.task != query.task)
    offered = dict.fromkeys([*near[: MOST_EXAMPLES - 1], *others, *near])
    return tuple(offered)[:MOST_EXAMPLES]

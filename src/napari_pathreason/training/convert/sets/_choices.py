"""Labels that a question offers must differ by more than case and blanks."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from napari_pathreason.errors import QueryError
from napari_pathreason.tasks import equal_choices

Named = tuple[str, str]
"""A label as it is spelled, and where it stands ("" where that is said already)."""


def key_of(label: str) -> str:
    """A label without case, doubled blanks, underscores; signs and numbers stay."""
    plain = unicodedata.normalize("NFC", label).replace("_", " ")
    return " ".join(plain.split()).casefold()


def alike(choices: Sequence[str]) -> tuple[str, str] | None:
    """The first two choices that are one after case and blanks; None if all differ."""
    return equal_choices(choices, key_of)


def refuse_alike(where: str, what: str, named: Iterable[Named]) -> None:
    """Refuse two spellings of one label.

    Parameters
    ----------
    where : str
        File, row or picture that offers them, for the message.
    what : str
        What they are, in the plural: "labels", "class folders".
    named : iterable of (label, place)
        A spelling may come often.

    Raises
    ------
    QueryError
        If two spellings are one after case and blanks; names both and where they stand.
    """
    places: dict[str, str] = {}
    for label, place in named:
        places.setdefault(label, place)
    pair = alike(list(places))
    if pair is not None:
        first, second = (
            f"{label!r}" + f" ({places[label]})" * bool(places[label]) for label in pair
        )
        raise QueryError(
            f"{where}: the {what} {first} and {second} are one after case and blanks; spell them "
            "alike, or rename one"
        )


def refuse_alike_choices(where: str, choices: Sequence[str]) -> None:
    """Refuse choices of one question of which two are one, equal ones included.

    Raises
    ------
    QueryError
        Names both, and the question.
    """
    pair = alike(choices)
    if pair is not None:
        raise QueryError(
            f"{where}: the choices {pair[0]!r} and {pair[1]!r} are one after case and blanks; "
            "offer each once"
        )

"""The rungs a budget may stand on."""

from __future__ import annotations

from napari_pathreason.errors import QueryError
from napari_pathreason.types import Budget

LADDER: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Visual tokens of each rung; native size stands above them."""


def parse_budget(text: str | int) -> Budget:
    """Read a budget from user input: ``auto``, ``native`` or a whole number of tokens.

    Raises
    ------
    QueryError
        If it is none of these.
    """
    word = str(text).strip().lower()
    if word == "auto":
        return "auto"
    if word == "native":
        return "native"
    if word.isdecimal() and int(word) > 0:
        return int(word)
    raise QueryError(
        f"the budget {text!r} is not understood; give auto, native or a number of visual tokens "
        f"such as {', '.join(map(str, LADDER))}"
    )


def snap(number: int, native: int) -> int | None:
    """Rung for a number of visual tokens: the highest that is not above it, as a budget is a bound.

    Below the ladder it is the lowest rung; from ``native`` up, or where that rung reads no less, it
    is native size.

    Parameters
    ----------
    number : int
        Visual tokens that were asked for.
    native : int
        Visual tokens of the region at native size.

    Returns
    -------
    int or None
        One of `LADDER`; None for native size.
    """
    rung = max((rung for rung in LADDER if rung <= number), default=LADDER[0])
    return None if number >= native or rung >= native else rung

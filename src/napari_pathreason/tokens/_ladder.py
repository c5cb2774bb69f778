"""The rungs a budget may stand on."""

from __future__ import annotations

from napari_pathreason._errors import QueryError
from napari_pathreason._types import Budget

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

"""Where in a region something is, from windows that each say where in them it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from napari_pathreason.geometry import Region
from napari_pathreason.types import Query

from ._choices import same_choice
from ._cited import PLACES
from ._combine_choices import Answered, Combined, combine_choices, states_absence


def asks_place(query: Query) -> bool:
    """Whether the choices of a question are places, such as ``upper left`` and ``nowhere``."""
    named = [option for option in query.options if _cell(option) is not None]
    return len(named) > 1 and all(
        option in named or _says_nowhere(option) for option in query.options
    )


def asks_most(query: Query) -> bool:
    """Whether a question asks which place has most of something that is everywhere.

    Windows by themselves cannot tell: all of the region must be seen at once.
    """
    return asks_place(query) and not any(map(_says_nowhere, query.options))


def combine_places(
    answers: Sequence[Answered], windows: Sequence[Region], region: Region, options: Sequence[str]
) -> Combined:
    """Place in a region of what windows show.

    A place in a window is a place on the slide, and so one in the region. Each place of the region
    is as likely as the confidences add up there; the answer's confidence is the highest of them. If
    no window shows anything it is nowhere, as `combine_choices` has it.

    Parameters
    ----------
    answers : sequence of (str, float or None)
        Of each window: one of the options, or empty where it is not known.
    windows : sequence of Region
        Level-0 pixels.
    region : Region
        What was asked about, level-0 pixels.
    options : sequence of str
        Places, and what says that it is at none.
    """
    shown: dict[str, list[int]] = defaultdict(list)
    for index, ((text, _), window) in enumerate(zip(answers, windows, strict=True)):
        cell = _cell(text)
        if cell is not None:
            row, column = divmod(cell, 3)
            x = window.x + window.width * (2 * column + 1) / 6
            y = window.y + window.height * (2 * row + 1) / 6
            if (option := _option_at(x, y, region, options)) is not None:
                shown[option].append(index)
    if not shown:
        return combine_choices(answers, options)
    weights = {
        option: sum(0.5 if (c := answers[index][1]) is None else c for index in indexes)
        for option, indexes in shown.items()
    }
    best = max(shown, key=lambda option: weights[option])
    known = [c for index in shown[best] if (c := answers[index][1]) is not None]
    others = {option: len(indexes) for option, indexes in shown.items() if option != best}
    against = ", ".join(f"{count} in the {option}" for option, count in others.items())
    return Combined(
        best,
        max(known, default=None),
        tuple(sorted(shown[best], key=lambda index: -(answers[index][1] or 0.0))),
        contradictions=f"windows show it in several places: {len(shown[best])} in the {best}, "
        f"{against}"
        if against
        else "",
    )


def place_at(x: float, y: float, region: Region) -> int:
    """Which of `PLACES` of a region a point lies in, level-0 pixels."""
    column = min(max(int(3 * (x - region.x) / region.width), 0), 2)
    row = min(max(int(3 * (y - region.y) / region.height), 0), 2)
    return 3 * row + column


def _option_at(x: float, y: float, region: Region, options: Sequence[str]) -> str | None:
    """The option whose place is nearest to a point: it may be a quarter where ninths are asked."""
    cells = [(option, cell) for option in options if (cell := _cell(option)) is not None]

    def distance(cell: int) -> float:
        row, column = divmod(cell, 3)
        across = (x - region.x) / region.width - (2 * column + 1) / 6
        down = (y - region.y) / region.height - (2 * row + 1) / 6
        return across**2 + down**2

    return min(cells, key=lambda one: distance(one[1]), default=(None, 0))[0]


def _cell(text: str) -> int | None:
    return next((i for i, place in enumerate(PLACES) if same_choice(text, place)), None)


def _says_nowhere(option: str) -> bool:
    return option.strip().casefold() == "nowhere" or states_absence(option)

"""Places and views that a rationale cites: ``upper left: tumour; centre: crowded nuclei``.

That of several views has a line for each, ``window 3: centre: tumour``: places are the view's.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass

from napari_pathreason.geometry import Box, Region

PLACES = (
    "upper left",
    "upper centre",
    "upper right",
    "centre left",
    "centre",
    "centre right",
    "lower left",
    "lower centre",
    "lower right",
)
"""A 3 x 3 grid in reading order."""
THROUGHOUT = "throughout"

_ROW = {"upper": 0, "top": 0, "centre": 1, "center": 1, "middle": 1, "lower": 2, "bottom": 2}
_COLUMN = {"left": 0, "centre": 1, "center": 1, "middle": 1, "right": 2}
_PLACE = re.compile(
    rf"\b(?:(?P<row>{'|'.join(_ROW)})[ -](?P<column>{'|'.join(_COLUMN)})"
    rf"|(?P<middle>centre|center)|(?P<all>{THROUGHOUT}))\b",
    re.IGNORECASE,
)
_VIEW = re.compile(r"^((?:window|zoom|region) \d+|overview|picture):[ \t]", re.MULTILINE)
_END = re.compile(r"[;\n]|\.(?:\s|$)|$")


@dataclass(frozen=True, slots=True)
class Cited:
    """A place or a view in a rationale, and what is said of it.

    Parameters
    ----------
    place : str
        One of `PLACES`, or `THROUGHOUT`, as of a view.
    text : str
        From the place to the end of its clause, as it stands in the rationale.
    start : int
        Where that begins, in characters.
    view : str
        Name of the view whose place it is, see `View.name`; empty for the region itself.
    """

    place: str
    text: str
    start: int
    view: str = ""

    def region_in(self, region: Region, views: Mapping[str, Region] | None = None) -> Region:
        """The place in a region or its view, level-0 pixels: a ninth of it, or all of it.

        Parameters
        ----------
        region : Region
            What the rationale is about.
        views : mapping of str to Region, optional
            Its views by their names.
        """
        region = (views or {}).get(self.view, region)
        if self.place == THROUGHOUT:
            return region
        row, column = divmod(PLACES.index(self.place), 3)
        x1, x2 = (round(region.width * n / 3) for n in (column, column + 1))
        y1, y2 = (round(region.height * n / 3) for n in (row, row + 1))
        return Region(region.x + x1, region.y + y1, max(x2 - x1, 1), max(y2 - y1, 1))


def cited_places(rationale: str) -> tuple[Cited, ...]:
    """Every place that a rationale names, in its order.

    Also reads ``top``, ``bottom``, ``middle`` and ``center``, which larger models write.
    """
    matches = list(_PLACE.finditer(rationale))
    views = cited_views(rationale)
    begins = [view.start for view in views]
    cited = []
    for number, match in enumerate(matches, 1):
        end = _END.search(rationale, match.end())
        stop = len(rationale) if end is None else end.start()
        if number < len(matches):
            stop = min(stop, matches[number].start())
        text = rationale[match.start() : stop].rstrip(" ,:-")
        before = bisect(begins, match.start())
        name = views[before - 1].view if before else ""
        cited.append(Cited(_name(match), text, match.start(), name))
    return tuple(cited)


def cited_views(rationale: str) -> tuple[Cited, ...]:
    """Every view whose line a rationale has, in its order; the text of each is its name."""
    return tuple(
        Cited(THROUGHOUT, match[1], match.start(), match[1]) for match in _VIEW.finditer(rationale)
    )


def citing(
    rationale: str,
    region: Region,
    box: Box,
    label: str,
    views: Mapping[str, Region] | None = None,
) -> Cited | None:
    """What a rationale says of a box: the place that holds its centre, its label first.

    Parameters
    ----------
    rationale : str
    region : Region
        What the rationale is about, level-0 pixels.
    box : Box
        Level-0 pixels.
    label : str
    views : mapping of str to Region, optional
        See `Cited.region_in`.
    """
    x, y = box.x + box.w / 2, box.y + box.h / 2

    def holds(place: Region) -> bool:
        x1, y1, x2, y2 = place.box.corners
        return x1 <= x <= x2 and y1 <= y <= y2

    there = [one for one in cited_places(rationale) if holds(one.region_in(region, views))]
    # what names the thing goes before what does not, a ninth before the whole
    there.sort(key=lambda one: (label.lower() not in one.text.lower(), one.place == THROUGHOUT))
    return there[0] if there else None


def _name(match: re.Match[str]) -> str:
    if match["all"]:
        return THROUGHOUT
    if match["middle"]:
        return "centre"
    return PLACES[3 * _ROW[match["row"].lower()] + _COLUMN[match["column"].lower()]]

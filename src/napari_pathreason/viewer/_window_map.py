"""The windows of a region as a map: planned, read or left out, what each of them said and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from napari_pathreason.budgets import budget_of, native_tokens
from napari_pathreason.engine import lay_grid, view_of, window_side
from napari_pathreason.exports import UNREADABLE as NOT_READABLE
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import ModelInfo, Reading, Result, View, Views, WindowChoice

from ._allocation import FRAMES, PICKED, SKIPPED, STYLES, UNREADABLE, kind_of, values_of
from ._words import reliability_words

State = Literal["waiting", "read", "damaged", "left out"]
DETAIL = 64
"""Pixels of the map along the shorter side of a usual window, as far as it can be that fine."""
MOST_PIXELS = 1024
"""Along a side of the map."""
OUTLINE = 32
"""Of how many parts of a window's side its outline is one."""
NEW_WINDOWS = "new window"
"""Name of the layer on which windows are drawn."""
USUAL = 64
"""Visual tokens of a window where the user leaves them to the policy and it has not chosen yet."""


@dataclass(frozen=True, slots=True)
class MapWindow:
    """A part of a region on its map.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    state : {"waiting", "read", "damaged", "left out"}
    view : View or None
        What is or will be read; None where it is left out.
    reading : Reading or None
        What it gave, alone or with others in one prompt.
    """

    region: Region
    state: State
    view: View | None = None
    reading: Reading | None = None

    @property
    def name(self) -> str:
        """What it is called; empty where it has no number yet."""
        if self.view is None:
            return "left out"
        return self.view.name

    @property
    def tokens(self) -> int:
        """Visual tokens that it has, or had."""
        if self.reading is not None and len(self.reading.views) == 1:
            return self.reading.visual_tokens
        return 0 if self.view is None else self.view.tokens

    @property
    def answer(self) -> str:
        """What it said, with what that is worth; empty where it did not answer by itself."""
        one = self.reading
        if one is None or len(one.views) > 1:
            return ""
        if not one.answer.readable:
            return "unreadable"
        return f"guess: {one.answer.text}" if one.reliability.level == "none" else one.answer.text

    @property
    def why(self) -> str:
        """Why it is read, or is not."""
        return "by you" if self.view is None else self.view.why

    def explain(self) -> str:
        """Tokens, why, what it said and how far that may be relied on, in a line."""
        name = f"{self.name[:1].upper()}{self.name[1:]}"
        if self.view is None:
            return f"{name} by you"
        words = [f"{self.tokens:,} visual tokens", *filter(None, [self.why])]
        if self.state == "waiting":
            words.append("not read yet")
        line = f"{name}: {', '.join(words)}"
        if self.state == "damaged":
            return f"{line}. Its part of the file is damaged"
        one = self.reading
        if one is None:
            return line
        if len(one.views) > 1:
            return f"{line}. Read with {len(one.views) - 1:,} others in one prompt"
        words = [self.answer if one.answer.readable else NOT_READABLE]
        if one.reliability.level != "none" and one.confidence is not None:
            words.append(f"confidence {one.confidence:.2f}")
        answer = f"{words[0][:1].upper()}{words[0][1:]}"
        return f"{line}. {', '.join([answer, *words[1:]])}. {reliability_words(one.reliability)}"


class WindowMap:
    """Windows over a region, as a picture that is laid over the slide; a `BudgetMap`.

    A window that waits is an outline in the colour of its budget, one that was read is filled; one
    that is left out is grey.

    Parameters
    ----------
    region : Region
        What is asked about, level-0 pixels.
    views : Views
        What is or will be read of it.
    model : ModelInfo
    choices : sequence of WindowChoice
        What the user said of parts of it; those that are not planned yet are shown as well.
    """

    def __init__(
        self,
        region: Region,
        views: Views,
        model: ModelInfo,
        choices: Sequence[WindowChoice] = (),
    ) -> None:
        self.region, self.views, self.choices = region, views, tuple(choices)
        self.box = region.box
        self.selected: tuple[Region, ...] = ()
        """Outlined as picked: windows, or places where one could be."""
        self._model = model
        side = window_side(region, model, model.max_visual_tokens)
        self._grid = lay_grid(region, side, self._token_px)
        banned = [MapWindow(one.region, "left out") for one in choices if one.tokens == 0]
        self.windows = [*banned, *(MapWindow(v.region, "waiting", v) for v in views.views)]
        """Those that are left out first, then in the order of reading."""
        self._places = {view: place for place, view in enumerate(views.views, len(banned))}
        planned = {view.region for view in views.views}
        for choice in choices:
            if choice.tokens != 0 and choice.region not in planned:
                view = self._pinned(choice)
                self.windows.append(MapWindow(choice.region, "waiting", view))
        self._index()
        self.values = np.zeros(self._size(), np.int32)
        """Of the pixels, int32 (rows, columns); see `values_of`."""
        self._paint_all()

    @classmethod
    def of_result(cls, result: Result) -> WindowMap | None:
        """The windows of an answer; None where it is of one picture."""
        if result.views is None or not has_windows(result):
            return None
        choices = () if result.request is None else result.request.windows
        banned = [one for one in choices if one.tokens == 0]
        shown = cls(result.region, result.views, result.model, banned)
        for reading in result.readings:
            shown.take(reading)
        shown.finish()
        return shown

    @property
    def _token_px(self) -> int:
        return self._model.dims.token_px

    def _pinned(self, choice: WindowChoice, planned: View | None = None) -> View:
        """A window as the user wants it, until its plan says what it will be."""
        tokens = choice.tokens
        if tokens is None:
            tokens = USUAL if planned is None else budget_of(planned)
        if min(choice.region.width, choice.region.height) < self._token_px:
            view = View(choice.region, (self._token_px,) * 2, 1, "window")  # its plan is refused
        else:
            view = view_of(choice.region, tokens, self._token_px, "window")
        number = 0 if planned is None else planned.number
        return replace(view, number=number, why=choice.reason)

    # what becomes of them

    def take(self, reading: Reading) -> None:
        """Note that views were read."""
        for view in reading.views:
            place = self._places.get(view)
            if place is None:  # a zoom, which came behind the plan
                place = self._places[view] = len(self.windows)
                self.windows.append(MapWindow(view.region, "waiting", view))
                self._index()
            self.windows[place] = replace(self.windows[place], state="read", reading=reading)
            self._paint(place)

    def planned_again(self, views: Views) -> WindowMap:
        """The map of a plan that goes on from this one; what was read stays so."""
        shown = WindowMap(self.region, views, self._model, self.choices)
        readings = {id(one.reading): one.reading for one in self.windows if one.reading is not None}
        for reading in readings.values():
            shown.take(reading)
        return shown

    def with_choices(self, choices: Sequence[WindowChoice]) -> WindowMap:
        """The map with other windows of the user's; those that he leaves out are not read."""
        banned = {one.region for one in choices if one.tokens == 0}
        pins = {one.region: one for one in choices if one.tokens != 0}
        views = (
            self._pinned(pins[view.region], view)
            if view.region in pins and self.windows[self._places[view]].state == "waiting"
            else view
            for view in self.views.views
            if view.region not in banned
        )
        shown = WindowMap(
            self.region, replace(self.views, views=tuple(views)), self._model, choices
        )
        for one in self.windows:
            if one.reading is not None and one.view in shown._places:
                shown.take(one.reading)
        shown.select(self.selected)
        return shown

    def finish(self) -> None:
        """What was planned and not read is damaged."""
        for place in self._places.values():
            if self.windows[place].state == "waiting":
                self.windows[place] = replace(self.windows[place], state="damaged")
        self._paint_all()

    def select(self, regions: Iterable[Region]) -> None:
        """Outline these as picked, and no others."""
        self.selected = tuple(dict.fromkeys(regions))
        self._paint_all()

    @property
    def read(self) -> int:
        """How many views were read."""
        return sum(one.state == "read" for one in self.windows)

    # where they are

    @property
    def pick_width(self) -> float:
        """See `BudgetMap`."""
        return max(min(self._grid.side) / 40, 1)

    def at(self, x: float, y: float) -> int | None:
        """The smallest window at a place, of equal ones the one above; see `BudgetMap`."""
        x1, y1, x2, y2 = self._corners.T
        inside = np.flatnonzero((x1 <= x) & (x < x2) & (y1 <= y) & (y < y2))
        if not len(inside):
            return None
        areas = self._areas[inside]
        return int(max(inside[areas == areas.min()], key=self._depth))

    def touched(self, box: Box) -> list[int]:
        """Windows that a box touches; see `BudgetMap`."""
        left, top, right, bottom = box.corners
        x1, y1, x2, y2 = self._corners.T
        touches = (x1 < right) & (left < x2) & (y1 < bottom) & (top < y2)
        return [int(place) for place in np.flatnonzero(touches)]

    def place_at(self, x: float, y: float) -> Region | None:
        """The window at a place, or the one that could be read there; None off the region."""
        window = self.at(x, y)
        if window is not None and not _is_whole(self.windows[window]):
            return self.windows[window].region
        left, top, right, bottom = self.box.corners
        if not (left <= x < right and top <= y < bottom):
            return None
        grid = self._grid
        row = int((y - top) / self.box.h * (grid.rows + 1) / 2)
        column = int((x - left) / self.box.w * (grid.columns + 1) / 2)
        return grid.window(2 * row * grid.columns + 2 * column)

    def find(self, region: Region) -> int | None:
        """The last window of a region."""
        places = (i for i, one in enumerate(self.windows) if one.region == region)
        return max(places, default=None)

    def why(self, region: Region) -> str:
        """Why the last window of a region is read; empty where none is."""
        place = self.find(region)
        view = None if place is None else self.windows[place].view
        return "" if view is None else view.why

    def explain(self, part: int) -> str:
        """See `BudgetMap`."""
        return self.windows[part].explain()

    def explain_place(self, x: float, y: float) -> str:
        """What is to be said of a place; empty off the region."""
        window = self.at(x, y)
        if window is not None:
            return self.explain(window)
        return "" if self.place_at(x, y) is None else "No window is read here"

    def features(self) -> dict[str, Any]:
        """Feature table of the pixels: ``index`` (the value), ``window`` and what it says."""
        parts = np.arange(len(self.windows), dtype=np.int32)
        kinds = np.array([self._kind(one) for one in self.windows], np.int32)
        words: dict[str, list[Any]] = {
            "window": [one.name for one in self.windows],
            "tokens": [one.tokens for one in self.windows],
            "answer": [one.answer for one in self.windows],
            "why": [one.explain() for one in self.windows],
        }
        index = [values_of(parts, kinds), values_of(parts, kinds + FRAMES)]
        return {
            "index": np.concatenate(index),
            **{title: column * len(index) for title, column in words.items()},
        }

    # the picture

    def _index(self) -> None:
        corners = [one.region.box.corners for one in self.windows]
        self._corners = np.array(corners, dtype=float).reshape(-1, 4)
        x1, y1, x2, y2 = self._corners.T
        self._areas = (x2 - x1) * (y2 - y1)

    def _size(self) -> tuple[int, int]:
        scale = min(DETAIL / min(self._grid.side), MOST_PIXELS / max(self.box.w, self.box.h))
        return max(1, round(self.box.h * scale)), max(1, round(self.box.w * scale))

    def _kind(self, one: MapWindow) -> int:
        if one.state == "damaged":
            return UNREADABLE
        if one.view is None:
            return SKIPPED
        return kind_of(one.view.tokens, native_tokens(one.region, self._token_px))

    def _paint_all(self) -> None:
        self.values[...] = 0
        for place in sorted(range(len(self.windows)), key=self._depth):
            self._paint(place)
        for place, region in enumerate(self.selected, len(self.windows)):
            self._outline(region, place * STYLES + PICKED + 1)

    def _depth(self, place: int) -> tuple[bool, int, int]:
        """What is read with more tokens lies above what is read with less."""
        view = self.windows[place].view
        return view is not None, 0 if view is None else view.tokens, place

    def _paint(self, place: int) -> None:
        one = self.windows[place]
        value = place * STYLES + self._kind(one) + 1
        if one.view is None or (one.state == "read" and not _is_whole(one)):
            rows, columns = self._pixels(one.region)
            self.values[rows, columns] = value
        self._outline(one.region, value + FRAMES)

    def _outline(self, region: Region, value: int) -> None:
        part = self.values[self._pixels(region)]
        if part.size:
            width = max(1, min(part.shape) // OUTLINE)
            part[:width] = part[-width:] = value
            part[:, :width] = part[:, -width:] = value

    def _pixels(self, region: Region) -> tuple[slice, slice]:
        """Rows and columns of the map that a region covers."""
        rows, columns = self.values.shape
        x1, y1, x2, y2 = region.box.corners
        across, down = columns / self.box.w, rows / self.box.h
        edges = (
            round((y1 - self.box.y) * down),
            round((y2 - self.box.y) * down),
            round((x1 - self.box.x) * across),
            round((x2 - self.box.x) * across),
        )
        top, bottom, left, right = (max(edge, 0) for edge in edges)
        return slice(top, bottom), slice(left, right)


def has_windows(result: Result) -> bool:
    """Whether an answer is put together from windows."""
    return result.views is not None and any(v.role == "window" for v in result.views.views)


def regions_by_name(result: Result) -> dict[str, Region]:
    """Views of an answer by the names under which its rationale cites them.

    What shows another slide has no place on this one.
    """
    shown = (view for one in result.readings for view in one.views if not view.slide)
    return {view.name: view.region for view in shown}


def _is_whole(one: MapWindow) -> bool:
    """Whether it shows all of the region, beside windows of it."""
    return one.view is not None and one.view.role in ("overview", "picture")

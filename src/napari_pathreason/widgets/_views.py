"""How a large region is read: its windows in a list, their cost, and what the user says of them.

The plan is made in a worker from an overview of the region, without the model. Answers show here
what they have read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHBoxLayout,
    QHeaderView,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.budgets import BUDGET_GRID, native_tokens, plan
from napari_pathreason.engine import Planned, sentence
from napari_pathreason.geometry import Region
from napari_pathreason.types import Budget, ModelInfo, WindowChoice
from napari_pathreason.viewer import (
    NEW_WINDOWS,
    MapWindow,
    Question,
    Session,
    WindowMap,
    choices_line,
    cost_line,
    drawn_boxes,
    go_to,
    kind_of,
    layer_size,
    pace,
    picks_of,
    place_under,
    plan_of_windows,
    realised_line,
    start_picking,
)

from ._fields import TOTALS, BudgetBox, ChoiceBox, Rows, RowTable, listen, text_line
from ._map_parts import PickedButtons, button, legend, patch_icon
from ._reliability import level_icon
from ._work import when_done, work

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

COLUMNS = {
    "View": "Its name in answers, and the colour of its budget: filled once it was read",
    "Tokens": "Visual tokens",
    "Answer": "What it said by itself",
    "Why": "Why it is read",
}
PINS: list[tuple[str, Any]] = [
    ("usual", None),
    *((f"{budget:,}", budget) for budget in BUDGET_GRID),
    ("native", "native"),
]
ANSWER, ANSWER_WIDTH = 2, 108
"""Place among the columns, and logical pixels to begin with."""
MOST_ROWS = 500
WHOLE = Region(0, 0, 1, 1)
"""Stands for whatever the canvas shows."""
HOVER = "Click windows on the slide or in the list to pick them."


class ViewsPage(QWidget):
    """The plan of a region's windows, or what an answer has read of them.

    Parameters
    ----------
    viewer : callable
        Gives the viewer, or None once it is gone.
    session : Session

    Signals
    -------
    budget_wanted : object
        The budget in total that the user has chosen.
    planned
        A plan was made, or could not be; what was set meanwhile has not been looked at.
    """

    budget_wanted = Signal(object)
    planned = Signal()

    def __init__(self, viewer: Callable[[], Viewer | None], session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self.picked: list[Region] = []
        self.plan: Planned | None = None
        self._model: ModelInfo | None = None
        self._question: Question | None = None
        self._image: ref[Image] | None = None
        self._former_layer: ref[Any] | None = None
        self._key: Any = None
        self._baseline: Any = None
        self._entry = 0
        self._shown: WindowMap | None = None
        self._filling = self._planning = False
        self.budget_box = BudgetBox("Most visual tokens of all windows together", TOTALS)
        self.cost = text_line("", 2)
        self.table = ViewTable()
        self.hover_line = text_line(HOVER, 2)
        self.pin_box = ChoiceBox(PINS, "Visual tokens that picked windows are pinned to")
        self.add_button = button("Add window", "Draw a rectangle that is to be read")
        self.buttons = PickedButtons("windows", self.add_button, self.pin_box, "the policy")
        self.clear_button = button("Clear", "Leave all windows of this image to the policy again")
        self.plan_button = button("Plan", "Plan the region as it is now")
        self.show_box = QCheckBox("On the slide")
        self.show_box.setToolTip("Show the windows over the slide")
        self.show_box.setChecked(True)
        self._lay_out()
        self._connect()
        self.refresh()

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self.plan_button)
        row.addWidget(self.clear_button)
        row.addWidget(self.show_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        total = Rows()
        total.add("In total", self.budget_box)
        layout.addLayout(total)
        layout.addWidget(self.cost)
        layout.addWidget(self.table, 1)
        layout.addLayout(legend("left out"))
        layout.addWidget(self.hover_line)
        layout.addWidget(self.buttons)
        layout.addLayout(row)

    def _connect(self) -> None:
        self.budget_box.activated.connect(lambda _: self.budget_wanted.emit(self.budget_box.value))
        self.table.itemSelectionChanged.connect(self._pick_rows)
        self.table.cellDoubleClicked.connect(self._go_to_row)
        self.buttons.pin.clicked.connect(lambda: self._give(self._pinned))
        self.buttons.ban.clicked.connect(lambda: self._give(lambda _: 0))
        self.buttons.higher.clicked.connect(lambda: self._give(self._raised))
        self.buttons.release.clicked.connect(self._release)
        self.add_button.clicked.connect(self.add_window)
        self.clear_button.clicked.connect(self._clear)
        self.plan_button.clicked.connect(self.plan_again)
        self.show_box.toggled.connect(self._show_on_slide)
        listen(self._session.steering.changed, self._steered)
        listen(self._session.windows.changed, self.refresh)

    # the plan

    def look(self, question: Question, image: Image, model: ModelInfo, follows_view: bool) -> None:
        """Plan anew where region, question, budget, policy or model are others.

        Parameters
        ----------
        question : Question
            What is asked.
        image : napari.layers.Image
        model : ModelInfo
        follows_view : bool
            Whether the region is what the canvas shows: once an answer is shown, moving the view
            does not plan anew.
        """
        self._take_drawn()
        self._question, self._model, self._image = question, model, ref(image)
        self.budget_box.choose(question.request.budget)
        key = (question.request, question.model, model, id(image))
        if self._session.asking or self._planning:
            return
        if self._session.windows.entry:
            if self._still(key, image, follows_view):
                return  # an answer is shown until something else is wanted
        elif key == self._key:
            return
        self._start(key, question, image, model)

    def _still(self, key: Any, image: Image, follows_view: bool) -> bool:
        """Whether the form says what it said when the answer was shown."""
        choices = self._session.steering.choices_of(image)
        if follows_view:
            key = (replace(key[0], region=WHOLE, windows=()), *key[1:])
        if self._baseline is None:
            self._baseline = key, choices
        return bool(self._baseline == (key, choices))

    def plan_again(self) -> None:
        """Plan the region as it is now."""
        image = None if self._image is None else self._image()
        if self._question is None or self._model is None or image is None or self._planning:
            return
        key = (self._question.request, self._question.model, self._model, id(image))
        self._start(key, self._question, image, self._model)

    def _start(self, key: Any, question: Question, image: Image, model: ModelInfo) -> None:
        self._planning, entry, image_of = True, self._session.windows.entry, ref(image)
        worker = work("planning windows", plan_of_windows, question, model)

        def take(plan: Any) -> None:
            self._planning = False
            # an answer that came meanwhile stays
            if not self._session.asking and self._session.windows.entry == entry:
                self._take(key, question, image_of, model, plan)
            self.planned.emit()

        when_done(worker, self, take)
        worker.start()

    def _take(
        self, key: Any, question: Question, image_of: ref[Image], model: ModelInfo, plan: Any
    ) -> None:
        self._key = key
        viewer, image = self._viewer(), image_of()
        if viewer is None or image is None or image not in viewer.layers:
            return
        if not isinstance(plan, Planned):
            self.plan = None
            self._session.windows.hide(viewer)
            why = sentence(plan) if plan else "All windows of this region show bare glass."
            self.cost.setText(f"{why}")
            return
        self.plan = plan
        request = question.request
        region = request.region.clipped(*layer_size(image))
        shown = WindowMap(region, plan.views, model, request.windows)
        shown.select(self.picked)
        self._session.windows.visible = self.show_box.isChecked()
        self._session.windows.show(viewer, image, shown)

    def leave(self) -> None:
        """The region is read as one picture: forget the plan."""
        viewer = self._viewer()
        if self.plan is not None and viewer is not None and not self._session.windows.entry:
            self._session.windows.hide(viewer)
        self.plan = self._key = None

    # what the user says of windows

    def point(self, position: tuple[float, ...]) -> None:
        """Pick the window at a position in the world, or leave it; one may be where none is yet."""
        viewer, windows = self._viewer(), self._session.windows
        if viewer is None or windows.shown is None or windows.image is None:
            return
        place = windows.shown.place_at(*place_under(viewer, windows.image, position))
        if place is None:
            return
        others = [region for region in self.picked if region != place]
        self._pick(others if place in self.picked else [*self.picked, place])

    def hover(self, position: tuple[float, ...]) -> None:
        """Say what there is to say of the window under the cursor; the position is in the world."""
        viewer, windows = self._viewer(), self._session.windows
        if viewer is None or windows.shown is None or windows.image is None:
            return
        words = windows.shown.explain_place(*place_under(viewer, windows.image, position))
        if words and words != self.hover_line.text():
            self.hover_line.setText(words)

    def add_window(self) -> None:
        """Let the user draw a window on the slide."""
        viewer, windows = self._viewer(), self._session.windows
        if viewer is None or windows.shown is None or windows.image is None:
            return
        active = viewer.layers.selection.active
        self._former_layer = None if active is None else ref(active)
        start_picking(viewer, windows.image, windows.shown, NEW_WINDOWS)

    def _take_drawn(self) -> None:
        """Pin the rectangles that were drawn."""
        viewer, image = self._viewer(), self._session.windows.image
        layer = None if viewer is None or image is None else picks_of(viewer, image, NEW_WINDOWS)
        if viewer is None or image is None or layer is None or self._model is None:
            return
        if not len(layer.data):
            return
        least = self._model.dims.token_px
        width, height = layer_size(image)
        regions = []
        for box in drawn_boxes(viewer, image, NEW_WINDOWS):
            x1, y1, x2, y2 = (round(v) for v in box.corners)
            x1, x2 = max(x1, 0), min(x2, width)
            y1, y2 = max(y1, 0), min(y2, height)
            if min(x2 - x1, y2 - y1) >= least:
                regions.append(Region(x1, y1, x2 - x1, y2 - y1))
        layer.data = []
        former = None if self._former_layer is None else self._former_layer()
        layer.mode = "pan_zoom"
        if former is not None and former in viewer.layers:
            viewer.layers.selection.active = former
        tokens = self.pin_box.value
        choices = [WindowChoice(one, _tokens(one, tokens, least)) for one in regions]
        self._session.steering.give(image, choices)

    def _give(self, tokens_of: Callable[[Region], int | None]) -> None:
        windows, regions = self._session.windows, self.picked
        image, shown = windows.image, windows.shown
        if image is None or shown is None or not regions:
            return
        self._pick([])
        choices = [WindowChoice(one, tokens_of(one), shown.why(one)) for one in regions]
        self._session.steering.give(image, choices, shown.region)

    def _pinned(self, region: Region) -> int | None:
        token_px = 32 if self._model is None else self._model.dims.token_px
        return _tokens(region, self.pin_box.value, token_px)

    def _raised(self, region: Region) -> int | None:
        """The next budget that shows more of a window, as far as replies hold."""
        shown = self._session.windows.shown
        place = None if shown is None else shown.find(region)
        if shown is None or place is None or self._model is None:
            return None
        token_px = self._model.dims.token_px
        native = native_tokens(region, token_px)
        most = min(native, self._model.max_visual_tokens or native)
        one = shown.windows[place]
        has = 0 if one.view is None else one.view.tokens
        # a budget just above realised tokens may give no more of them
        more = (b for b in BUDGET_GRID if b < most and plan(region, b, token_px).tokens > has)
        return next(more, most)

    def _release(self) -> None:
        windows, regions = self._session.windows, self.picked
        if windows.image is not None and windows.shown is not None:
            self._pick([])
            self._session.steering.release(windows.image, regions, windows.shown.region)

    def _clear(self) -> None:
        image = None if self._image is None else self._image()
        if image is not None:
            self._pick([])
            self._session.steering.clear(image)

    def _steered(self) -> None:
        """Show at once what was said of windows; the plan and its cost follow."""
        viewer, windows = self._viewer(), self._session.windows
        image = windows.image
        if viewer is None or windows.shown is None or image is None or self._session.asking:
            return
        choices = self._session.steering.within(image, windows.shown.region)
        windows.show(viewer, image, windows.shown.with_choices(choices), windows.entry)

    # what is shown

    def _show_on_slide(self, shown: bool) -> None:
        viewer, windows = self._viewer(), self._session.windows
        windows.visible = shown
        layer = None if viewer is None else windows.layer(viewer)
        if layer is not None:
            layer.visible = shown and windows.shown is not None

    def refresh(self) -> None:
        """Bring the list in line with what is shown over the slide."""
        windows = self._session.windows
        shown = windows.shown
        if shown is not self._shown:
            self._shown = shown
            self.hover_line.setText(HOVER)
        if windows.entry != self._entry:
            self._entry, self._baseline = windows.entry, None
        rows = [] if shown is None else shown.windows
        self._filling = True
        self.table.show_windows(rows, self._model)
        self._filling = False
        if shown is not None:
            regions = {one.region for one in rows}
            self.picked = [r for r in self.picked if r in regions or r in shown.selected]
        self._say(shown)
        self._mark()

    def _say(self, shown: WindowMap | None) -> None:
        windows = self._session.windows
        lines = []
        if shown is None:
            lines.append("" if self.plan is None else "No windows are shown.")
        elif windows.entry:
            lines.append(realised_line(self._session.entries[windows.entry - 1].result))
        elif self.plan is not None and self.plan.views == shown.views and self._model is not None:
            speed = pace(self._session.entries, self._model)
            seconds = None if speed is None else self.plan.cost.flops / speed
            lines.append(cost_line(self.plan, seconds))
        elif self._session.asking:
            lines.append(f"{shown.read:,} of {len(shown.views.views):,} views read.")
        if shown is not None and (choices := choices_line(shown.choices)):
            lines.append(f"By you: {choices}.")
        if shown is not None and len(shown.windows) > MOST_ROWS:
            lines.append(f"The list shows {MOST_ROWS:,} of {len(shown.windows):,}.")
        text = "\n".join(filter(None, lines))
        if self.cost.text() != text:
            self.cost.setText(text)

    def _pick_rows(self) -> None:
        if not self._filling:
            self._pick(self.table.picked)

    def _go_to_row(self, row: int, _: int) -> None:
        viewer, image = self._viewer(), self._session.windows.image
        if viewer is not None and image is not None:
            go_to(viewer, image, self.table.windows[row].region, 0.5)

    def _pick(self, regions: list[Region]) -> None:
        viewer, windows = self._viewer(), self._session.windows
        self.picked = regions
        if windows.shown is not None:
            windows.shown.select(regions)
            if viewer is not None:
                windows.select(viewer, windows.shown)
        self._mark()

    def _mark(self) -> None:
        """Show in the list and at the buttons what is picked."""
        self._filling = True
        self.table.pick(self.picked)
        self._filling = False
        shown, image = self._session.windows.shown, self._session.windows.image
        free = shown is not None and not self._session.asking
        self.buttons.enable(free and bool(self.picked))
        self.add_button.setEnabled(free)
        choices = () if image is None else self._session.steering.choices_of(image)
        self.clear_button.setEnabled(bool(choices))


class ViewTable(RowTable):
    """Views in the order of reading, each with the colour of its budget."""

    def __init__(self) -> None:
        super().__init__(COLUMNS)
        self.windows: list[MapWindow] = []
        self.setMinimumHeight(110)
        self.setWordWrap(False)
        self.setSelectionMode(QAbstractItemView.ExtendedSelection)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeToContents)
        header.setSectionResizeMode(ANSWER, QHeaderView.Interactive)
        header.setSectionResizeMode(ANSWER + 1, QHeaderView.Stretch)
        self.setColumnWidth(ANSWER, ANSWER_WIDTH)

    def show_windows(self, windows: list[MapWindow], model: ModelInfo | None) -> None:
        """Show these, the first of very many."""
        self.windows = windows[:MOST_ROWS]
        self.setRowCount(len(self.windows))
        self.setColumnHidden(ANSWER, all(one.reading is None for one in self.windows))
        token_px = 32 if model is None else model.dims.token_px
        for row, one in enumerate(self.windows):
            texts = (one.name, f"{one.tokens:,}" if one.view else "0", one.answer, one.why)
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                side = Qt.AlignRight if column == 1 else Qt.AlignLeft
                item.setTextAlignment(int(side | Qt.AlignVCenter))
                item.setToolTip(one.explain())
                if column == 0:
                    kind = kind_of(
                        0 if one.view is None else one.view.tokens,
                        native_tokens(one.region, token_px),
                    )
                    item.setIcon(patch_icon(kind, one.state in ("read", "left out")))
                if column == ANSWER and one.reading is not None and one.answer:
                    item.setIcon(level_icon(one.reading.reliability.level))
                self.setItem(row, column, item)

    @property
    def picked(self) -> list[Region]:
        """Regions of the rows that are selected."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [self.windows[row].region for row in rows if row < len(self.windows)]

    def pick(self, regions: list[Region]) -> None:
        """Select the rows of these, and no others."""
        wanted = set(regions)
        if wanted & {one.region for one in self.windows} == set(self.picked):
            return
        self.clearSelection()
        for row, one in enumerate(self.windows):
            if one.region in wanted:
                for column in range(self.columnCount()):
                    item = self.item(row, column)
                    if item is not None:
                        item.setSelected(True)


def _tokens(region: Region, budget: Budget | None, token_px: int) -> int | None:
    return native_tokens(region, token_px) if budget == "native" else budget  # type: ignore[return-value]

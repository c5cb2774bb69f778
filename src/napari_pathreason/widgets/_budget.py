"""The Token budget dock: what each budget would cost, before anything is spent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QPushButton,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.types import Budget
from napari_pathreason.viewer import (
    BudgetCost,
    BudgetState,
    Draft,
    Entry,
    Outlook,
    Question,
    Session,
    estimate_costs,
    foresee,
    go_to,
    go_to_entry,
    grid_layer_data,
    planned_line,
    planned_question,
    policy_words,
    preview_layer_data,
    read_preview,
    reads_windows,
    regions_of,
    slide_opener,
    totals_line,
    unwrapped,
)

from . import _keys as keys, _words as words
from ._compare import CompareView
from ._dock import Dock, weak_click, weak_move
from ._fields import ChoiceBox, Rows, text_line
from ._history import HistoryTable
from ._reliability import OutlookLine
from ._views import ViewsPage
from ._work import when_done, work

if TYPE_CHECKING:
    from napari import Viewer


POLICIES = [
    (f"{policy_words(name).capitalize()}: {what}", name)
    for name, what in (
        ("auto", "windows if large"),
        ("one_view", "of any size"),
        ("uniform", "all windows alike"),
        ("random", "drawn windows"),
        ("surprise", "the unlike ones"),
        ("again", "coarse, then finer"),
        ("learned", "by what the model learnt"),
        ("listed", "those you pin"),
    )
]


class BudgetWidget(Dock):
    """Foresees what is asked in the viewer; parameters as of `Dock`."""

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        from ._budget_grid import BudgetChart, BudgetTable  # matplotlib: only where it is shown

        self.note, self.outlook_line, self.totals = text_line(), OutlookLine(), text_line()
        self.chart, self.table = BudgetChart(), BudgetTable()
        self.auto_button, self.preview_button = QPushButton("Auto"), QPushButton("Preview")
        self.auto_button.setToolTip("Let the allocator choose the budget")
        self.preview_button.setToolTip("Show the region as the model would read it")
        self.grid_box = QCheckBox("Token grid")
        self.grid_box.setToolTip("Draw the borders of the visual tokens over the preview")
        self.costs: list[BudgetCost] = []
        self._estimated: Any = None
        self._region: Region | None = None
        self._layers: list[Layer] = []
        buttons = QHBoxLayout()
        for widget in (self.auto_button, self.preview_button, self.grid_box):
            buttons.addWidget(widget)
        self.policy_box = ChoiceBox(POLICIES, "How the region is read")
        self.grid = QWidget()
        grid = QVBoxLayout(self.grid)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.note)
        grid.addWidget(self.chart, 2)
        grid.addWidget(self.table, 3)
        grid.addLayout(buttons)
        self.views = ViewsPage(self._viewer, self.session)
        self.pages = QStackedWidget()
        self.pages.addWidget(self.grid)
        self.pages.addWidget(self.views)
        rows = Rows()
        rows.add("Read as", self.policy_box)
        budget = QWidget()
        inner = QVBoxLayout(budget)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.addWidget(self.outlook_line)
        inner.addLayout(rows)
        inner.addWidget(self.pages, 1)
        self.history = HistoryTable(self.session)
        self.compare = CompareView(self._viewer, self.session)
        self.tabs = QTabWidget()
        self.tabs.addTab(budget, "Budget")
        self.tabs.addTab(self.compare, "Compare")
        self.tabs.addTab(self.history, "History")
        self.body.addWidget(self.tabs)
        self.body.addWidget(self.totals)
        self.policy_box.activated.connect(self._choose_policy)
        self.views.budget_wanted.connect(self.pin)
        self.views.planned.connect(self.look_soon)
        plain = unwrapped(napari_viewer)
        plain.mouse_move_callbacks.append(weak_move(self._hover))
        plain.mouse_drag_callbacks.append(weak_click(self._point, ("pan_zoom", "select")))
        self.chart.chosen.connect(self.pin)
        self.table.chosen.connect(self.pin)
        self.history.chosen.connect(self._show_entry)
        self.compare.table.chosen.connect(self._show_entry)
        self.auto_button.clicked.connect(partial(self.pin, "auto"))
        self.preview_button.clicked.connect(self.preview)
        self.grid_box.toggled.connect(self._show_grid)
        self._bind_keys()
        self._restore(self.session.memory.state.budget)
        self.look()

    def _bind_keys(self) -> None:
        keys.bind(keys.LOWER, partial(self.step, -1), self, anywhere=True)
        keys.bind(keys.HIGHER, partial(self.step, 1), self, anywhere=True)
        keys.bind(keys.PREVIEW, self.preview_button.click, self, anywhere=True)
        keys.bind(keys.GRID, self.grid_box.click, self, anywhere=True)
        for widget in (self.chart, self.table):
            widget.setToolTip("Click a budget to pin it; one lower or higher")
            keys.name_in_tip(widget, keys.LOWER, keys.HIGHER)
        keys.name_in_tip(self.preview_button, keys.PREVIEW)
        keys.name_in_tip(self.grid_box, keys.GRID)

    def _restore(self, state: BudgetState) -> None:
        titles = [self.tabs.tabText(i) for i in range(self.tabs.count())]
        if state.tab in titles:
            self.tabs.setCurrentIndex(titles.index(state.tab))
        self.grid_box.setChecked(state.grid)
        self.compare.check(state.compared)

    def state(self) -> BudgetState:
        """What is set."""
        tab = self.tabs.tabText(self.tabs.currentIndex())
        return BudgetState(tab, tuple(self.compare.checked), self.grid_box.isChecked())

    def step(self, up: int) -> None:
        """Pin the next budget up (1) or down (-1); below the lowest one lies Auto."""
        self.session.inquiry.step_budget(up)
        self.look()

    def pin(self, budget: Budget) -> None:
        """Set the budget of what is asked."""
        self.session.inquiry.pin(budget)
        self.look()

    def _choose_policy(self, _: int) -> None:
        self.session.steering.policy = self.policy_box.value
        self.look()

    @property
    def in_front(self) -> bool:
        """Whether the windows of a region are seen."""
        return self.isVisible() and self.views.isVisible()

    def _hover(self, position: tuple[float, ...]) -> None:
        if self.in_front:
            self.views.hover(position)

    def _point(self, position: tuple[float, ...]) -> None:
        if self.in_front:
            self.views.point(position)

    def look(self) -> None:
        """Follow region, question, budget, policy, model and theme: a budget grid, or windows."""
        viewer, draft = self._viewer(), self.session.inquiry.resolve()
        if viewer is None:
            return
        if QGuiApplication.mouseButtons() != Qt.NoButton:
            self.look_soon()  # not while a rectangle is drawn, or the view is dragged
            return
        self._count()
        self.policy_box.choose(self.session.steering.policy)
        if draft.image is None:
            self._show_none(words.OPEN_FIRST)
            return
        session, model_id = self.session, draft.model_id
        try:
            question = planned_question(viewer, session, draft, session.preferences())
            region = question.request.region
            moving, self._region = self._region != region, region
            shown = self._estimated is not None or self.views.plan is not None
            if moving and draft.source == "view" and shown:
                self.look_soon()
                return  # a drawing takes longer than a frame: not while the user pans
            if self._look_at_windows(question, draft):
                return
            loaded = session.known_models.get(model_id)
            policy = session.steering.policy
            key = (draft, region, viewer.theme, len(session.entries), loaded, policy)
            if key == self._estimated:
                return
            self.costs, note = estimate_costs(session, draft.image, region, draft.query, model_id)
            outlook, _ = foresee(session, draft.query, model_id)
        except PathreasonError as error:
            self._show_none(sentence(error))
            return
        self._estimated = key
        self.note.setText(note)
        # the Ask dock, where examples can be clicked, may lie behind this one
        self.outlook_line.show_outlook(replace(outlook, examples=()))
        self.compare.explain(self.costs)
        self._fill(draft.budget, viewer.theme)

    def _look_at_windows(self, question: Question, draft: Draft) -> bool:
        """Show how the region is read by windows; False where it is one picture."""
        outlook, info = foresee(self.session, draft.query, draft.model_id)
        if info is None or draft.image is None or not reads_windows(question.request, info):
            self.views.leave()
            self.pages.setCurrentWidget(self.grid)
            return False
        self._estimated = None
        self.outlook_line.show_outlook(replace(outlook, examples=()))
        self.pages.setCurrentWidget(self.views)
        self.views.look(question, draft.image, info, draft.source == "view")
        return True

    def _count(self) -> None:
        results = [entry.result for entry in self.session.entries]
        before = [e.former.result for e in self.session.entries if e.former is not None]
        lines = [totals_line(results, before), *(planned_line(r) for r in results[-1:])]
        self.totals.setText("\n".join(lines))

    def _show_none(self, why: str) -> None:
        self._estimated, self.costs = None, []
        self.views.leave()
        self.pages.setCurrentWidget(self.grid)
        self.outlook_line.show_outlook(Outlook(None, ""))
        self.note.setText(why)
        self._fill("auto", "dark")

    def _fill(self, budget: Budget, theme: str) -> None:
        self.chart.setVisible(bool(self.costs))
        if self.costs:
            self.chart.show_costs(self.costs, budget, theme)
        self.table.show_costs(self.costs, budget)
        pinned = any(cost.budget == budget and not cost.windows for cost in self.costs)
        self.preview_button.setEnabled(pinned)

    def preview(self) -> None:
        """Read the region at the pinned budget, off the main thread, and lay it over the slide."""
        viewer, draft = self._viewer(), self.session.inquiry.resolve()
        if viewer is None or draft.image is None:
            return
        image = draft.image
        cost = next((cost for cost in self.costs if cost.budget == draft.budget), None)
        if cost is None or cost.windows:
            return
        try:
            marked = regions_of(viewer, image, draft.source)[0]
            opener = slide_opener(image)
        except PathreasonError as error:
            show_info(sentence(error))
            return
        self.preview_button.setEnabled(False)
        region, size = marked.region, cost.plan.size
        worker = work("reading a preview", read_preview, opener, region, size, marked.outline)
        when_done(worker, self, lambda read: self._lay(image, region, cost, read))
        worker.start()

    def _lay(self, image: Image, region: Region, cost: BudgetCost, read: Any) -> None:
        self.preview_button.setEnabled(True)
        viewer = self._viewer()
        if isinstance(read, str):
            show_error(read)
        elif viewer is not None and image in viewer.layers:
            selected = set(viewer.layers.selection)
            for layer in self._layers:
                if layer in viewer.layers:
                    viewer.layers.remove(layer)
            size, token_px = cost.plan.size, cost.plan.size[0] // cost.plan.grid[0]
            self._layers = [
                Layer.create(*preview_layer_data(image, region, read)),
                Layer.create(*grid_layer_data(image, region, size, token_px)),
            ]
            self._layers[1].visible = self.grid_box.isChecked()
            for layer in self._layers:
                viewer.add_layer(layer)
            viewer.layers.selection = selected & set(viewer.layers)
            go_to(viewer, image, region)
            self.session.inquiry.image = image

    def _show_grid(self, shown: bool) -> None:
        if self._layers:
            self._layers[1].visible = shown

    def _show_entry(self, entry: Entry) -> None:
        """Go to an answer; the Ask dock shows its words."""
        viewer = self._viewer()
        if viewer is not None:
            try:
                go_to_entry(viewer, self.session, entry)
            except PathreasonError as error:
                show_warning(str(error))

    def stop(self) -> None:
        """End a comparison and keep what is set."""
        self.session.memory.keep(ask=self.session.inquiry.state(), budget=self.state())
        self.compare.stop()

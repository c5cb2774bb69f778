"""The Token budget dock: what each budget would cost, before anything is spent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Layer
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QPushButton,
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
    Entry,
    Outlook,
    Session,
    estimate_costs,
    foresee,
    grid_layer_data,
    planned_line,
    preview_layer_data,
    read_preview,
    region_of,
    show_entry,
    slide_opener,
    totals_line,
)

from . import _keys as keys
from ._budget_table import BudgetTable
from ._budgets import step_budget
from ._compare import CompareView
from ._dock import Dock
from ._history_table import HistoryTable
from ._outlook_line import OutlookLine
from ._rows import text_line

if TYPE_CHECKING:
    from napari import Viewer


class BudgetWidget(Dock):
    """Looks ahead at what the form of the viewer's Ask dock says; parameters as of `Dock`."""

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        from ._budget_chart import BudgetChart  # matplotlib: only where it is looked at

        self.note, self.outlook_line, self.totals = text_line(), OutlookLine(), text_line()
        self.chart, self.table = BudgetChart(), BudgetTable()
        self.auto_button, self.preview_button = QPushButton("Auto"), QPushButton("Preview")
        self.auto_button.setToolTip("Let the allocator choose the budget")
        self.preview_button.setToolTip("Show the region as the model would read it")
        self.grid_box = QCheckBox("Token grid")
        self.grid_box.setToolTip("Draw the borders of the visual tokens over the preview")
        self.costs: list[BudgetCost] = []
        self._shown: Any = None
        self._seen: Region | None = None
        self._layers: list[Layer] = []
        buttons = QHBoxLayout()
        for widget in (self.auto_button, self.preview_button, self.grid_box):
            buttons.addWidget(widget)
        budget_grid = QWidget()
        inner = QVBoxLayout(budget_grid)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.addWidget(self.outlook_line)
        inner.addWidget(self.note)
        inner.addWidget(self.chart, 2)
        inner.addWidget(self.table, 3)
        inner.addLayout(buttons)
        self.history = HistoryTable(self.session)
        self.compare = CompareView(self._viewer, self.session)
        self.tabs = QTabWidget()
        self.tabs.addTab(budget_grid, "Budget grid")
        self.tabs.addTab(self.compare, "Compare")
        self.tabs.addTab(self.history, "History")
        self.body.addWidget(self.tabs)
        self.body.addWidget(self.totals)
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
            keys.tell(widget, keys.LOWER, keys.HIGHER)
        keys.tell(self.preview_button, keys.PREVIEW)
        keys.tell(self.grid_box, keys.GRID)

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
        form = self.session.form()
        if form is not None:
            step_budget(form.budget_box, up)
            self.look()

    def pin(self, budget: Budget) -> None:
        """Set the budget of the Ask dock."""
        form = self.session.form()
        if form is not None:
            form.choose(form.budget_box, budget)
            self.look()

    def look(self) -> None:
        """Draw the budget grid anew where region, question, budget, model or theme have changed."""
        viewer, form = self._viewer(), self.session.form()
        if viewer is None:
            return
        self._count()
        if form is None or form.image is None:
            self._show_none("Open the Ask dock and an image: the budget grid follows its form.")
            return
        try:
            region = region_of(viewer, form.image, form.region_source)
            moving, self._seen = self._seen != region, region
            if moving and form.region_source == "view" and self._shown is not None:
                return  # a drawing takes longer than a frame: not while the user pans
            key = (
                *(form.image, region, form.budget, form.model, viewer.theme),
                *(form.task, form.question_edit.toPlainText(), form.options_edit.text()),
                *(len(self.session.entries), self.session.known_models.get(form.model)),
            )
            if key == self._shown:
                return
            query = form.draft()
            self.costs, note = estimate_costs(self.session, form.image, region, query, form.model)
            told, info = foresee(self.session, query, form.model)
        except PathreasonError as error:
            self._show_none(sentence(error))
            return
        self._shown = key
        self.note.setText(note)
        # the Ask dock, where examples can be clicked, may lie behind this one
        self.outlook_line.show_outlook(replace(told, examples=()))
        self.compare.offer(
            None if info is None else info.max_visual_tokens, self.costs[-1].plan.tokens
        )
        self._fill(form.budget, viewer.theme)

    def _count(self) -> None:
        results = [entry.result for entry in self.session.entries]
        lines = [totals_line(results), *(planned_line(r) for r in results[-1:])]
        self.totals.setText("\n".join(lines))

    def _show_none(self, why: str) -> None:
        self._shown, self.costs = None, []
        self.outlook_line.show_outlook(Outlook(None, ""))
        self.note.setText(why)
        self._fill("auto", "dark")

    def _fill(self, budget: Budget, theme: str) -> None:
        self.chart.setVisible(bool(self.costs))
        if self.costs:
            self.chart.show_costs(self.costs, budget, theme)
        self.table.show_costs(self.costs, budget)
        pinned = any(cost.budget == budget and not cost.refused for cost in self.costs)
        self.preview_button.setEnabled(pinned)

    def preview(self) -> None:
        """Read the region at the pinned budget, off the main thread, and lay it over the slide."""
        viewer, form = self._viewer(), self.session.form()
        cost = next((r for r in self.costs if form and r.budget == form.budget), None)
        if viewer is None or form is None or cost is None or cost.refused:
            return
        image = form.image
        try:
            region = region_of(viewer, image, form.region_source)
            opener = slide_opener(image)
        except PathreasonError as error:
            show_info(sentence(error))
            return
        self.preview_button.setEnabled(False)
        worker = create_worker(read_preview, opener, region, cost.plan)
        worker.returned.connect(lambda read: self._lay(image, region, cost, read))
        worker.start()

    def _lay(self, image: Image, region: Region, cost: BudgetCost, read: Any) -> None:
        self.preview_button.setEnabled(True)
        viewer, form = self._viewer(), self.session.form()
        if isinstance(read, str):
            show_error(read)
        elif viewer is not None and image in viewer.layers:
            selected = set(viewer.layers.selection)
            for layer in self._layers:
                if layer in viewer.layers:
                    viewer.layers.remove(layer)
            size, cell = cost.plan.size, cost.plan.size[0] // cost.plan.grid[0]
            made = (
                preview_layer_data(image, region, read),
                grid_layer_data(image, region, size, cell),
            )
            self._layers = [Layer.create(*data) for data in made]
            self._layers[1].visible = self.grid_box.isChecked()
            for layer in self._layers:
                viewer.add_layer(layer)
            viewer.layers.selection = selected & set(viewer.layers)
            if form is not None:
                form.image = image

    def _show_grid(self, shown: bool) -> None:
        if self._layers:
            self._layers[1].visible = shown

    def _show_entry(self, entry: Entry) -> None:
        """Leave it to the Ask dock, which has the words too, where there is one."""
        viewer = self._viewer()
        if self.session.form() is not None:
            self.session.chosen.emit(entry)
        elif viewer is not None:
            try:
                show_entry(viewer, self.session, entry)
            except PathreasonError as error:
                show_warning(str(error))

    def stop(self) -> None:
        """End a comparison and keep what is set."""
        self.session.memory.keep(budget=self.state())
        self.compare.stop()

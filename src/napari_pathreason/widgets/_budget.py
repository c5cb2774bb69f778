"""The Token budget dock: what each rung would cost, before anything is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from napari.layers import Image, Layer
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason._errors import PathreasonError
from napari_pathreason._geometry import Region
from napari_pathreason._types import Budget
from napari_pathreason.viewer import (
    Entry,
    Rung,
    Session,
    foretold,
    grid_layer_data,
    planned_line,
    preview_layer_data,
    read_preview,
    region_of,
    session_of,
    show_entry,
    slide_opener,
    totals_line,
    unwrapped,
)

from ._compare import CompareView
from ._history_table import HistoryTable
from ._rung_table import RungTable

if TYPE_CHECKING:
    from napari import Viewer

LOOK_EVERY_MS = 400


class BudgetWidget(QWidget):
    """Dock widget of one viewer; asks about what the form of its Ask dock says.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Held weakly.
    session : Session, optional
        Default: the viewer's own.
    """

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__()
        from ._ladder_chart import LadderChart  # matplotlib: only where it is looked at

        self._viewer = ref(unwrapped(napari_viewer))
        self.session = session_of(napari_viewer) if session is None else session
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.note.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Preferred)
        self.totals = QLabel()
        self.totals.setWordWrap(True)
        self.chart, self.table = LadderChart(), RungTable()
        self.auto_button, self.preview_button = QPushButton("Auto"), QPushButton("Preview")
        self.auto_button.setToolTip("Let the allocator choose the budget")
        self.preview_button.setToolTip("Show the region as the model would read it")
        self.grid_box = QCheckBox("Token grid")
        self.rungs: list[Rung] = []
        self._shown: Any = None
        self._layers: list[Layer] = []
        buttons = QHBoxLayout()
        for widget in (self.auto_button, self.preview_button, self.grid_box):
            buttons.addWidget(widget)
        ladder = QWidget()
        inner = QVBoxLayout(ladder)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.addWidget(self.note)
        inner.addWidget(self.chart, 2)
        inner.addWidget(self.table, 3)
        inner.addLayout(buttons)
        self.history = HistoryTable(self.session)
        self.compare = CompareView(self._viewer, self.session)
        self.tabs = QTabWidget()
        self.tabs.addTab(ladder, "Ladder")
        self.tabs.addTab(self.compare, "Compare")
        self.tabs.addTab(self.history, "History")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.tabs)
        layout.addWidget(self.totals)
        self.chart.chosen.connect(self.pin)
        self.table.chosen.connect(self.pin)
        self.history.chosen.connect(self._show_entry)
        self.compare.table.chosen.connect(self._show_entry)
        self.auto_button.clicked.connect(lambda: self.pin("auto"))
        self.preview_button.clicked.connect(self.preview)
        self.grid_box.toggled.connect(self._show_grid)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self.refresh)
        self.refresh()

    def pin(self, budget: Budget) -> None:
        """Set the budget of the Ask dock."""
        form = self.session.form()
        if form is not None:
            form.choose(form.budget_box, budget)
            self.refresh()

    def refresh(self) -> None:
        """Draw the ladder anew where region, question, budget, model or theme have changed."""
        viewer, form = self._viewer(), self.session.form()
        if viewer is None:
            return
        self._count()
        if form is None or form.image is None:
            self._show_none("Open the Ask dock and an image: the ladder follows its form.")
            return
        try:
            region = region_of(viewer, form.image, form.region_source)
            key = (
                *(form.image, region, form.budget, form.model, viewer.theme),
                *(form.task, form.question_edit.toPlainText(), form.options_edit.text()),
                len(self.session.entries),
            )
            if key == self._shown:
                return
            query = form.query() if form.task != "detection" or form.options_edit.text() else None
            self.rungs, note = foretold(self.session, form.image, region, query, form.model)
        except PathreasonError as error:
            self._show_none(f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return
        self._shown = key
        self.note.setText(note)
        self._fill(form.budget, viewer.theme)

    def _count(self) -> None:
        results = [entry.result for entry in self.session.entries]
        lines = [totals_line(results), *(planned_line(r) for r in results[-1:])]
        self.totals.setText("\n".join(lines))

    def _show_none(self, why: str) -> None:
        self._shown, self.rungs = None, []
        self.note.setText(why)
        self._fill("auto", "dark")

    def _fill(self, budget: Budget, theme: str) -> None:
        self.chart.setVisible(bool(self.rungs))
        if self.rungs:
            self.chart.show_rungs(self.rungs, budget, theme)
        self.table.show_rungs(self.rungs, budget)
        pinned = any(rung.budget == budget for rung in self.rungs)
        self.preview_button.setEnabled(pinned)

    def preview(self) -> None:
        """Read the region at the pinned rung, off the main thread, and lay it over the slide."""
        viewer, form = self._viewer(), self.session.form()
        rung = next((r for r in self.rungs if form and r.budget == form.budget), None)
        if viewer is None or form is None or rung is None:
            return
        image = form.image
        try:
            region = region_of(viewer, image, form.region_source)
            opener = slide_opener(image)
        except PathreasonError as error:
            show_error(str(error))
            return
        self.preview_button.setEnabled(False)
        worker = create_worker(read_preview, opener, region, rung.plan)
        worker.returned.connect(lambda read: self._lay(image, region, rung, read))
        worker.start()

    def _lay(self, image: Image, region: Region, rung: Rung, read: Any) -> None:
        self.preview_button.setEnabled(True)
        viewer, form = self._viewer(), self.session.form()
        if isinstance(read, str):
            show_error(read)
        elif viewer is not None and image in viewer.layers:
            selected = set(viewer.layers.selection)
            for layer in self._layers:
                if layer in viewer.layers:
                    viewer.layers.remove(layer)
            size, cell = rung.plan.size, rung.plan.size[0] // rung.plan.grid[0]
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

    def event(self, event: QEvent) -> bool:
        """End a comparison when napari takes the widget out of its dock."""
        if event.type() == QEvent.ParentChange and self.parent() is None:
            self.compare.stop()
        return super().event(event)

    def showEvent(self, event: Any) -> None:
        """Follow the form only while someone can see it."""
        self._timer.start()
        self.refresh()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:
        """Stop following, and end a comparison when the window goes."""
        self._timer.stop()
        window = self.window()
        if not isinstance(window, QDockWidget) and not window.isVisible():
            self.compare.stop()
        super().hideEvent(event)

"""What each answer of the session cost, one row each, newest last."""

from __future__ import annotations

from pathlib import Path

from napari.utils.history import get_save_history, update_save_history
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.errors import ExportError
from napari_pathreason.exports import write_account
from napari_pathreason.viewer import (
    LEVEL_WORDS,
    Entry,
    Session,
    reliability_words,
    short_answer,
)

from ._answer_view import question_text
from ._form import TASK_NAMES
from ._reliability import level_icon

COLUMNS = {
    "Time": "When the answer came, and whether it may be relied on",
    "Budget": "Most visual tokens allowed",
    "Tokens": "Visual tokens spent, the allocator's own counted",
    "Saved": "Visual tokens not spent against native size",
    "s": "Seconds from asking to the answer",
    "Question": "What was asked",
}
TIME, QUESTION = 0, 5
TASKS = {task: name for name, task in TASK_NAMES}


class HistoryTable(QWidget):
    """Table of a session's answers over a button that exports it.

    Signals
    -------
    chosen : object
        `Entry` of the row that was clicked.
    """

    chosen = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(list(COLUMNS))
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeToContents)
        header.setSectionResizeMode(QUESTION, QHeaderView.Stretch)  # its tip tells all of it
        header.setMinimumSectionSize(20)
        for column, tip in enumerate(COLUMNS.values()):
            item = self.table.horizontalHeaderItem(column)
            if item is not None:
                item.setToolTip(tip)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(22)
        self.table.setWordWrap(False)
        self.table.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SingleSelection)
        self.table.cellClicked.connect(self._choose)
        self.table.cellActivated.connect(self._choose)
        self.export_button = QPushButton("Export as CSV\N{HORIZONTAL ELLIPSIS}")
        self.export_button.setEnabled(False)
        self.export_button.clicked.connect(self._choose_file)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.export_button)
        for entry in session.entries:
            self.add(entry)
        session.added.connect(self.add)

    def add(self, entry: Entry) -> None:
        """Append an answer."""
        result, row = entry.result, self.table.rowCount()
        tokens, question = result.tokens, " ".join(question_text(result.query).split())
        kind, level = TASKS[result.query.task], result.reliability.level
        answer, line = short_answer(result), reliability_words(result.reliability)
        texts = (
            f"{entry.made.astimezone():%H:%M}",
            "native" if tokens.requested is None else f"{tokens.requested:,}",
            f"{tokens.spent:,}",
            f"{tokens.saved:,}",
            f"{sum(result.seconds.values()):.1f}",
            question,
        )
        self.table.insertRow(row)
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            side = Qt.AlignRight if column < QUESTION else Qt.AlignLeft
            item.setTextAlignment(int(side | Qt.AlignVCenter))
            item.setToolTip(f"{kind}: {question} \N{RIGHTWARDS ARROW} {answer}\n{line}")
            if column == TIME:
                item.setIcon(level_icon(level))
                item.setData(Qt.AccessibleTextRole, f"{text}, {LEVEL_WORDS[level]}")
            self.table.setItem(row, column, item)
        self.export_button.setEnabled(True)

    def export(self, path: str) -> None:
        """Write the table; problems are shown as notifications."""
        try:
            write_account(path, [(entry.made, entry.result) for entry in self._session.entries])
        except ExportError as error:
            show_error(str(error))
        else:
            show_info(f"{Path(path).name} was saved.")

    def _choose(self, row: int, _: int) -> None:
        self.chosen.emit(self._session.entries[row])

    def _choose_file(self) -> None:
        start = Path(get_save_history()[0]) / "token-history.csv"
        dialog = QFileDialog(self, "Export the history", str(start), "Tables (*.csv)")
        dialog.setAcceptMode(QFileDialog.AcceptSave)
        dialog.setDefaultSuffix("csv")
        if dialog.exec():
            (path,) = dialog.selectedFiles()
            update_save_history(path)
            self.export(path)

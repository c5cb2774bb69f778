"""Earlier answers of a session: a list to choose from, a table of what they cost, files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from napari.utils.history import get_save_history, update_save_history
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHeaderView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.errors import ExportError, PathreasonError
from napari_pathreason.exports import ENDINGS, FileKind, write_account
from napari_pathreason.viewer import (
    LEVEL_WORDS,
    Entry,
    Session,
    entries_like,
    files_of,
    reliability_words,
    short_answer,
    write_answers,
)

from . import _words as words
from ._answer_view import question_text
from ._fields import MORE, RowTable, listen
from ._form import TASK_NAMES
from ._reliability import ICON, level_icon
from ._work import when_done, work

COLUMNS = {
    "Time": "When the answer came, and whether it may be relied on",
    "Budget": "Most visual tokens allowed",
    "Tokens": "Visual tokens spent, the allocator's own counted",
    "Saved": "Visual tokens not spent against native size",
    "s": "Seconds from asking to the answer",
    "Question": "What was asked",
    "Answer": "What was answered, and how far it may be relied on",
}
TIME, QUESTION, ANSWER = 0, 5, 6
WIDTHS = {QUESTION: 96, ANSWER: 110}
"""Of columns of words, logical pixels at least; their tip has all of them."""
TASKS = {task: name for name, task in TASK_NAMES}
KINDS = {
    "QuPath objects": "geojson",
    "Table of findings": "csv",
    "Table of views": "views.csv",
    "Report with pictures": "html",
    "Manifest, to repeat the run": "json",
    "Transcript": "jsonl",
}


class History(QListWidget):
    """List of answers; choosing one by click or Enter emits `chosen` with its `Entry`."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextElideMode(Qt.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        self.setMinimumHeight(60)
        self.setIconSize(QSize(ICON, ICON))
        self.itemClicked.connect(self._choose)
        self.itemActivated.connect(self._choose)

    def add(self, entry: Entry) -> None:
        """Append an answer; which one is shown does not change by that."""
        result = entry.result
        answer = short_answer(result)
        more = "" if entry.former is None else f"more of {entry.former.id}: "
        if result.request is not None and result.request.thread is not None:
            more = "follow-up: "
        text = f"{entry.id}: {more}{question_text(result.query)} \N{RIGHTWARDS ARROW} {answer}"
        text = " ".join(text.split())  # one line, whatever the model wrote
        item = QListWidgetItem(level_icon(result.reliability.level), text)
        item.setToolTip(f"{text}\n{reliability_words(result.reliability)}")
        item.setData(Qt.UserRole, entry)
        self.addItem(item)

    def select(self, entry: Entry | None) -> None:
        """Highlight an answer, or none, without choosing it."""
        self.setCurrentRow(-1 if entry is None else entry.id - 1)

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(item.data(Qt.UserRole))


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
        self.table = RowTable(COLUMNS, WIDTHS)
        header = self.table.horizontalHeader()
        for column in range(QUESTION):
            header.setSectionResizeMode(column, QHeaderView.ResizeToContents)
        for place, column in enumerate(WIDTHS, 1):  # beside the time: what is looked for first
            header.moveSection(header.visualIndex(column), place)
        header.setMinimumSectionSize(20)
        self.table.setWordWrap(False)
        self.table.cellClicked.connect(self._choose)
        self.table.cellActivated.connect(self._choose)
        self.export_button = QPushButton(f"Export as CSV{MORE}")
        self.export_button.setEnabled(False)
        self.export_button.clicked.connect(self._choose_file)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.export_button)
        for entry in session.entries:
            self.add(entry)
        listen(session.added, self.add)

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
            answer,
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
        self.table.share_room()
        self.export_button.setEnabled(True)

    def export(self, path: str) -> None:
        """Write the table; problems are shown as notifications."""
        try:
            write_account(path, [(entry.made, entry.result) for entry in self._session.entries])
        except ExportError as error:
            show_error(str(error))
        else:
            show_info(words.saved(Path(path).name))

    def _choose(self, row: int, _: int) -> None:
        self.chosen.emit(self._session.entries[row])

    def _choose_file(self) -> None:
        title, kinds = "Export the history", "Tables (*.csv)"
        path = ask_for_file(self, title, "token-history.csv", kinds, "csv")
        if path is not None:
            self.export(path)


class SaveButton(QPushButton):
    """Menu of what to save; files are written off the main thread, whole or not at all.

    Signals
    -------
    saved : str
        Empty, or why the file could not be written.
    """

    saved = Signal(str)
    _progress = Signal(int, int)
    """How many answers of how many are written; from a worker."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(f"Save{MORE}", parent)
        self.setToolTip("Save answers as GeoJSON for QuPath, tables, report, manifest, transcript")
        self.setEnabled(False)
        self._session = session
        self._entry: Entry | None = None
        self._progress.connect(self._say)
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.setMenu(self._menu)

    def choose(self, entry: Entry | None) -> None:
        """Offer to save an entry and those like it."""
        self._entry = entry
        self.setEnabled(entry is not None)

    def save(self, entries: Sequence[Entry], path: str, kind: FileKind | None = None) -> None:
        """Write entries to a file; problems become notices.

        Its ending says what is wanted where ``kind`` does not.
        """
        try:
            files = files_of(entries)
        except PathreasonError as error:
            self._end(str(error), path)
            return
        self.setEnabled(False)
        worker = work(
            f"saving {Path(path).name}", write_answers, files, path, kind, self._progress.emit
        )
        when_done(worker, self, lambda trouble: self._end(trouble, path))
        worker.start()

    def _say(self, done: int, total: int) -> None:
        if total > 1:
            self.setText(f"Saving {done + 1:,} of {total:,}{MORE}")

    def _end(self, trouble: str, path: str) -> None:
        self.setText(f"Save{MORE}")
        self.setEnabled(self._entry is not None)
        if trouble:
            show_error(trouble)
        else:
            show_info(words.saved(Path(path).name))
        self.saved.emit(trouble)

    def _fill(self) -> None:
        self._menu.clear()
        if self._entry is None:
            return
        alike = entries_like(self._session, self._entry)
        wholes = [(f"Answer {self._entry.id}", [self._entry])]
        if len(alike) > 1:
            wholes.append((f"All {len(alike)} answers about this image", alike))
        for title, entries in wholes:
            # a menu of one whole needs no title; those of sections are not shown in every style
            menu = self._menu if len(wholes) == 1 else self._menu.addMenu(title)
            for kind, ending in KINDS.items():
                action = menu.addAction(f"{kind} (.{ending}){MORE}")
                action.triggered.connect(partial(self._choose_file, entries, kind, ending))

    def _choose_file(self, entries: Sequence[Entry], kind: str, ending: str, _: bool) -> None:
        name = f"{Path(entries[-1].result.slide.name).stem}.{ending}"
        kinds = f"{kind} (*.{ending});;All files (*)"
        path = ask_for_file(self, "Save answers", name, kinds, ending)
        if path is None:
            return
        # of two kinds of table the menu says which, however the file is called
        is_table = ending.endswith("csv") and path.lower().endswith(".csv")
        self.save(entries, path, ENDINGS[f".{ending}"] if is_table else None)


def ask_for_file(parent: QWidget, title: str, name: str, kinds: str, ending: str) -> str | None:
    """Path that the user chooses to write to, in the folder last saved to; None for none."""
    start = Path(get_save_history()[0]) / name
    dialog = QFileDialog(parent, title, str(start), kinds)
    dialog.setAcceptMode(QFileDialog.AcceptSave)
    # the ending is set by the dialog, so that it asks before a file is replaced
    dialog.setDefaultSuffix(ending)
    if not dialog.exec():
        return None
    (path,) = dialog.selectedFiles()
    update_save_history(path)
    return str(path)

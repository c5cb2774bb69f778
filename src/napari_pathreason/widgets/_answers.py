"""The Answers dock: every answer in a table that is sorted, filtered, reviewed and exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSortFilterProxyModel, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QTableView,
)

from napari_pathreason.errors import ExportError, PathreasonError
from napari_pathreason.exports import (
    agreement_line,
    agreement_of,
    features_of_marks,
    marks_of,
    new_run,
    numbers_of,
    write_agreement,
    write_anndata,
    write_answer_table,
    write_geojson,
    write_numbers,
)
from napari_pathreason.viewer import (
    LEVEL_WORDS,
    LEVELS,
    Entry,
    Session,
    go_to_entry,
    reliability_words,
    short_answer,
    write_training_labels,
)

from . import _words as words
from ._answer_view import question_text
from ._dock import Dock
from ._fields import MORE, listen, text_line
from ._history import ask_for_file
from ._project import ProjectPanel
from ._reliability import level_icon
from ._review import SIGNS, ReviewButtons, research_line

if TYPE_CHECKING:
    from napari import Viewer

COLUMNS = {
    "#": "Number of the answer",
    "Slide": "What was asked about; before it the case, where a project has cases",
    "Region": "Name or number of the annotation",
    "Question": "What was asked",
    "Answer": "What was answered",
    "Found": "How many boxes; their tip has density and area",
    "Conf.": "Confidence of the answer",
    "Reliable?": "Whether the answer may be relied on",
    "Tokens": "Visual tokens spent, the allocator's own counted",
    "\N{CHECK MARK}": "Whether a reader has accepted or rejected it",
}
SLIDE, REGION, QUESTION, ANSWER, RELIABLE = 1, 2, 3, 4, 7
WIDTHS = {SLIDE: 80, QUESTION: 90, ANSWER: 110}
"""Of columns of any text, logical pixels to begin with."""
NONE = "\N{EN DASH}"


class AnswersModel(QAbstractTableModel):
    """A session's answers, a row each."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.entries: list[Entry] = list(session.entries)
        listen(session.added, self._add)
        listen(session.reviewed, self._change)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Answers."""
        return 0 if parent is not None and parent.isValid() else len(self.entries)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """As of `COLUMNS`."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = Qt.DisplayRole) -> Any:
        """Titles and their tips."""
        if orientation != Qt.Horizontal:
            return None
        if role == Qt.DisplayRole:
            return list(COLUMNS)[section]
        return list(COLUMNS.values())[section] if role == Qt.ToolTipRole else None

    def data(self, index: QModelIndex, role: int = Qt.DisplayRole) -> Any:
        """A cell; ``Qt.UserRole`` is what it is sorted by."""
        entry, column = self.entries[index.row()], index.column()
        if role == Qt.DisplayRole:
            return self._cells(entry)[column][0]
        if role == Qt.UserRole:
            return self._cells(entry)[column][1]
        if role == Qt.ToolTipRole:
            return self._tip(entry)
        if role == Qt.DecorationRole and column == RELIABLE:
            return level_icon(entry.result.reliability.level)
        if role == Qt.TextAlignmentRole:
            left = column in (SLIDE, REGION, QUESTION, ANSWER, RELIABLE)
            return int((Qt.AlignLeft if left else Qt.AlignRight) | Qt.AlignVCenter)
        return None

    def _cells(self, entry: Entry) -> list[tuple[str, Any]]:
        """Words of each column, and what sorts them."""
        result, row = entry.result, self._session.row_of(entry)
        level = result.reliability.level
        slide = ": ".join(filter(None, (entry.case, result.slide.name)))
        confidence = None if level == "none" else result.confidence
        answer, question = short_answer(result), " ".join(question_text(result.query).split())
        return [
            (f"{entry.id}", entry.id),
            (slide, _natural(slide)),
            (entry.name, _natural(entry.name)),
            (question, question.lower()),
            (answer, _natural(answer)),
            (NONE if row.findings is None else f"{row.findings:,}", row.findings or -1),
            (NONE if confidence is None else f"{confidence:.0%}", confidence or -1.0),
            (LEVEL_WORDS[level], LEVELS.index(level)),
            (f"{result.tokens.spent:,}", result.tokens.spent),
            (SIGNS[row.review], row.review),
        ]

    def _tip(self, entry: Entry) -> str:
        result, row = entry.result, self._session.row_of(entry)
        lines = [f"{question_text(result.query)} \N{RIGHTWARDS ARROW} {short_answer(result)}"]
        lines.append(reliability_words(result.reliability))
        if row.per_mm2 is not None and row.findings_mm2 is not None and row.share is not None:
            lines.append(
                f"{row.per_mm2:,.1f} per mm\N{SUPERSCRIPT TWO}; boxes cover "
                f"{row.findings_mm2:,.4f} mm\N{SUPERSCRIPT TWO}, {row.share:.1%} of the region"
            )
        return "\n".join(lines)

    def _add(self, entry: Entry) -> None:
        row = len(self.entries)
        self.beginInsertRows(QModelIndex(), row, row)
        self.entries.append(entry)
        self.endInsertRows()

    def _change(self, entry: Entry) -> None:
        row = entry.id - 1
        self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))


class AnswersWidget(Dock):
    """Dock widget of one viewer; parameters as of `Dock`."""

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.filter_edit = QLineEdit()
        self.filter_edit.setPlaceholderText("Filter: a slide, a region, a word of an answer")
        self.filter_edit.setClearButtonEnabled(True)
        self.model = AnswersModel(self.session)
        self.shown = QSortFilterProxyModel()
        self.shown.setSourceModel(self.model)
        self.shown.setSortRole(Qt.UserRole)
        self.shown.setFilterKeyColumn(-1)
        self.shown.setFilterCaseSensitivity(Qt.CaseInsensitive)
        self.table = QTableView()
        self.table.setModel(self.shown)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(0, Qt.AscendingOrder)
        self.table.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SingleSelection)
        self.table.setWordWrap(False)
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(22)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeToContents)
        header.setMinimumSectionSize(20)
        for column, width in WIDTHS.items():
            header.setSectionResizeMode(column, QHeaderView.Interactive)
            self.table.setColumnWidth(column, width)
        self.back_button = QPushButton()
        self.review_buttons = ReviewButtons(self.session)
        self.project = ProjectPanel(self.session)
        self.reader_edit = QLineEdit(self.session.reader)
        self.reader_edit.setPlaceholderText("your name")
        self.reader_edit.setToolTip(
            "Under this name you accept and reject; agreement between readers stands below"
        )
        self.export_button = QPushButton("Export")
        self.export_button.setToolTip("Write the rows that are shown, in their order")
        menu = QMenu(self)
        for title, choose, tip in (
            ("Table of answers", self._choose_table, "A row for each answer, as CSV"),
            ("Numbers of slides and cases", self._choose_numbers, "Counts, densities, areas"),
            ("Agreement of readers", self._choose_agreement, "Percent and Cohen's kappa"),
            ("Table for scanpy and SpatialData", self._choose_anndata, "AnnData, as .h5ad"),
            ("Objects for QuPath", self._choose_objects, "Regions of the class of their answer"),
        ):
            action = menu.addAction(f"{title}{MORE}", choose)
            action.setToolTip(tip)
        menu.setToolTipsVisible(True)
        self.export_button.setMenu(menu)
        self.labels_button = QPushButton(f"Export labels{MORE}")
        self.labels_button.setToolTip("Accepted answers, as labels for pathreason data convert")
        self.line = text_line()
        outlets = QHBoxLayout()
        for widget in (self.export_button, self.labels_button, self.review_buttons):
            outlets.addWidget(widget)
        self.body.addWidget(self.filter_edit)
        self.body.addWidget(self.back_button)
        self.body.addWidget(self.table, 1)
        self.body.addWidget(self.line)
        self.body.addWidget(self.project)
        reader = QHBoxLayout()
        reader.addWidget(QLabel("Reader"))
        reader.addWidget(self.reader_edit, 1)
        self.body.addLayout(reader)
        self.body.addLayout(outlets)
        self.body.addWidget(research_line())
        self.filter_edit.textChanged.connect(self._filter)
        self.table.clicked.connect(self._choose)
        self.table.activated.connect(self._choose)
        self.back_button.clicked.connect(self.bring_back)
        self.reader_edit.editingFinished.connect(self._set_reader)
        self.labels_button.clicked.connect(self._choose_labels)
        listen(self.session.inquiry.events.image, self._offer_back)
        listen(self.session.inquiry.events.shown, self._mark)
        listen(self.session.reviewed, self.look_soon)
        self._offer_back()
        self._mark()
        self.look()

    @property
    def rows(self) -> list[Entry]:
        """The answers that are shown, in the order of the table."""
        return [
            self.model.entries[self.shown.mapToSource(self.shown.index(row, 0)).row()]
            for row in range(self.shown.rowCount())
        ]

    def look(self) -> None:
        """Count what is shown."""
        rows = self.rows
        total = len(self.model.entries)
        reviews = [self.session.review_of(entry) for entry in rows]
        words = [f"{len(rows):,} of {total:,} answers" if len(rows) < total else _answers(total)]
        if any(reviews):
            words.append(f"{reviews.count('accepted'):,} accepted")
            words.append(f"{reviews.count('rejected'):,} rejected")
        agreement = agreement_line(agreement_of(map(self.session.row_of, rows)))
        agreement = f" Agreement: {agreement}." if agreement else ""
        self.line.setText(f"{', '.join(words)}.{agreement}")
        # what is the same in all rows takes no room
        slides = {entry.result.slide.name for entry in self.model.entries}
        self.table.setColumnHidden(SLIDE, len(slides) < 2)
        self.table.setColumnHidden(REGION, not any(e.name for e in self.model.entries))
        self.export_button.setEnabled(bool(rows))
        self.labels_button.setEnabled("accepted" in reviews)

    def export_table(self, path: str) -> None:
        """Write the rows that are shown; problems are shown as notifications."""
        rows = [self.session.row_of(entry) for entry in self.rows]
        self._write(path, lambda: write_answer_table(path, rows))

    def export_numbers(self, path: str) -> None:
        """Write counts, densities and areas of the rows that are shown, of slides and cases."""
        rows = [self.session.row_of(entry) for entry in self.rows]
        self._write(path, lambda: write_numbers(path, numbers_of(rows)), words.rows)

    def export_agreement(self, path: str) -> None:
        """Write how far readers agree on the rows that are shown."""
        rows = [self.session.row_of(entry) for entry in self.rows]
        self._write(path, lambda: write_agreement(path, agreement_of(rows)), words.rows)

    def export_anndata(self, path: str) -> None:
        """Write the rows that are shown as AnnData."""
        rows = [self.session.row_of(entry) for entry in self.rows]
        self._write(path, lambda: write_anndata(path, rows), words.rows)

    def export_objects(self, path: str) -> None:
        """Write the rows that are shown as GeoJSON, one slide's, regions of their answer's class.

        Coordinates are those of a slide, so objects of two cannot stand in one file.
        """
        results = [entry.result for entry in self.rows]
        names = [entry.name for entry in self.rows]

        def write() -> int:
            if len({(one.slide.name, one.slide.width, one.slide.height) for one in results}) > 1:
                raise PathreasonError(words.ONE_SLIDE)
            marks = marks_of(results, new_run(), answer_class=True, names=names)
            return write_geojson(path, features_of_marks(marks))

        self._write(path, write, words.objects)

    def export_labels(self, path: str) -> None:
        """Write the accepted answers that are shown as labels to train with."""
        accepted = [e for e in self.rows if self.session.review_of(e) == "accepted"]
        self._write(path, lambda: write_training_labels(path, accepted))

    def bring_back(self) -> None:
        """Take the answers about this slide that are on disk into the table."""
        image = self.session.inquiry.image
        if image is not None:
            self.session.bring_back(image)
        self._offer_back()

    def stop(self) -> None:
        """End a project that runs; what is answered is kept."""
        self.project.stop()

    def _set_reader(self) -> None:
        self.session.reader = self.reader_edit.text()
        self.review_buttons.show_entry(self.session.inquiry.shown)
        self.look()

    def _write(
        self, path: str, write: Callable[[], int], counted: Callable[[int], str] | None = None
    ) -> None:
        try:
            count = write()
        except ExportError as error:
            show_error(str(error))
        except PathreasonError as error:
            show_warning(str(error))
        else:
            show_info(words.saved(Path(path).name, (counted or _answers)(count)))

    def _choose_table(self) -> None:
        path = ask_for_file(self, "Export the table", "answers.csv", "Tables (*.csv)", "csv")
        if path is not None:
            self.export_table(path)

    def _choose_numbers(self) -> None:
        path = ask_for_file(self, "Export numbers", "numbers.csv", "Tables (*.csv)", "csv")
        if path is not None:
            self.export_numbers(path)

    def _choose_agreement(self) -> None:
        path = ask_for_file(self, "Export agreement", "agreement.csv", "Tables (*.csv)", "csv")
        if path is not None:
            self.export_agreement(path)

    def _choose_anndata(self) -> None:
        path = ask_for_file(self, "Export AnnData", "answers.h5ad", "AnnData (*.h5ad)", "h5ad")
        if path is not None:
            self.export_anndata(path)

    def _choose_objects(self) -> None:
        kinds = "GeoJSON (*.geojson)"
        path = ask_for_file(self, "Export objects", "answers.geojson", kinds, "geojson")
        if path is not None:
            self.export_objects(path)

    def _choose_labels(self) -> None:
        path = ask_for_file(self, "Export labels", "labels.csv", "Tables (*.csv)", "csv")
        if path is not None:
            self.export_labels(path)

    def _filter(self, text: str) -> None:
        self.shown.setFilterFixedString(text.strip())
        self.look()

    def _choose(self, index: QModelIndex) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        try:
            go_to_entry(viewer, self.session, self.rows[index.row()])
        except PathreasonError as error:
            show_warning(str(error))

    def _mark(self, *_: Any) -> None:
        """Select the row of the answer that is shown."""
        entry = self.session.inquiry.shown
        self.review_buttons.show_entry(entry)
        rows: Sequence[Entry] = self.rows
        if entry in rows:
            self.table.selectRow(rows.index(entry))
        else:
            self.table.clearSelection()

    def _offer_back(self, *_: Any) -> None:
        """Offer what is on disk of this slide."""
        image = self.session.inquiry.image
        try:
            count = 0 if image is None else len(self.session.earlier_answers(image))
        except PathreasonError:  # no plane
            count = 0
        self.back_button.setVisible(count > 0)
        self.back_button.setText(f"Bring back {_answers(count)} about this slide")


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"


def _natural(text: str) -> str:
    """Sorts numbers by what they are: 2 before 10."""
    return f"{int(text):012d}" if text.isdecimal() else text.lower()

"""Compare: one question at several budgets, and what each of them gives, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import ref

from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.engine import Cancelled, Event, Failed, Finished, sentence
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.types import Budget, Result
from napari_pathreason.viewer import (
    BUDGET_COLORS,
    LEVEL_WORDS,
    BudgetCost,
    BudgetState,
    Entry,
    ModelLoading,
    Question,
    Session,
    answer_words,
    budget_title,
    draw_budget,
    question_of,
    reliability_words,
    shown_detections,
    was_changed,
)

from . import _keys as keys, _words as words
from ._fields import RowTable
from ._progress import StageProgress
from ._reliability import level_icon
from ._runner import QuestionRunner
from ._server import may_send

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Shapes

BUDGETS: tuple[Budget, ...] = (*BUDGET_GRID, "native")
A_ROW = 5
COLUMNS = {
    "Budget": "Most visual tokens; the colour of its boxes on the slide",
    "Answer": "What was answered, and how far it may be relied on; the tip has the rationale",
    "Boxes": "How many were drawn",
    "Conf.": "Confidence of the answer",
    "Tokens": "Visual tokens spent",
    "s": "Seconds from asking to the answer",
}
ANSWER, ANSWER_WIDTH = 1, 110
"""Place among the columns, and logical pixels that words have at least."""
NONE = "\N{EN DASH}"


class CompareView(QWidget):
    """Budgets to check, and their answers side by side; the model is loaded once.

    Parameters
    ----------
    viewer : callable
        Gives the viewer, or None once it is gone.
    session : Session
    """

    def __init__(self, viewer: Callable[[], Viewer | None], session: Session) -> None:
        super().__init__()
        self._viewer = viewer
        self.session = session
        self.runner = QuestionRunner(session, self)
        self.boxes: dict[Budget, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(2)
        for place, budget in enumerate(BUDGETS):
            box = QPushButton(str(budget))
            box.setCheckable(True)
            box.setMinimumWidth(24)
            box.toggled.connect(self._enable)
            self.boxes[budget] = box
            grid.addWidget(box, place // A_ROW, place % A_ROW)
        self.compare_button, self.cancel_button = QPushButton("Compare"), QPushButton("Cancel")
        self.compare_button.setToolTip("Ask the question of the Ask dock at each checked budget")
        self.compare_button.clicked.connect(self.compare)
        self.cancel_button.setToolTip("Stop; what is answered stays")
        self.cancel_button.clicked.connect(self.cancel)
        self.progress, self.table = StageProgress(), CompareTable()
        buttons = QHBoxLayout()
        buttons.addWidget(self.compare_button, 2)
        buttons.addWidget(self.cancel_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(grid)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.table)
        self._waiting: list[Question] = []
        self._image: ref[Image] | None = None
        self._layer: ref[Shapes] | None = None
        self.runner.happened.connect(self._follow)
        keys.bind(keys.ASK, self.compare, self)
        self._escape = keys.bind(keys.CANCEL, self.cancel, self)
        keys.name_in_tip(self.compare_button, keys.ASK)
        keys.name_in_tip(self.cancel_button, keys.CANCEL)
        self.check(BudgetState().compared)
        self._enable()

    @property
    def checked(self) -> list[Budget]:
        """The budgets that are to be compared, in the order of the budget grid."""
        return [budget for budget, box in self.boxes.items() if box.isChecked()]

    def check(self, budgets: Iterable[Budget]) -> None:
        """Check just these."""
        budgets = set(budgets)
        for budget, box in self.boxes.items():
            box.setChecked(budget in budgets)

    def explain(self, costs: Iterable[BudgetCost]) -> None:
        """Say which budgets are read as windows."""
        for cost in costs:
            words = f"{cost.windows[:1].upper()}{cost.windows[1:]}"
            if words != self.boxes[cost.budget].toolTip():
                self.boxes[cost.budget].setToolTip(words)

    def compare(self) -> None:
        """Ask the question at every checked budget, one after the other."""
        viewer, inquiry = self._viewer(), self.session.inquiry
        if viewer is None or not self.compare_button.isEnabled():
            return
        try:
            if self.session.asking:
                raise PathreasonError(words.BUSY)
            preferred = self.session.preferences()
            inquiry.prefer(preferred.model)
            draft = inquiry.resolve()
            question = question_of(viewer, self.session, draft, preferred)
        except PathreasonError as error:  # nothing went wrong yet: a hint
            show_info(sentence(error))
            return
        if not may_send(question.model, self):
            return
        self._forget(viewer)
        self._image = None if draft.image is None else ref(draft.image)
        self._waiting = [
            replace(question, request=replace(question.request, budget=budget))
            for budget in self.checked
        ]
        self._next()

    def cancel(self) -> None:
        """Stop; what is answered stays."""
        self._waiting = []
        if self.runner.running:
            self.progress.say(words.CANCELLING)
            self.runner.cancel()

    def stop(self) -> None:
        """Drop a running question and its model's process, as its dock goes."""
        self._waiting = []
        if self.runner.running:
            self.runner.close()
            self.progress.end(words.COMPARISON_DROPPED)
            self._enable()

    def _next(self) -> None:
        if self._waiting:
            self.runner.ask(self._waiting.pop(0))
        else:
            self.progress.end()
        self._enable()

    def _follow(self, event: ModelLoading | Event) -> None:
        if isinstance(event, Finished):
            self._show(event.result)
            self._next()
        elif isinstance(event, Failed | Cancelled):
            self._waiting = []
            cancelled = isinstance(event, Cancelled)
            self.progress.end(words.CANCELLED if cancelled else words.FAILED)
            self._enable()
            if isinstance(event, Failed) and isinstance(event.error, QueryError):
                show_info(sentence(event.error))  # a hint
            elif isinstance(event, Failed):
                show_error(event.reason)
        else:
            self.progress.follow(event)

    def _show(self, result: Result) -> None:
        viewer, image = self._viewer(), self._image() if self._image is not None else None
        if viewer is None or image is None or image not in viewer.layers:
            self._waiting = []  # nobody asks any more
            return
        entry = self.session.add(result, image)
        color = BUDGET_COLORS[self.table.rowCount() % len(BUDGET_COLORS)]
        self.table.add(entry, color)
        layer = None if self._layer is None else self._layer()
        layer = layer if layer in viewer.layers else None
        self._layer = ref(draw_budget(viewer, image, entry, color, layer))

    def _forget(self, viewer: Viewer) -> None:
        """Take away what an earlier comparison left, unless the user worked on it."""
        layer = None if self._layer is None else self._layer()
        if layer is not None and layer in viewer.layers and not was_changed(layer):
            viewer.layers.remove(layer)
        self._layer = None
        self.table.clear_budgets()

    def _enable(self) -> None:
        running = self.runner.running
        self.compare_button.setEnabled(len(self.checked) > 1 and not running)
        self.cancel_button.setEnabled(running)
        for key in self._escape:
            key.setEnabled(running)


class CompareTable(RowTable):
    """A row for each budget; `chosen` is emitted with the `Entry` of a row."""

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(COLUMNS, {ANSWER: ANSWER_WIDTH})
        self.setWordWrap(False)
        header = self.horizontalHeader()
        for column in range(len(COLUMNS)):
            if column != ANSWER:
                header.setSectionResizeMode(column, QHeaderView.ResizeToContents)
        header.setMinimumSectionSize(20)
        self.setMinimumHeight(100)
        self._entries: list[Entry] = []
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self._entries[row]))

    def clear_budgets(self) -> None:
        """Forget all rows."""
        self._entries = []
        self.setRowCount(0)

    def add(self, entry: Entry, color: str) -> None:
        """Append the row of an answer; ``color`` is that of its boxes."""
        row, result = len(self._entries), entry.result
        self._entries.append(entry)
        self.setRowCount(row + 1)
        mark = QPixmap(10, 10)
        mark.fill(QColor(color))
        rationale = (result.answer.readable and result.answer.rationale) or ""
        tip = "\n".join(
            filter(
                None,
                (
                    reliability_words(result.reliability),
                    rationale,
                    f"{result.pixels_decoded / 1e6:.2f} Mpx decoded",
                ),
            )
        )
        for column, text in enumerate(_texts(result)):
            item = QTableWidgetItem(text)
            side = Qt.AlignLeft if column == ANSWER else Qt.AlignRight
            item.setTextAlignment(int(side | Qt.AlignVCenter))
            item.setToolTip(tip)
            if column == 0:
                item.setIcon(QIcon(mark))
            if column == ANSWER:
                level = result.reliability.level
                item.setIcon(level_icon(level))
                item.setData(Qt.AccessibleTextRole, f"{LEVEL_WORDS[level]}: {text}")
            self.setItem(row, column, item)
        self.share_room()


def _texts(result: Result) -> tuple[str, ...]:
    """In the order of `COLUMNS`; a guess is called one, and has no confidence to speak of."""
    tokens, readable, level = result.tokens, result.answer.readable, result.reliability.level
    guess = readable and level == "none"
    confident = None if level == "none" else result.confidence
    words, boxes = answer_words(result), len(shown_detections(result))
    found = NONE if result.query.task != "detection" else str(boxes) if readable else "unknown"
    return (
        budget_title(result),
        f"Guess: {words}" if guess else words,
        found,
        NONE if confident is None else f"{confident:.0%}",
        f"{tokens.spent:,}",
        f"{sum(result.seconds.values()):.1f}",
    )

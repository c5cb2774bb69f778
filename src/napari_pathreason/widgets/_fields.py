"""What forms and tables of the docks are made of: rows, boxes to choose from, words that wrap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, ref

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QWidget,
)

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.models import remembered_models
from napari_pathreason.types import Budget
from napari_pathreason.viewer import (
    EMBEDDED,
    is_slide,
    largest_offered,
    models_here,
    unwrapped,
    why_not_offered,
)

if TYPE_CHECKING:
    from napari import Viewer
    from psygnal import SignalInstance

USUAL_WIDTH = 290
"""Logical pixels of a line of words in a dock, until it has been laid out."""
BUDGETS: list[tuple[str, Budget]] = [
    ("Auto", "auto"),
    *((f"{cost:,} visual tokens", cost) for cost in BUDGET_GRID),
    ("Native size", "native"),
]
TOTALS: list[tuple[str, Budget]] = [
    *BUDGETS[:-1],
    *((f"{cost:,} visual tokens", cost) for cost in (2048, 4096, 8192, 16_384)),
    BUDGETS[-1],
]
"""Of a region that may be large: beyond one picture's they are spread over its windows."""
MORE = "\N{HORIZONTAL ELLIPSIS}"
SERVER = f"Server{MORE}"
"""On buttons that ask for something first."""


def listen(signal: SignalInstance, method: Callable[..., Any]) -> None:
    """Call a widget's method at a signal of psygnal, as long as Qt has the widget.

    A closed dock may still be there for Python when its parts are gone. Qt's own word of it, the
    signal ``destroyed``, comes while Python takes objects apart: what hears it may be gone too.

    Parameters
    ----------
    signal : psygnal.SignalInstance
    method : bound method
        Of a widget; held weakly.
    """
    reference = WeakMethod(method)

    def heard(*values: Any) -> None:
        call: Any = reference()
        if call is not None and isalive(call.__self__):
            call(*values)

    signal.connect(heard)


class Rows(QFormLayout):
    """Form layout that remembers its labels."""

    def __init__(self) -> None:
        super().__init__()
        self.setContentsMargins(0, 0, 0, 0)
        self.setVerticalSpacing(4)
        self.setFieldGrowthPolicy(QFormLayout.AllNonFixedFieldsGrow)
        self._labels: dict[QWidget, QLabel] = {}

    def add(self, text: str, field: QWidget) -> None:
        """Add a labelled row."""
        label = QLabel(text)
        label.setBuddy(field)
        self._labels[field] = label
        self.addRow(label, field)

    def rename(self, field: QWidget, text: str) -> None:
        """Change the label of a row."""
        self._labels[field].setText(text)

    def show_row(self, field: QWidget, visible: bool) -> None:
        """Show or hide a row with its label."""
        field.setVisible(visible)
        self._labels[field].setVisible(visible)


def side_by_side(*widgets: QWidget) -> QWidget:
    """Widgets in one row; the first takes the room."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for i, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if i == 0 else 0)
    return row


class BesideWords(QHBoxLayout):
    """Parts beside words that wrap, as high as those are at the width that they have.

    Qt alone asks for the height that they would need at their least width.
    """

    def hasHeightForWidth(self) -> bool:
        """No: `WrapLabel` knows its height."""
        return False


class WrapLabel(QLabel):
    """Words that wrap: always as high as they are at the width of the dock, which they never widen.

    Qt alone asks for a height at a width that it guesses, and cuts off what needs more.

    Parameters
    ----------
    text : str
    least : int
        Lines for which there is always room.
    """

    def __init__(self, text: str = "", least: int = 1) -> None:
        super().__init__(text)
        self._least, self._room = least, USUAL_WIDTH
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignTop | Qt.AlignLeft)
        self.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Fixed)

    def sizeHint(self) -> QSize:
        """As high as the words are at the width that the label has."""
        least = self._least * self.fontMetrics().lineSpacing()
        return QSize(0, max(self.heightForWidth(self._room), least))

    def minimumSizeHint(self) -> QSize:
        """No line is cut off."""
        return self.sizeHint()

    def resizeEvent(self, event: Any) -> None:
        """Ask for another height at another width."""
        super().resizeEvent(event)
        if event.size().width() != self._room:
            self._room = event.size().width()
            self.updateGeometry()


def text_line(text: str = "", least: int = 1) -> QLabel:
    """Plain words that wrap and do not widen the dock; see `WrapLabel`."""
    label = WrapLabel(text, least)
    label.setTextFormat(Qt.PlainText)
    return label


class CalmBox(QComboBox):
    """Narrow combo box that ignores the wheel until it was clicked: it stands where one scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.StrongFocus)
        _keep_narrow(self)

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to whatever scrolls."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class ChoiceBox(CalmBox):
    """Combo box of values that does not widen the dock for long texts.

    Parameters
    ----------
    choices : sequence of (str, object)
        Texts and their values.
    tip : str
    """

    def __init__(self, choices: Sequence[tuple[str, Any]], tip: str) -> None:
        super().__init__()
        for text, value in choices:
            self.addItem(text, value)
        self.setToolTip(tip)

    @property
    def value(self) -> Any:
        """The chosen value."""
        return self.currentData()

    def choose(self, value: Any) -> None:
        """Choose a value; one that is not offered changes nothing."""
        place = self.findData(value)
        if place >= 0 and self._item(place).isEnabled():
            self.setCurrentIndex(place)

    def _item(self, place: int) -> Any:
        model: Any = self.model()
        return model.item(place)


class BudgetBox(ChoiceBox):
    """Budgets, of which no more are offered than a model's replies hold at."""

    def __init__(self, tip: str, choices: Sequence[tuple[str, Budget]] = BUDGETS) -> None:
        super().__init__(choices, tip)

    def offer(self, most: int | None, native: int | None = None) -> str:
        """Enable the budgets that are offered; the tips of the others say why they are not.

        A budget that is not offered any more gives way to the largest that is. Native size stays
        as it was chosen, as it depends on the region, which changes with each move.

        Parameters
        ----------
        most, native
            As for `viewer.why_not_offered`.

        Returns
        -------
        str
            Why the chosen budget is not offered; empty where it is.
        """
        for place in range(self.count()):
            why = why_not_offered(self.itemData(place), most, native)
            if why != (self.itemData(place, Qt.ToolTipRole) or ""):
                self._item(place).setEnabled(not why)
                self._item(place).setToolTip(why)
        refused = why_not_offered(self.value, most, native)
        if refused and self.value != "native":
            self.setCurrentIndex(self.findData(largest_offered(most)))
            refused = why_not_offered(self.value, most, native)
        return refused

    def step(self, up: int) -> None:
        """Choose the next budget that is offered, up (1) or down (-1) the list."""
        place = self.currentIndex() + up
        while 0 <= place < self.count():
            if self._item(place).isEnabled():
                self.setCurrentIndex(place)
                return
            place += up


class ImageBox(QWidget):
    """Image layers of a viewer; previews and heat maps are none to be asked about.

    Signals
    -------
    changed
        Another one was chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer, tip: str) -> None:
        super().__init__()
        self._viewer = ref(unwrapped(viewer))
        self._box = ComboBox(choices=self._choices, nullable=False)
        _keep_narrow(self._box.native).setToolTip(tip)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box.native)
        self._box.changed.connect(lambda: self.changed.emit())

    @property
    def image(self) -> Image | None:
        """The chosen image layer."""
        return self._box.value

    @image.setter
    def image(self, layer: Image) -> None:
        self._box.value = layer

    @property
    def choices(self) -> tuple[Image, ...]:
        """The image layers that are offered."""
        return self._box.choices

    def reset_choices(self) -> None:
        """Offer the image layers that the viewer has now."""
        self._box.reset_choices()

    def _choices(self, _: Any) -> list[tuple[str, Image]]:
        viewer = self._viewer()
        layers = [] if viewer is None else list(viewer.layers)
        return [(layer.name, layer) for layer in layers if is_slide(layer)]


class ModelBox(QWidget):
    """Embedded, a folder with a checkpoint, a hub id, or a model on a server.

    Signals
    -------
    changed
        Another one was chosen, or a letter of it typed.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._box = CalmBox()
        self._box.setEditable(True)
        offered = dict.fromkeys((EMBEDDED, *remembered_models(), *models_here()))
        self._box.addItems([*offered, SERVER])
        self._box.setToolTip(
            "embedded, a model in the cache, a folder, a hub id, or a server's address"
        )
        self._box.editTextChanged.connect(self._edited)
        self._box.activated.connect(self._activated)
        self._preferred = self._last = EMBEDDED
        browse = QPushButton(MORE)
        browse.setToolTip("Choose a folder with a checkpoint")
        browse.clicked.connect(self._choose_folder)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._box, 1)
        layout.addWidget(browse)

    @property
    def model_id(self) -> str:
        """``embedded``, a folder, a hub id or the address of a server."""
        text = self._box.currentText().strip()
        return self._last if text == SERVER else text or EMBEDDED

    @model_id.setter
    def model_id(self, model_id: str) -> None:
        self._box.setEditText(model_id)

    @property
    def own(self) -> str:
        """The chosen one; empty where it is that of the preferences."""
        return "" if self.model_id == self._preferred else self.model_id

    @property
    def offered(self) -> list[str]:
        """Those in the list."""
        texts = [self._box.itemText(place) for place in range(self._box.count())]
        return [text for text in texts if text != SERVER]

    def prefer(self, model_id: str) -> None:
        """Offer the model of the preferences; taken where no other one was chosen."""
        text, former = self._box.currentText(), self._preferred
        self._offer(model_id)
        self._preferred = model_id
        self.model_id = model_id if text.strip() in ("", former) else text

    def choose_server(self) -> None:
        """Ask for the address of a server, and take its model."""
        from ._server import ServerDialog

        dialog = ServerDialog(self.model_id, self)
        if dialog.exec():
            self._offer(dialog.model_id)
            self.model_id = dialog.model_id

    def _offer(self, model_id: str) -> None:
        """Put a model into the list, before the entry that asks for a server."""
        if self._box.findText(model_id) < 0:
            self._box.insertItem(self._box.findText(SERVER), model_id)

    def _edited(self, text: str) -> None:
        if text != SERVER:  # an entry that is chosen stands there for a moment
            self._last = text.strip() or EMBEDDED
            self.changed.emit()

    def _activated(self, place: int) -> None:
        if self._box.itemText(place) == SERVER:
            self.model_id = self._last
            self.choose_server()

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with a checkpoint")
        if folder:
            self.model_id = folder


class RowTable(QTableWidget):
    """Table whose rows are chosen, not edited.

    Parameters
    ----------
    columns : dict of str to str
        Titles and their tips.
    words : dict of int to int, optional
        Columns of words, and the logical pixels that each has at least; they share what the others
        leave. A table that needs more room than there is scrolls, so that words can be read.
    """

    def __init__(self, columns: Mapping[str, str], words: Mapping[int, int] | None = None) -> None:
        super().__init__(0, len(columns))
        self._words = dict(words or {})
        self.setHorizontalHeaderLabels(list(columns))
        for place, tip in enumerate(columns.values()):
            item = self.horizontalHeaderItem(place)
            if item is not None:
                item.setToolTip(tip)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(22)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.Stretch)
        self.setEditTriggers(QAbstractItemView.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectRows)
        self.setSelectionMode(QAbstractItemView.SingleSelection)
        for column in self._words:
            self.horizontalHeader().setSectionResizeMode(column, QHeaderView.Interactive)

    def resizeEvent(self, event: Any) -> None:
        """Share the room among the columns of words."""
        super().resizeEvent(event)
        self.share_room()

    def share_room(self) -> None:
        """Give columns of words what the others leave; to be called when those have changed."""
        columns = [x for x in range(self.columnCount()) if not self.isColumnHidden(x)]
        header = self.horizontalHeader()
        others = sum(header.sectionSize(x) for x in columns if x not in self._words)
        for column, least in self._words.items():
            room = (self.viewport().width() - others) // len(self._words)
            header.resizeSection(column, max(least, room))


def _keep_narrow(box: QComboBox) -> QComboBox:
    """Let a combo box shrink below its longest entry."""
    box.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Fixed)
    return box

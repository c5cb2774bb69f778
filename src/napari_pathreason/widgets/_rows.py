"""Rows of a form that can be shown and hidden with their labels, and narrow combo boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

USUAL_WIDTH = 290
"""Logical pixels of a line of words in a dock, until it has been laid out."""


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


class CalmBox(QComboBox):
    """Combo box that the wheel changes only once it was clicked: it stands where one scrolls."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.StrongFocus)

    def wheelEvent(self, event: Any) -> None:
        """Leave the wheel to whatever scrolls."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


def choice_box(choices: Sequence[tuple[str, Any]], tip: str) -> QComboBox:
    """Combo box of (text, value) that does not widen the dock for long texts."""
    box = CalmBox()
    for text, value in choices:
        box.addItem(text, value)
    box.setToolTip(tip)
    return keep_narrow(box)


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


def keep_narrow(box: QComboBox) -> QComboBox:
    """Let a combo box shrink below its longest entry."""
    box.setSizeAdjustPolicy(QComboBox.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    box.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Fixed)
    return box


def side_by_side(*widgets: QWidget) -> QWidget:
    """Widgets in one row; the first takes the room."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for i, widget in enumerate(widgets):
        layout.addWidget(widget, 1 if i == 0 else 0)
    return row

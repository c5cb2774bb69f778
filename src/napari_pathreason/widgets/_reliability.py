"""How far an answer may be relied on, seen at a glance: icons, and a strip with words."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_pathreason.types import Level, Reliability
from napari_pathreason.viewer import LEVEL_WORDS, reliability_words

from ._rows import WrapLabel

SIGNS: dict[Level, str] = {"reliable": "#1e8e4e", "uncertain": "#d08700", "none": "#c5392f"}
"""Ground of an icon and edge of a strip, on a dark dock as on a light one; shapes differ too."""
WORDS: dict[bool, dict[Level, str]] = {
    True: {"reliable": "#74d99a", "uncertain": "#ffc457", "none": "#ff9d94"},
    False: {"reliable": "#12602d", "uncertain": "#744500", "none": "#9a1b13"},
}
"""Colour of the level's words on a dark (True) and on a light dock: at least 4.5 to 1."""
TINT = 34
"""Of 255: how much of a sign's colour the ground of a strip has."""
MOST_LETTERS = 160
"""Reasons beyond are told by the tip."""
ICON = 16


@cache
def level_icon(level: Level) -> QIcon:
    """A tick in a disc, an exclamation mark in a triangle, or a cross in an octagon."""
    icon = QIcon()
    for scale in (1, 2, 3):
        icon.addPixmap(_drawn(level, scale * ICON))
    return icon


def _drawn(level: Level, side: int) -> QPixmap:
    picture = QPixmap(side, side)
    picture.fill(Qt.transparent)
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.Antialiasing)
    painter.scale(side / 16, side / 16)
    painter.setPen(Qt.NoPen)
    painter.setBrush(QBrush(QColor(SIGNS[level])))
    stroke = QPen(QColor("white"), 1.9, Qt.SolidLine, Qt.RoundCap, Qt.RoundJoin)
    if level == "reliable":
        painter.drawEllipse(QRectF(1, 1, 14, 14))
        painter.setPen(stroke)
        painter.setBrush(Qt.NoBrush)
        painter.drawPolyline(_points((4.6, 8.3), (7.1, 10.8), (11.5, 5.6)))
    elif level == "uncertain":
        painter.drawPolygon(_points((8, 0.8), (15.6, 14.6), (0.4, 14.6)))
        painter.setPen(stroke)
        painter.drawLine(QPointF(8, 5.6), QPointF(8, 9.4))
        painter.drawPoint(QPointF(8, 12.2))
    else:
        low, high = 5.0, 11.0
        corners = (low, 1), (high, 1), (15, low), (15, high), (high, 15), (low, 15)
        painter.drawPolygon(_points(*corners, (1, high), (1, low)))
        painter.setPen(stroke)
        painter.drawLine(QPointF(5.4, 5.4), QPointF(10.6, 10.6))
        painter.drawLine(QPointF(10.6, 5.4), QPointF(5.4, 10.6))
    painter.end()
    return picture


def _points(*places: tuple[float, float]) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in places])


def is_dark(widget: QWidget) -> bool:
    """Whether a widget has light words on a dark ground, whatever theme makes it so."""
    return widget.palette().color(QPalette.WindowText).lightness() > 127


# Qt's classes cannot be inherited from twice: whatever follows the theme brings its own
if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget as _AnyWidget
else:
    _AnyWidget = object


class FollowsTheme(_AnyWidget):
    """Paints a widget anew, by its ``_paint``, when its theme may be another; stands before Qt's.

    A theme reaches a widget no earlier than it is shown.
    """

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() in (QEvent.StyleChange, QEvent.PaletteChange):
            self._paint()

    def showEvent(self, event: Any) -> None:
        """Take the theme on."""
        super().showEvent(event)
        self._paint()


class ReliabilityStrip(FollowsTheme, QFrame):
    """One line above an answer: an icon, the level, and the reasons; hidden without an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("pathreason_reliability")
        self._icon, self._label = QLabel(), WrapLabel()
        self._label.setTextFormat(Qt.RichText)
        self._label.setTextInteractionFlags(Qt.TextSelectableByMouse)
        self._icon.setAlignment(Qt.AlignTop)
        self._icon.setFixedWidth(ICON)
        self._icon.setContentsMargins(0, 3, 0, 0)  # beside the first line of words
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 5, 6, 5)
        layout.setSpacing(6)
        layout.addWidget(self._icon)
        layout.addWidget(self._label, 1, Qt.AlignTop)
        self.setSizePolicy(QSizePolicy.Preferred, QSizePolicy.Fixed)
        self._told: tuple[Level, str, str] | None = None
        self._look: Any = None
        self.hide()

    @property
    def text(self) -> str:
        """What is said, in full; empty where nothing is."""
        if self._told is None:
            return ""
        _, head, reasons = self._told
        return f"{head}: {reasons}" if reasons else head

    def show_reliability(self, reliability: Reliability) -> None:
        """Say how far an answer may be relied on, and why not further."""
        line, head = reliability_words(reliability), LEVEL_WORDS[reliability.level]
        self.say(reliability.level, head, line[len(head) :].removeprefix(": "))
        lines = [f"\N{BULLET} {reason}" for reason in reliability.reasons]
        self.setToolTip("\n".join([head, *lines]))

    def show_tiles(self, reliability: Reliability, tiles: str) -> None:
        """Say how many tiles of a slide run may be relied on, coloured by the run's own level.

        Parameters
        ----------
        reliability : Reliability
            Of the run as one answer about its slide; its reasons are told by the tip.
        tiles : str
            Numbers of tiles in words, such as ``38 of 40 tiles reliable, 2 uncertain``.
        """
        head, _, others = tiles.partition(", ")
        self.say(reliability.level, head, others)
        self.setToolTip("\n".join(f"\N{BULLET} {reason}" for reason in reliability.reasons))

    def say(self, level: Level, head: str, rest: str = "") -> None:
        """Show any words in the colours of a level."""
        self._told, self._look = (level, head, rest), None
        self.setToolTip("")
        self._paint()
        self.show()

    def clear(self) -> None:
        """Say nothing."""
        self._told = None
        self.hide()

    def _paint(self) -> None:
        look = (self._told, is_dark(self._label))
        if self._told is None or look == self._look:  # a new style sheet changes the style too
            return
        self._look = look
        level, head, rest = self._told
        if len(rest) > MOST_LETTERS:
            rest = f"{rest[:MOST_LETTERS].rpartition(' ')[0]}\N{HORIZONTAL ELLIPSIS}"
        red, green, blue, _ = QColor(SIGNS[level]).getRgb()
        self.setStyleSheet(
            f"#{self.objectName()} {{ background: rgba({red}, {green}, {blue}, {TINT}); "
            f"border: none; border-left: 3px solid {SIGNS[level]}; border-radius: 3px; }} "
            "QLabel { background: transparent; }"
        )
        color = WORDS[is_dark(self._label)][level]
        # where there is no reliable answer, that is the headline
        size = "font-size: large; " if level == "none" else ""
        words = f"<span style='{size}font-weight: bold; color: {color}'>{escape(head)}</span>"
        if rest:
            below = f"<br>{escape(rest[:1].upper() + rest[1:])}"
            words += below if level == "none" else f": {escape(rest)}"
        self._label.setText(words)
        self._icon.setPixmap(level_icon(level).pixmap(QSize(ICON, ICON)))

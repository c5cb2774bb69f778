"""How far an answer may be relied on, seen at a glance: icons, a strip with words, a line.

The strip stands above an answer; the line under a question that is still being written.
"""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPalette, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

from napari_pathreason.types import Level, Query, Reliability
from napari_pathreason.viewer import LEVEL_WORDS, Outlook, reliability_words

from ._fields import BesideWords, WrapLabel

SIGNS: dict[Level, str] = {"reliable": "#1e8e4e", "uncertain": "#d08700", "none": "#c5392f"}
"""Ground of an icon and edge of a strip, on a dark dock as on a light one; shapes differ too."""
WORDS: dict[bool, dict[Level, str]] = {
    True: {"reliable": "#74d99a", "uncertain": "#ffc457", "none": "#ff9d94"},
    False: {"reliable": "#12602d", "uncertain": "#744500", "none": "#9a1b13"},
}
"""Colour of the level's words on a dark (True) and on a light dock: at least 4.5 to 1."""
MARKS: dict[Level | None, str] = {
    "reliable": "\N{CHECK MARK} ",
    "uncertain": "! ",
    "none": "\N{MULTIPLICATION X} ",
    None: "",
}
SEPARATOR = " \N{MIDDLE DOT} "
LINKS = {True: "#8ab8ff", False: "#1f4fa3"}
"""On a dark (True) and on a light dock."""
TINT = 34
"""Of 255: how much of a sign's colour the ground of a strip has."""
MOST_LETTERS = 160
"""Reasons beyond stand in the tip."""
ICON = 16


@cache
def level_icon(level: Level) -> QIcon:
    """A tick in a disc, an exclamation mark in a triangle, or a cross in an octagon."""
    icon = QIcon()
    for scale in (1, 2, 3):
        icon.addPixmap(_icon_picture(level, scale * ICON))
    return icon


def _icon_picture(level: Level, side: int) -> QPixmap:
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


def _is_dark(widget: QWidget) -> bool:
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
        layout = BesideWords(self)
        layout.setContentsMargins(6, 5, 6, 5)
        layout.setSpacing(6)
        layout.addWidget(self._icon)
        layout.addWidget(self._label, 1, Qt.AlignTop)
        self.setSizePolicy(QSizePolicy.Preferred, QSizePolicy.Fixed)
        self._words: tuple[Level, str, str] | None = None
        self._painted: Any = None
        self.hide()

    @property
    def text(self) -> str:
        """What is said, in full; empty where nothing is."""
        if self._words is None:
            return ""
        _, head, reasons = self._words
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
            Of the run as one answer about its slide; its reasons stand in the tip.
        tiles : str
            Numbers of tiles in words, such as ``38 of 40 tiles reliable, 2 uncertain``.
        """
        head, _, others = tiles.partition(", ")
        self.say(reliability.level, head, others)
        self.setToolTip("\n".join(f"\N{BULLET} {reason}" for reason in reliability.reasons))

    def say(self, level: Level, head: str, rest: str = "") -> None:
        """Show any words in the colours of a level."""
        self._words, self._painted = (level, head, rest), None
        self.setToolTip("")
        self._paint()
        self.show()

    def clear(self) -> None:
        """Say nothing."""
        self._words = None
        self.hide()

    def _paint(self) -> None:
        wanted = (self._words, _is_dark(self._label))
        if self._words is None or wanted == self._painted:  # a new style sheet changes the style
            return
        self._painted = wanted
        level, head, rest = self._words
        if len(rest) > MOST_LETTERS:
            rest = f"{rest[:MOST_LETTERS].rpartition(' ')[0]}\N{HORIZONTAL ELLIPSIS}"
        red, green, blue, _ = QColor(SIGNS[level]).getRgb()
        self.setStyleSheet(
            f"#{self.objectName()} {{ background: rgba({red}, {green}, {blue}, {TINT}); "
            f"border: none; border-left: 3px solid {SIGNS[level]}; border-radius: 3px; }} "
            "QLabel { background: transparent; }"
        )
        color = WORDS[_is_dark(self._label)][level]
        # where there is no reliable answer, that is the headline
        size = "font-size: large; " if level == "none" else ""
        words = f"<span style='{size}font-weight: bold; color: {color}'>{escape(head)}</span>"
        if rest:
            below = f"<br>{escape(rest[:1].upper() + rest[1:])}"
            words += below if level == "none" else f": {escape(rest)}"
        self._label.setText(words)
        self._icon.setPixmap(level_icon(level).pixmap(QSize(ICON, ICON)))


class OutlookLine(FollowsTheme, WrapLabel):
    """One line, coloured and marked by its level; hidden where there is nothing to say.

    Signals
    -------
    wanted : Query
        The example that was clicked.
    """

    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.RichText)
        self.setTextInteractionFlags(Qt.TextBrowserInteraction)
        self.setOpenExternalLinks(False)
        self.linkActivated.connect(self._choose)
        self._outlook = Outlook(None, "")
        self._dark: bool | None = None
        self.hide()

    @property
    def words(self) -> str:
        """What is said, without the examples."""
        return self._outlook.text

    @property
    def examples(self) -> tuple[Query, ...]:
        """What is offered."""
        return self._outlook.examples

    def show_outlook(self, outlook: Outlook) -> None:
        """Show another outlook."""
        if outlook != self._outlook:
            self._outlook, self._dark = outlook, None
            self.setToolTip(outlook.detail)
        self._paint()
        self.setVisible(bool(outlook.text or outlook.examples))

    def _paint(self) -> None:
        if _is_dark(self) == self._dark:
            return
        self._dark, outlook = _is_dark(self), self._outlook
        parts = []
        if outlook.text:
            color = "" if outlook.level is None else f"color: {WORDS[self._dark][outlook.level]}"
            words = f"{MARKS[outlook.level]}{escape(outlook.text)}"
            parts.append(f"<span style='{color}'>{words}</span>")
        links = [
            f"<a href='{place}' style='color: {LINKS[self._dark]}'>{escape(name)}</a>"
            for place, name in enumerate(outlook.names)
        ]
        if links:
            parts += [escape(outlook.lead), SEPARATOR.join(links)]
        self.setText(" ".join(parts))

    def _choose(self, place: str) -> None:
        self.wanted.emit(self._outlook.examples[int(place)])

"""What can be told of a question while it is written, with examples to click."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt, Signal

from napari_pathreason.types import Level, Query
from napari_pathreason.viewer import Outlook

from ._reliability import WORDS, FollowsTheme, is_dark
from ._rows import WrapLabel

MARKS: dict[Level | None, str] = {
    "reliable": "\N{CHECK MARK} ",
    "uncertain": "! ",
    "none": "\N{MULTIPLICATION X} ",
    None: "",
}
SEPARATOR = " \N{MIDDLE DOT} "
LINKS = {True: "#8ab8ff", False: "#1f4fa3"}
"""On a dark (True) and on a light dock."""


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
        if is_dark(self) == self._dark:
            return
        self._dark, told = is_dark(self), self._outlook
        parts = []
        if told.text:
            color = "" if told.level is None else f"color: {WORDS[self._dark][told.level]}"
            parts.append(f"<span style='{color}'>{MARKS[told.level]}{escape(told.text)}</span>")
        links = [
            f"<a href='{place}' style='color: {LINKS[self._dark]}'>{escape(name)}</a>"
            for place, name in enumerate(told.names)
        ]
        if links:
            parts += [escape(told.lead), SEPARATOR.join(links)]
        self.setText(" ".join(parts))

    def _choose(self, place: str) -> None:
        self.wanted.emit(self._outlook.examples[int(place)])

"""One answer in words: question, answer, rationale, account of tokens, notes, cited places.

Bold is what may be relied on, or checked by eye, alone: a guess stands small, and what a model
wrote out of form is shown only to who wants to see it.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QUrl
from qtpy.QtGui import QTextCursor
from qtpy.QtWidgets import QSizePolicy, QTextBrowser, QWidget

from napari_pathreason.engine import order_line, said_before, sentence, token_line
from napari_pathreason.errors import PathreasonError
from napari_pathreason.tasks import TASKS, Cited, cited_places, cited_views
from napari_pathreason.types import Query, Result
from napari_pathreason.viewer import (
    Entry,
    Session,
    answer_words,
    cited_by_shape,
    confidence_words,
    cost_words,
    show_cited,
)

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Shapes

MUTED, ALERT, LINK = "#797979", "#b96300", "#3f7fd1"
"""As legible on napari's dark ground as on its light one: 4.3 to 1."""
LARGE_UP_TO = 80  # characters; longer answers are set in plain size
RAW = "reply:"
"""Address of the link that shows a reply as it was written, and hides it again."""
SCHEME = "place"
"""Of the addresses of links that go to a cited place or window."""
_TAGS = ("<think>", "</think>", "<answer>", "</answer>")


class AnswerView(QTextBrowser):
    """Text of the answer that is being written or was chosen from the list."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Expanding)
        self.setMinimumHeight(120)
        self.setOpenLinks(False)
        self.setPlaceholderText("The answer appears here.")
        self._written = ""
        self._query: Query | None = None
        self._result: Result | None = None
        self._former, self._raw = 0, False
        self.anchorClicked.connect(self._toggle)

    def clear(self) -> None:
        """Show no answer."""
        self._query, self._written, self._result = None, "", None
        super().clear()

    def begin(self, query: Query) -> None:
        """Empty the view for an answer that is about to be written."""
        self._query, self._written, self._result = query, "", None
        self.setHtml(_muted(question_text(query)))

    def write(self, text: str) -> None:
        """Add a piece of the answer as it arrives; shows the rationale so far."""
        if self._query is None:
            return
        self._written += text
        answer = TASKS[self._query.task].parse(self._written, self._query)
        self._show(
            _muted(question_text(self._query)),
            _paragraph(_words_so_far(answer.rationale)),
        )
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def note(self, text: str) -> None:
        """Say why there is no answer, below what is shown; the same words once."""
        if not self.toPlainText().endswith(text):
            self.append(_colored(text, ALERT))
        self.moveCursor(QTextCursor.MoveOperation.End)

    def show_result(self, result: Result, former: int = 0) -> None:
        """Show a finished answer; how far it may be relied on stands above the view.

        Parameters
        ----------
        result : Result
        former : int
            Id of the answer that it goes on from; 0 where it goes on from none.
        """
        if result is not self._result:
            self._result, self._former, self._raw = result, former, False
        readable, level = result.answer.readable, result.reliability.level
        notes = (_muted(f"Note: {note}") for note in result.warnings)
        parts = [
            _muted(f"{question} \N{RIGHTWARDS ARROW} {text}")
            for question, text in said_before(result)
        ]
        parts.append(_muted(question_text(result.query)))
        if self._former:
            parts.append(_muted(f"Goes on from answer {self._former}."))
        if not readable:
            parts += [_paragraph(f"{answer_words(result)}."), self._reply(result.answer.reply)]
        elif level == "none":
            guess = f"<p style='font-size: small'>Guess: {escape(answer_words(result))}</p>"
            parts += [guess, _small(result.answer.rationale)]
        else:
            text = escape(answer_words(result))
            size = "large" if len(text) <= LARGE_UP_TO else "medium"
            parts += [
                f"<p style='font-size: {size}'><b>{text}</b></p>",
                _paragraph(confidence_words(result)),
                _paragraph(sentence(order_line(result)) if result.order is not None else ""),
                _lines(result.answer.rationale),
            ]
        cost = _muted(cost_words(result), f"{token_line(result)}")
        self._show(*parts, cost, *notes)

    def _reply(self, raw: str) -> str:
        """A link, and under it the raw reply once it was clicked."""
        if not raw.strip():
            return _paragraph("It wrote nothing.")
        word = "Hide" if self._raw else "Show"
        link = f"<p><a href='{RAW}' style='color: {LINK}'>{word} what it wrote</a></p>"
        shown = f"<pre style='white-space: pre-wrap; color: {MUTED}'>{escape(raw)}</pre>"
        return link + shown if self._raw else link

    def _toggle(self, url: QUrl) -> None:
        if url.toString() == RAW and self._result is not None:
            self._raw = not self._raw
            self.show_result(self._result, self._former)

    def _show(self, *parts: str) -> None:
        self.setHtml("".join(parts))


class EvidenceLinks(QObject):
    """Makes the cited places and windows of the shown answer links, and selects what cites a box.

    Parameters
    ----------
    view : AnswerView
    viewer : callable
        Gives the viewer, or None once it is gone.
    session : Session
    """

    def __init__(
        self,
        view: AnswerView,
        viewer: Callable[[], Viewer | None],
        session: Session,
    ) -> None:
        super().__init__(view)
        self._view, self._viewer, self._session = view, viewer, session
        self._entry: Entry | None = None
        self._outline: ref[Shapes] | None = None
        self._watched: WeakSet[Shapes] = WeakSet()
        view.anchorClicked.connect(self._go)

    def link(self, entry: Entry) -> None:
        """Make links of the places and windows that the shown answer cites."""
        self._entry = entry
        for number, cited in enumerate(_cited(entry)):
            cursor = self._cursor(entry, cited)
            if cursor is not None:
                link = cursor.charFormat()
                link.setAnchor(True)
                link.setAnchorHref(f"{SCHEME}:{number}")
                link.setFontUnderline(True)
                link.setToolTip(
                    "Go to this window" if cited.view == cited.text else "Go to this place"
                )
                cursor.mergeCharFormat(link)

    def unlink(self) -> None:
        """No answer is shown."""
        self._entry = None

    def watch(self, overlay: Shapes | None) -> None:
        """Follow which box of an overlay is selected."""
        if overlay is None or overlay in self._watched:
            return
        self._watched.add(overlay)
        shapes, links = ref(overlay), ref(self)

        def select(*_: Any) -> None:  # layers outlive docks
            me = links()
            if me is not None:
                me._select(shapes())

        overlay.selected_data.events.items_changed.connect(select)

    def _go(self, url: QUrl) -> None:
        viewer, entry = self._viewer(), self._entry
        if url.scheme() != SCHEME or viewer is None or entry is None:
            return
        cited = _cited(entry)[int(url.path())]
        former = self._outline() if self._outline is not None else None
        try:
            self._outline = ref(show_cited(viewer, entry, cited, former))
        except PathreasonError as error:
            show_warning(str(error))

    def _select(self, overlay: Shapes | None) -> None:
        """Select in the text what cites the one box that is selected."""
        if overlay is None or len(overlay.selected_data) != 1:
            return
        citation = cited_by_shape(overlay, next(iter(overlay.selected_data)))
        if citation is None:
            return
        owner, cited = citation
        entry = self._session.entries[owner - 1]
        if self._entry is not entry:
            self._session.inquiry.show(entry)
        cursor = self._cursor(entry, cited)
        if cursor is not None:
            self._view.setTextCursor(cursor)

    def select_view(self, name: str) -> None:
        """Select in the text the line of a window."""
        if self._entry is None:
            return
        for cited in cited_views(_rationale(self._entry)):
            cursor = self._cursor(self._entry, cited) if cited.view == name else None
            if cursor is not None:
                cursor.movePosition(QTextCursor.EndOfLine, QTextCursor.KeepAnchor)
                self._view.setTextCursor(cursor)

    def _cursor(self, entry: Entry, cited: Cited) -> QTextCursor | None:
        """The words of a citation in the text that is shown; None where they are not there."""
        text, words = _rationale(entry), " ".join(cited.text.split())
        start = self._view.toPlainText().rfind(text)
        same = (
            one.start
            for one in _cited(entry)
            if one.text.startswith(words) and one.view == cited.view
        )
        at = next(same, None)
        if start < 0 or at is None:
            return None
        cursor = QTextCursor(self._view.document())
        cursor.setPosition(start + at)
        cursor.setPosition(start + at + len(words), QTextCursor.KeepAnchor)
        return cursor


def question_text(query: Query) -> str:
    """A query in one line, as lists and headings show it."""
    if query.task == "vqa":
        return query.question
    what = "Subtype" if query.task == "subtyping" else "Find"
    line = f"{what}: {', '.join(query.options)}"
    return f"{line}. {query.question}" if query.question else line


def _rationale(entry: Entry) -> str:
    """A rationale as the view shows it."""
    return "\n".join(_rationale_lines(entry.result.answer.rationale))


def _rationale_lines(rationale: str) -> list[str]:
    return [words for line in rationale.splitlines() if (words := " ".join(line.split()))]


def _cited(entry: Entry) -> tuple[Cited, ...]:
    """Windows and places that a rationale cites, as the view shows it."""
    text = _rationale(entry)
    return (*cited_views(text), *cited_places(text))


def _words_so_far(rationale: str) -> str:
    """A rationale that is being written, up to a tag, whole or begun; no JSON."""
    if rationale.lstrip().startswith(("[", "{", "`")):
        return ""
    for tag in _TAGS:
        rationale = rationale.partition(tag)[0]
        for length in range(len(tag) - 1, 0, -1):
            rationale = rationale.removesuffix(tag[:length])
    return rationale


def _small(text: str) -> str:
    return f"<p style='font-size: small; color: {MUTED}'>{_broken(text)}</p>" if text else ""


def _lines(text: str) -> str:
    return f"<p>{_broken(text)}</p>" if text.strip() else ""


def _broken(text: str) -> str:
    return "<br>".join(map(escape, _rationale_lines(text)))


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _muted(text: str, tip: str = "") -> str:
    return _colored(text, MUTED, tip)


def _colored(text: str, color: str, tip: str = "") -> str:
    words = escape(text)
    if tip:
        words = f"<span title='{escape(tip)}'>{words}</span>"
    return f"<p style='color: {color}'>{words}</p>"

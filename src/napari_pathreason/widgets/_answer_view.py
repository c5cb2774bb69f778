"""One answer in words: question, answer, rationale, account of tokens, warnings."""

from __future__ import annotations

from html import escape

from qtpy.QtGui import QTextCursor
from qtpy.QtWidgets import QSizePolicy, QTextBrowser, QWidget

from napari_pathreason._types import Query, Result
from napari_pathreason.engine import confidence_line, token_line
from napari_pathreason.tasks import TASKS

MUTED, ALERT = "#797979", "#b96300"
"""As legible on napari's dark ground as on its light one: 4.3 to 1."""
LARGE_UP_TO = 80  # characters; longer answers are set in plain size


class AnswerView(QTextBrowser):
    """Text of the answer that is being written or was chosen from the list."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Expanding)
        self.setMinimumHeight(120)
        self.setPlaceholderText("Ask about what you see: the answer appears here.")
        self._written = ""
        self._query: Query | None = None

    def begin(self, query: Query) -> None:
        """Empty the view for an answer that is about to be written."""
        self._query, self._written = query, ""
        self.setHtml(_muted(question_text(query)))

    def write(self, text: str) -> None:
        """Add a piece of the answer as it arrives; shows the rationale so far."""
        if self._query is None:
            return
        self._written += text
        answer = TASKS[self._query.task].parse(self._written, self._query)
        self._show(
            _muted(question_text(self._query)),
            _paragraph(answer.rationale.partition("</")[0]),
        )
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def note(self, text: str) -> None:
        """Say why there is no answer, below what is shown; the same words once."""
        if not self.toPlainText().endswith(text):
            self.append(_colored(text, ALERT))
        self.moveCursor(QTextCursor.MoveOperation.End)

    def show_result(self, result: Result) -> None:
        """Show a finished answer."""
        text = escape(result.answer.text) or "(no answer)"
        size = "large" if len(text) <= LARGE_UP_TO else "medium"
        self._show(
            _muted(question_text(result.query)),
            f"<p style='font-size: {size}'><b>{text}</b></p>",
            _paragraph(confidence_line(result)),
            _paragraph(result.answer.rationale),
            _muted(token_line(result)),
            *(_colored(warning, ALERT) for warning in result.warnings),
        )

    def _show(self, *parts: str) -> None:
        self.setHtml("".join(parts))


def question_text(query: Query) -> str:
    """A query in one line, as lists and headings show it."""
    if query.task == "vqa":
        return query.question
    what = "Subtype" if query.task == "subtyping" else "Find"
    line = f"{what}: {', '.join(query.options)}"
    return f"{line}. {query.question}" if query.question else line


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _muted(text: str) -> str:
    return _colored(text, MUTED)


def _colored(text: str, color: str) -> str:
    return f"<p style='color: {color}'>{escape(text)}</p>"

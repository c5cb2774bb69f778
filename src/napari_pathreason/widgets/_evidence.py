"""Links between what a rationale cites and the slide, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, WeakSet, ref

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QUrl
from qtpy.QtGui import QTextCursor
from qtpy.QtWidgets import QTextBrowser

from napari_pathreason.errors import PathreasonError
from napari_pathreason.tasks import Cited, cited_places
from napari_pathreason.viewer import Entry, Session, cited_by_shape, show_cited

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Shapes

SCHEME = "place"


class EvidenceLinks(QObject):
    """Makes the cited places of the shown answer links, and selects the sentence behind a box.

    Parameters
    ----------
    view : QTextBrowser
        Shows the answers.
    viewer : callable
        Gives the viewer, or None once it is gone.
    session : Session
    show : bound method
        Shows an `Entry` in the view; held weakly.
    """

    def __init__(
        self,
        view: QTextBrowser,
        viewer: Callable[[], Viewer | None],
        session: Session,
        show: Callable[[Entry], None],
    ) -> None:
        super().__init__(view)
        self._view, self._viewer, self._session = view, viewer, session
        self._show = WeakMethod(show)  # a closed dock must be freed
        self._entry: Entry | None = None
        self._outline: ref[Shapes] | None = None
        self._watched: WeakSet[Shapes] = WeakSet()
        view.setOpenLinks(False)
        view.anchorClicked.connect(self._go)

    def link(self, entry: Entry) -> None:
        """Make links of the places that the shown answer cites."""
        self._entry = entry
        for number, cited in enumerate(cited_places(_shown(entry))):
            cursor = self._cursor(entry, cited)
            if cursor is not None:
                link = cursor.charFormat()
                link.setAnchor(True)
                link.setAnchorHref(f"{SCHEME}:{number}")
                link.setFontUnderline(True)
                link.setToolTip("Go to this place")
                cursor.mergeCharFormat(link)

    def watch(self, overlay: Shapes | None) -> None:
        """Follow which box of an overlay is selected."""
        if overlay is None or overlay in self._watched:
            return
        self._watched.add(overlay)
        known, links = ref(overlay), ref(self)

        def look(*_: Any) -> None:  # layers outlive docks
            me = links()
            if me is not None:
                me._select(known())

        overlay.selected_data.events.items_changed.connect(look)

    def _go(self, url: QUrl) -> None:
        viewer, entry = self._viewer(), self._entry
        if url.scheme() != SCHEME or viewer is None or entry is None:
            return
        cited = cited_places(_shown(entry))[int(url.path())]
        former = self._outline() if self._outline is not None else None
        try:
            self._outline = ref(show_cited(viewer, entry, cited, former))
        except PathreasonError as error:
            show_warning(str(error))

    def _select(self, overlay: Shapes | None) -> None:
        """Select in the text what is said of the one box that is selected."""
        if overlay is None or len(overlay.selected_data) != 1:
            return
        said = cited_by_shape(overlay, next(iter(overlay.selected_data)))
        if said is None:
            return
        owner, cited = said
        entry = self._session.entries[owner - 1]
        show = self._show()
        if self._entry is not entry and show is not None:
            show(entry)
        cursor = self._cursor(entry, cited)
        if cursor is not None:
            self._view.setTextCursor(cursor)

    def _cursor(self, entry: Entry, cited: Cited) -> QTextCursor | None:
        """The words of a citation in the text that is shown; None where they are not there."""
        text, words = _shown(entry), " ".join(cited.text.split())
        start = self._view.toPlainText().rfind(text)
        # the one line that is shown has no line breaks to end a clause
        same = (one.start for one in cited_places(text) if one.text.startswith(words))
        at = next(same, None)
        if start < 0 or at is None:
            return None
        cursor = QTextCursor(self._view.document())
        cursor.setPosition(start + at)
        cursor.setPosition(start + at + len(words), QTextCursor.KeepAnchor)
        return cursor


def _shown(entry: Entry) -> str:
    """A rationale as the view shows it, in one line."""
    return " ".join(entry.result.answer.rationale.split())

"""Windows of an answer in the Ask dock: they light up as they are read, and more can be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QPushButton, QSizePolicy, QWidget

from napari_pathreason.engine import Event, Planned, ViewRead
from napari_pathreason.viewer import (
    Entry,
    ModelLoading,
    Question,
    Session,
    WindowMap,
    layer_size,
    place_under,
    show_windows,
)

from ._fields import BesideWords, text_line

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Layer

LIGHT_UP_MS = 80
"""Windows that were read meanwhile light up together."""
HINT = "Point at a window to see what it said; click it to find its words above."


class AnswerWindows(QWidget):
    """Below an answer: what the window under the cursor said, and a button that reads more.

    Takes no room where an answer was read as one picture.

    Parameters
    ----------
    viewer : callable
        Gives the viewer, or None once it is gone.
    session : Session

    Signals
    -------
    more_wanted
        The next windows of the shown answer's region are to be read.
    """

    more_wanted = Signal()

    def __init__(self, viewer: Callable[[], Viewer | None], session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._question: Question | None = None
        self._image: Callable[[], Image | None] = lambda: None
        self._entry: Entry | None = None
        self._running: WindowMap | None = None
        """The map of the question that runs."""
        self.line = text_line(HINT, 2)
        self.more_button = QPushButton("More")
        self.more_button.setSizePolicy(QSizePolicy.Fixed, QSizePolicy.Fixed)
        self.more_button.clicked.connect(self.more_wanted)
        layout = BesideWords(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line, 1)
        layout.addWidget(self.more_button)
        self._timer = QTimer(self, interval=LIGHT_UP_MS, singleShot=True)
        self._timer.timeout.connect(self._light_up)
        self.setVisible(False)

    @property
    def entry(self) -> Entry | None:
        """The answer whose windows these are."""
        return self._entry

    # while it is answered

    def begin(self, question: Question, image: Callable[[], Image | None]) -> None:
        """Follow a question about an image that is about to be asked."""
        self._question, self._image, self._entry = question, image, None
        self.more_button.setEnabled(False)

    def follow(self, event: ModelLoading | Event) -> None:
        """Show which windows are planned, and which were read."""
        if isinstance(event, Planned):
            self._plan(event)
        elif isinstance(event, ViewRead):
            self._session.windows.take(event.reading)
            if not self._timer.isActive():
                self._timer.start()

    def _plan(self, plan: Planned) -> None:
        viewer, image, question = self._viewer(), self._image(), self._question
        if viewer is None or image is None or image not in viewer.layers or question is None:
            return
        info = self._session.info_of(question.model)
        windows = self._session.windows
        if info is None or all(view.role == "picture" for view in plan.views.views):
            windows.hide(viewer)
            return
        former, request = windows.shown, question.request
        region = request.region.clipped(*layer_size(image))
        if former is not None and former.views.views and self._goes_on(former, plan):
            shown = former.planned_again(plan.views)
        else:
            shown = WindowMap(region, plan.views, info, request.windows)
            for reading in question.before:
                shown.take(reading)
        self._running = shown
        self.setVisible(True)
        windows.show(viewer, image, shown)

    def _goes_on(self, former: WindowMap, plan: Planned) -> bool:
        """Whether a plan is the second round of the one that is shown."""
        count = len(former.views.views)
        return former is self._running and plan.views.views[:count] == former.views.views

    def _light_up(self) -> None:
        viewer = self._viewer()
        if viewer is not None:
            self._session.windows.refresh(viewer)

    # once it is answered

    def show_entry(self, entry: Entry) -> None:
        """Show the windows of an answer; none where it was read as one picture."""
        viewer = self._viewer()
        self._entry, self._question, self._running = entry, None, None
        if viewer is None:
            return
        show_windows(viewer, self._session, entry)
        self.line.setText(HINT)
        unread = len(entry.result.unread)
        self.setVisible(self._session.windows.entry == entry.id or unread > 0)
        self.more_button.setEnabled(unread > 0)
        left = "1 window is" if unread == 1 else f"{unread:,} windows are"
        tip = f"Read the next windows; {left} not read yet" if unread else "All windows were read"
        self.more_button.setToolTip(tip)

    def end(self) -> None:
        """The question ended without an answer: there is nothing to say of its windows."""
        self._question = self._running = None
        self.setVisible(self._entry is not None)

    def clear(self) -> None:
        """No answer is shown, and its windows are not either; a plan's stay."""
        viewer, windows = self._viewer(), self._session.windows
        if viewer is not None and self._entry is not None and windows.entry == self._entry.id:
            windows.hide(viewer)
        self._entry = self._question = self._running = None
        self.setVisible(False)

    def forget(self, layer: Layer) -> None:
        """A layer was closed; the windows of a slide go with it."""
        viewer = self._viewer()
        if viewer is not None and layer is self._session.windows.image:
            self._session.windows.hide(viewer)

    def hover(self, position: tuple[float, ...]) -> None:
        """Say what the window under the cursor said; the position is in the world."""
        words = self._words(position)
        if words and words != self.line.text():
            self.line.setText(words)

    def under(self, position: tuple[float, ...]) -> str:
        """Name of the answer's window at a position in the world; empty where there is none."""
        viewer, shown = self._viewer(), self._session.windows.shown
        image = self._session.windows.image
        if viewer is None or shown is None or image is None or not self._is_shown():
            return ""
        place = shown.at(*place_under(viewer, image, position))
        return "" if place is None else shown.windows[place].name

    def _words(self, position: tuple[float, ...]) -> str:
        viewer, windows = self._viewer(), self._session.windows
        if viewer is None or windows.shown is None or windows.image is None:
            return ""
        if not self.isVisible():
            return ""
        return windows.shown.explain_place(*place_under(viewer, windows.image, position))

    def _is_shown(self) -> bool:
        return self._entry is not None and self._session.windows.entry == self._entry.id

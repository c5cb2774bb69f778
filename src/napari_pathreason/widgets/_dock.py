"""What the docks have in common: they look while they are seen, and end with their window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_pathreason.viewer import Session, session_of, unwrapped

if TYPE_CHECKING:
    from napari import Viewer

LOOK_EVERY_MS = 400


class Dock(QWidget):
    """Dock widget of one viewer.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Held weakly.
    session : Session, optional
        Answers and models; default: the viewer's own.
    """

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__()
        self._viewer = ref(unwrapped(napari_viewer))
        self.session = session_of(napari_viewer) if session is None else session
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_EVERY_MS)
        self._timer.timeout.connect(self.look)

    def look(self) -> None:
        """Follow what the user marked or set elsewhere; called often while the dock is seen."""

    def stop(self) -> None:
        """End what runs and keep what was set; the dock stays usable."""

    def event(self, event: QEvent) -> bool:
        """End when napari takes the widget out of its dock."""
        if event.type() == QEvent.ParentChange and self.parent() is None:
            self.stop()
        return super().event(event)

    def showEvent(self, event: Any) -> None:
        """Follow the viewer only while someone can see it."""
        self._timer.start()
        self.look()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:
        """End when the window goes; a tab in front of the dock does not count."""
        self._timer.stop()
        window = self.window()
        if not isinstance(window, QDockWidget) and not window.isVisible():
            self.stop()
        super().hideEvent(event)

"""What the docks have in common: they follow the viewer while they are seen, and end with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import cache
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, ref

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QFrame, QMainWindow, QScrollArea, QVBoxLayout, QWidget

from napari_pathreason.viewer import Session, Watch, session_of, until_released, unwrapped

from ._fields import listen

if TYPE_CHECKING:
    from napari import Viewer

LOOK_AFTER_MS = 80
"""Changes that come together are looked at together."""
LEAST_WIDTH = 310
"""Logical pixels."""
NEEDED = (
    ("pandas", "DataFrame"),  # the first table of features: 0.3 s
    ("skimage.color", "lab2rgb"),  # the first labels' colours: 0.2 s
    ("skimage.draw", "polygon2mask"),  # the first thumbnail of shapes
)
DASHES = "vispy.visuals.line.dash_atlas"
"""Dashes of lines, of which each Labels layer has some that are never seen: 0.2 s once."""


class _Column(QVBoxLayout):
    """Parts on top of each other that a scroll area shrinks before it scrolls.

    Where a part wraps its text, Qt would ask for the height that all of them would like to have.
    """

    def hasHeightForWidth(self) -> bool:
        """No: the least height is enough."""
        return False


class Dock(QWidget):
    """Dock widget of one viewer; its parts go into ``body``, which scrolls on a low screen.

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
        self.session.inquiry.follow(self._viewer())
        self._look_timer = QTimer(self, interval=LOOK_AFTER_MS, singleShot=True)
        self._look_timer.timeout.connect(self.look)
        self._watch = Watch(self._viewer())
        for changed in (
            self._watch.changed,
            self.session.inquiry.events.all,
            self.session.steering.changed,
            self.session.added,
            self.session.runs.changed,
        ):
            listen(changed, self.look_soon)
        self._placed = False
        self.body = _Column()
        inner = QWidget()
        inner.setLayout(self.body)
        self.body.setContentsMargins(8, 6, 8, 6)
        self._scroll = scroll = QScrollArea()
        scroll.setFrameShape(QFrame.NoFrame)
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        warm_up()

    def look(self) -> None:
        """Follow what the user marked or set; called soon after a change, while it is seen."""

    def look_soon(self, *_: Any) -> None:
        """Look in a moment, once for all that changes until then."""
        if self.isVisible() and not self._look_timer.isActive():
            self._look_timer.start()

    def stop(self) -> None:
        """End what runs and keep what was set; the dock stays usable."""

    def event(self, event: QEvent) -> bool:
        """End when napari takes the widget out of its dock."""
        if event.type() == QEvent.ParentChange and self.parent() is None:
            self.stop()
        return super().event(event)

    def showEvent(self, event: Any) -> None:
        """Follow the viewer only while someone can see it."""
        if not self._placed:
            self._placed = True
            needed = self.body.minimumSize().width()
            bar = self._scroll.verticalScrollBar().sizeHint().width()
            self._scroll.setMinimumWidth(max(LEAST_WIDTH, needed + bar))
            QTimer.singleShot(0, self._join_others)  # napari is still placing it
        self.look()
        super().showEvent(event)

    def _join_others(self) -> None:
        """Become a tab beside the plugin's other docks: on top of each other they are too high."""
        own, window = self.parent(), self.window()
        if not isinstance(own, QDockWidget) or not isinstance(window, QMainWindow):
            return
        area = window.dockWidgetArea(own)
        for other in window.findChildren(QDockWidget):
            if (
                other is not own
                and isinstance(other.widget(), Dock)
                and window.dockWidgetArea(other) == area
                and not other.isFloating()
            ):
                if own not in window.tabifiedDockWidgets(other):
                    window.tabifyDockWidget(other, own)
                own.raise_()
                return

    def hideEvent(self, event: Any) -> None:
        """End when the window goes; a tab in front of the dock does not count."""
        self._look_timer.stop()
        window = self.window()
        if not isinstance(window, QDockWidget) and not window.isVisible():
            self.stop()
        super().hideEvent(event)


def weak_move(method: Callable[[tuple[float, ...]], None]) -> Callable[[Any, Any], None]:
    """A callback for `viewer.mouse_move_callbacks` that does not keep its dock alive.

    Parameters
    ----------
    method : bound method
        Takes the position of the cursor in the world.
    """
    reference = WeakMethod(method)

    def moved(viewer: Any, event: Any) -> None:
        if (call := reference()) is not None:
            call(event.position)

    return moved


def weak_click(
    method: Callable[[tuple[float, ...]], None], modes: Collection[str] = ("pan_zoom",)
) -> Callable[[Any, Any], Iterator[None]]:
    """A callback for `viewer.mouse_drag_callbacks` that hears clicks on the canvas.

    Parameters
    ----------
    method : bound method
        Takes the position in the world; held weakly.
    modes : collection of str
        Of the active layer, in which a click means nothing else.
    """
    reference = WeakMethod(method)

    def pressed(viewer: Any, event: Any) -> Iterator[None]:
        active = viewer.layers.selection.active
        free = active is None or str(getattr(active, "mode", "pan_zoom")) in modes
        still = yield from until_released(event)
        if still and free and (call := reference()) is not None:
            call(event.position)

    return pressed


@cache
def warm_up() -> Thread:
    """Load in a thread, once a process, what napari loads with its first layers of each kind.

    That are its tables of features, labels and shapes: better not while an answer or a run is
    shown.
    """
    thread = Thread(target=_load, daemon=True)
    thread.start()
    return thread


def _load() -> None:
    for module, name in NEEDED:
        getattr(import_module(module), name)  # skimage loads its parts where they are named
    import_module(DASHES).DashAtlas()  # vispy keeps what it has worked out

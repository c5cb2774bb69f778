"""The Slide run dock: lesions of a whole slide, found tile by tile and shown while it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import ref

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason._errors import PathreasonError
from napari_pathreason.slide_run import RunCancelled, RunFailed, RunFinished, overrides_of
from napari_pathreason.viewer import (
    RunLayers,
    Session,
    SlideRequest,
    picked_tiles,
    picks_of,
    session_of,
    start_picking,
    tile_under,
    unwrapped,
)

from ._hover import weak_move
from ._pickers import is_slide
from ._slide_run_form import SlideRunForm
from ._slide_run_map import AllocationView
from ._slide_run_progress import TileProgress, summary
from ._slide_run_runner import SlideRunner

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

SHOW_EVERY_MS = 100
"""One layer at a time, so each is brought up to date two or three times a second."""
PLAN_FILE = "plan.json"


class SlideRunWidget(QWidget):
    """Dock widget of one viewer.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Held weakly.
    session : Session, optional
        Models; default: the viewer's own.
    """

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__()
        self._viewer = ref(unwrapped(napari_viewer))
        self.session = session_of(napari_viewer) if session is None else session
        self.runner = SlideRunner(self.session, self)
        self.form = SlideRunForm(napari_viewer)
        self.map_view = AllocationView(lambda: self.runner.so_far)
        self.start_button = QPushButton("Start")
        self.pause_button = QPushButton("Pause", enabled=False)
        self.cancel_button = QPushButton("Cancel", enabled=False)
        self.progress = TileProgress()
        self.result = QLabel()
        self.result.setWordWrap(True)
        self.result.setTextFormat(Qt.PlainText)
        self.result.setTextInteractionFlags(Qt.TextSelectableByMouse)
        self.result.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Preferred)
        self.tabs = QTabWidget()
        self.layers: RunLayers | None = None
        self._image: ref[Image] | None = None
        self._request: SlideRequest | None = None
        self._pending = False
        self._timer = QTimer(self, interval=SHOW_EVERY_MS)
        self._lay_out()
        self._connect(napari_viewer)

    def _lay_out(self) -> None:
        run = QWidget()
        inner = QVBoxLayout(run)
        inner.setContentsMargins(0, 4, 0, 0)
        inner.addWidget(self.form)
        inner.addStretch(1)
        self.tabs.addTab(run, "Run")
        self.tabs.addTab(self.map_view, "Allocation map")
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 2)
        buttons.addWidget(self.pause_button, 1)
        buttons.addWidget(self.cancel_button, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(6)
        layout.addWidget(self.tabs, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.progress)
        layout.addWidget(self.result)
        self.setMinimumWidth(300)

    def _connect(self, viewer: Viewer) -> None:
        self.start_button.clicked.connect(self.start)
        self.pause_button.clicked.connect(self.pause)
        self.cancel_button.clicked.connect(self.cancel)
        self.form.changed.connect(self._offer)
        self.runner.ended.connect(self._end)
        self.map_view.pick_wanted.connect(self.pick)
        self.map_view.changed.connect(self._changed)
        self.map_view.run_wanted.connect(self.run_again)
        self.tabs.currentChanged.connect(self._show_map)
        self._timer.timeout.connect(self._show)
        plain = unwrapped(viewer)
        plain.layers.events.inserted.connect(self.reset_choices)
        plain.layers.events.removed.connect(self._on_removed)
        plain.layers.events.renamed.connect(self.reset_choices)
        plain.layers.selection.events.active.connect(self._on_active)
        plain.mouse_move_callbacks.append(weak_move(self._on_move))
        self._on_active()

    @property
    def busy(self) -> bool:
        """Whether a run goes on, or something of it is still to be shown."""
        return self.runner.running or self._pending

    # what the user does

    def start(self) -> None:
        """Start what the form says, or go on where its folder stands."""
        try:
            request = self.form.request()
        except PathreasonError as error:
            show_error(str(error))
            return
        if self._start(request, self.form.image):
            viewer = self._viewer()
            if self.layers is not None and viewer is not None:
                self.layers.remove(viewer)
            self.layers = RunLayers(self.form.image)
            self._show_map()

    def run_again(self) -> None:
        """Answer the tiles whose budget the user has changed, into the same folder."""
        plan, image = self.runner.so_far.plan, self._image() if self._image else None
        if plan is None or image is None or self._request is None:
            show_error("the slide of that run was closed; open it and start the run again")
            return
        overrides = overrides_of(self.map_view.budgets)
        settings = replace(plan.settings, overrides=overrides)
        self._start(replace(self._request, settings=settings), image)

    def _start(self, request: SlideRequest, image: Image) -> bool:
        try:
            self.runner.start(request)
        except PathreasonError as error:
            show_error(str(error))
            return False
        self._image, self._request = ref(image), request
        self.result.clear()
        self.map_view.recount(running=True)
        self._enable()
        return True

    def pause(self) -> None:
        """Take no further tile in hand, or go on."""
        try:
            if self.runner.paused:
                self.runner.resume()
            else:
                self.runner.pause()
        except PathreasonError as error:
            show_error(str(error))
        self._enable()

    def cancel(self) -> None:
        """Stop; what is done is kept, and Start goes on from there."""
        if self.runner.running:
            self.cancel_button.setEnabled(False)
            self.runner.cancel()

    def pick(self) -> None:
        """Let the user draw rectangles on the allocation map."""
        viewer, image = self._viewer(), self._image() if self._image else None
        shown = self.runner.so_far.allocations
        if viewer is not None and image is not None and shown is not None:
            start_picking(viewer, image, shown)
            self._begin_showing()

    def stop(self) -> None:
        """Drop a run and end the model's process; what is done is kept, the dock stays usable."""
        if self.runner.running:
            self.progress.say("The dock was closed; the run was stopped.")
        self._timer.stop()
        self._pending = False
        self.runner.close()
        self._enable()

    # what a run says

    def _changed(self) -> None:
        """Picked tiles have got another budget: the picks are spent."""
        viewer, image = self._viewer(), self._image() if self._image else None
        if viewer is not None and image is not None:
            picks = picks_of(viewer, image)
            if picks is not None and len(picks.data):
                picks.data = []
        self.map_view.refresh(self.runner.running)
        self._begin_showing()

    def _begin_showing(self) -> None:
        self._pending = True
        self._timer.start()

    def _show(self) -> None:
        """Bring the dock and one layer up to date; stop once nothing is left to show."""
        viewer, so_far = self._viewer(), self.runner.so_far
        if viewer is None:
            self._timer.stop()
            return
        if self.runner.running:
            self.progress.follow(so_far, self.runner.paused)
        self.runner.look()
        image = self._image() if self._image else None
        if image is not None and so_far.allocations is not None:
            self.map_view.pick(picked_tiles(viewer, image, so_far.allocations))
        self.map_view.refresh(self.runner.running)
        changed = self.layers is not None and self.layers.step(
            viewer, so_far, self.map_view.changes
        )
        self._pending = changed
        picking = image is not None and picks_of(viewer, image) is not None
        if not (self.runner.running or changed or picking):
            self._timer.stop()

    def _end(self, ending: RunFinished | RunCancelled | RunFailed) -> None:
        so_far = self.runner.so_far  # of the run before where nothing came of this one
        done, total = (so_far.progress.done, so_far.progress.total) if so_far.progress else (0, 0)
        share = done / total if total else 0.0
        if isinstance(ending, RunFinished):
            self.progress.say("Finished before, nothing to do." if ending.already else "Done.", 1)
            self.result.setText(summary(ending))
        elif isinstance(ending, RunCancelled):
            self.progress.say(f"Cancelled, {done:,} of {total:,} tiles are kept.", share)
        else:
            self.progress.say("Failed; what is done is kept.", share)
            self.result.setText(f"{ending.reason[:1].upper()}{ending.reason[1:]}.")
            show_error(ending.reason)
        if so_far.ending is ending:
            self.map_view.take_over()
        else:
            self.map_view.recount()
        self._enable()

    def _enable(self) -> None:
        running = self.runner.running
        self.start_button.setEnabled(not running)
        self.pause_button.setEnabled(running)
        self.pause_button.setText("Resume" if self.runner.paused else "Pause")
        self.cancel_button.setEnabled(running)
        self.map_view.refresh(running)
        self._offer()

    def _offer(self) -> None:
        folder = self.form.folder
        holds = folder is not None and (folder / PLAN_FILE).is_file()
        self.start_button.setText("Resume" if holds else "Start")
        self.start_button.setToolTip(
            "The folder holds a run of this slide: go on with it, or show its result"
            if holds
            else "Look for the lesions, tile by tile"
        )

    # layers

    def reset_choices(self, event: Any = None) -> None:
        """Offer the image layers of the viewer; napari calls this when layers change."""
        self.form.image_box.reset_choices()
        self.form.refresh()

    def _on_active(self, event: Any = None) -> None:
        viewer = self._viewer()
        active = None if viewer is None else viewer.layers.selection.active
        self.reset_choices()
        if is_slide(active):
            self.form.image_box.image = active

    def _on_removed(self, event: Any) -> None:
        self.reset_choices()
        if self.runner.running and self._image is not None and self._image() is event.value:
            show_warning("The slide was closed, so its run was cancelled; what is done is kept.")
            self.cancel()

    def _show_map(self, event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is not None and self.layers is not None:
            self.layers.show_map(viewer, self.tabs.currentWidget() is self.map_view)

    def _on_move(self, position: tuple[float, ...]) -> None:
        viewer, image = self._viewer(), self._image() if self._image else None
        shown = self.runner.so_far.allocations
        seen = self.tabs.currentWidget() is self.map_view
        if viewer is None or image is None or shown is None or not seen:
            return
        tile = tile_under(viewer, image, shown, position)
        if tile is not None:
            self.map_view.hover.setText(shown.told(tile))

    # the end

    def event(self, event: QEvent) -> bool:
        """Free the model when napari takes the widget out of its dock."""
        if event.type() == QEvent.ParentChange and self.parent() is None:
            self.stop()
        return super().event(event)

    def showEvent(self, event: Any) -> None:
        """Say what the folder holds by now."""
        self._offer()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:
        """Free the model when the window goes; a tab in front of the dock does not count."""
        window = self.window()
        if not isinstance(window, QDockWidget) and not window.isVisible():
            self.stop()
        super().hideEvent(event)

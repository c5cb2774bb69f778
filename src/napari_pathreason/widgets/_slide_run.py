"""The Slide run dock: lesions or classes of a whole slide, tile by tile, shown while it goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTabWidget

from napari_pathreason.engine import sentence, token_line
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.slide_run import RunFailed, RunFinished, holds_run, overrides_of
from napari_pathreason.viewer import (
    Ending,
    FoundRun,
    RunLayers,
    Session,
    SlideRequest,
    foresee,
    found_run,
    is_slide,
    keep_pace,
    known_pace,
    unwrapped,
)

from . import _keys as keys, _words as words
from ._class_table import ClassTable
from ._dock import Dock, weak_move
from ._fields import text_line
from ._progress import TileProgress, summary
from ._reliability import ReliabilityStrip
from ._runner import SlideRunner
from ._server import may_send
from ._slide_run_form import SlideRunForm
from ._slide_run_map import AllocationView, TileSelection

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

SHOW_EVERY_MS = 100
"""One layer at a time, so each is brought up to date two or three times a second."""
START = "Start", "Go over the slide, tile by tile"
RESUME = "Resume", "The folder holds a run of this slide: go on with it, with its own settings"
SHOW = "Show result", "The folder holds a finished run of this slide"


class SlideRunWidget(Dock):
    """Dock widget of one viewer; parameters as of `Dock`."""

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.runner = SlideRunner(self.session, self)
        self.form = SlideRunForm(napari_viewer)
        self.map_view = AllocationView(self.runner)
        self.start_button = QPushButton("Start")
        self.pause_button = QPushButton("Pause", enabled=False, toolTip="Take no further tile")
        self.cancel_button = QPushButton(
            "Cancel", enabled=False, toolTip="Stop; what is done is kept"
        )
        self.progress = TileProgress()
        self.reliability, self.result = ReliabilityStrip(), text_line()
        self.result.setTextInteractionFlags(Qt.TextSelectableByMouse)
        self.classes = ClassTable()
        self.tabs = QTabWidget()
        self.layers: RunLayers | None = None
        self._layers: WeakKeyDictionary[Image, RunLayers] = WeakKeyDictionary()
        self.tile_selection = TileSelection(self.map_view, self.runner, self._viewer)
        self._pending = False
        self._offered: Any = None
        self._adopted: Path | None = None
        self._found: FoundRun | None = None
        self._timer = QTimer(self, interval=SHOW_EVERY_MS)
        self._lay_out()
        self._bind_keys()
        self._connect(napari_viewer)

    def _lay_out(self) -> None:
        self.tabs.addTab(self.form, "Run")
        self.tabs.addTab(self.map_view, "Allocation map")
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 2)
        buttons.addWidget(self.pause_button, 1)
        buttons.addWidget(self.cancel_button, 1)
        self.body.setSpacing(6)
        self.body.addWidget(self.tabs, 1)
        self.body.addLayout(buttons)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.reliability)
        self.body.addWidget(self.classes)
        self.body.addWidget(self.result)

    def _bind_keys(self) -> None:
        keys.bind(keys.ASK, self.go, self)
        self._escape = keys.bind(keys.CANCEL, self.cancel_button.click, self)
        keys.bind(keys.PAUSE, self.pause_button.click, self, anywhere=True)
        keys.bind(keys.PICK, self.map_view.pick_button.click, self, anywhere=True)
        for button, bound in (
            (self.cancel_button, keys.CANCEL),
            (self.pause_button, keys.PAUSE),
            (self.map_view.pick_button, keys.PICK),
            (self.map_view.run_button, keys.ASK),
        ):
            keys.name_in_tip(button, bound)

    def _connect(self, viewer: Viewer) -> None:
        self.form.prefer(self.session.preferences())
        self.start_button.clicked.connect(self.start)
        self.pause_button.clicked.connect(self.pause)
        self.cancel_button.clicked.connect(self.cancel)
        self.form.changed.connect(self._offer)
        self.form.settled.connect(self._foresee)
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
        plain.mouse_move_callbacks.append(weak_move(self.tile_selection.hover))
        self._on_active()
        self._foresee()
        self._enable()

    @property
    def busy(self) -> bool:
        """Whether a run goes on, or something of it is still to be shown."""
        return self.runner.running or self._pending

    # what the user does

    def go(self) -> None:
        """Press Start, or Run again where the allocation map is in front."""
        (self.map_view.run_button if self.map_view.in_front else self.start_button).click()

    def start(self) -> None:
        """Start what the form says, or go on where its folder stands."""
        try:
            request = self.form.request()
        except PathreasonError as error:  # nothing went wrong yet: a hint
            show_info(sentence(error))
            return
        if self._start(request, self.form.image):
            self._show_map()

    def run_again(self) -> None:
        """Answer the tiles whose budget the user has changed, into the same folder."""
        so_far, image = self.runner.so_far, self.tile_selection.image()
        if so_far.plan is None or so_far.request is None or image is None:
            show_error(words.SLIDE_GONE)
            return
        overrides = overrides_of(self.map_view.budgets)
        settings = replace(so_far.plan.settings, overrides=overrides)
        self._start(replace(so_far.request, settings=settings), image)

    def _start(self, request: SlideRequest, image: Image) -> bool:
        if not may_send(request.model, self):
            return False
        try:
            self.runner.start(request, keep=self.tile_selection.image() is image)
        except PathreasonError as error:
            show_error(str(error))
            return False
        self.tile_selection.image, viewer = ref(image), self._viewer()
        self.layers = self._layers.setdefault(image, RunLayers(image))
        if viewer is not None:
            self.layers.begin(viewer)
        self.result.clear()
        self.reliability.clear()
        self.map_view.recount(running=True)
        self._enable()
        return True

    def pause(self) -> None:
        """Take no further tile in hand, or go on."""
        try:
            (self.runner.resume if self.runner.paused else self.runner.pause)()
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
        if self.tile_selection.pick():
            self._begin_showing()

    def stop(self) -> None:
        """Drop a run and end the model's process; what is done is kept, the dock stays usable."""
        if self.runner.running:
            self.progress.say(words.RUN_STOPPED)
        self._timer.stop()
        self._pending = False
        self.runner.close()
        self._enable()

    # what a run says

    def _changed(self) -> None:
        """Picked tiles have got another budget."""
        self.tile_selection.spend()
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
        self.classes.show_classes(so_far.classes)
        self.runner.look()
        picking = self.tile_selection.look()
        self.map_view.refresh(self.runner.running)
        changed = self.layers is not None and self.layers.step(
            viewer, so_far, self.map_view.changes
        )
        self._pending = changed
        if not (self.runner.running or changed or picking):
            self._timer.stop()

    def _end(self, ending: Ending) -> None:
        so_far = self.runner.so_far  # of the run before where nothing came of this one
        self.classes.show_classes(so_far.classes)
        if so_far.request is not None and so_far.ending is ending:
            keep_pace(self.session, so_far.request.model, so_far.records.values())
        self.progress.end(ending, so_far)
        self.result.setText(summary(ending))
        self.result.setToolTip("")
        if isinstance(ending, RunFinished):
            outcome = ending.outcome
            self.result.setToolTip(sentence(token_line(outcome.result)))
            self.reliability.show_tiles(outcome.result.reliability, outcome.tally.line)
        if isinstance(ending, RunFailed) and not isinstance(ending.error, QueryError):
            show_error(ending.reason)  # a refusal is a hint, which stands in the dock
        self._foresee()
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
        for key in self._escape:  # otherwise it is napari's
            key.setEnabled(running)
        self.map_view.refresh(running)
        self._offer()

    def _foresee(self) -> None:
        """Say whether the model can look for what the form names, or answer it, and how fast."""
        query, model_id = self.form.settings().query, self.form.model_box.model_id
        outlook, info = foresee(self.session, query, model_id)
        self.form.show_outlook(outlook, info, known_pace(self.session, model_id, info))

    def _offer(self) -> None:
        """Say what Start would do; the form takes on the settings of a run that a folder holds."""
        folder = self.form.folder
        held = folder is not None and holds_run(folder)
        stamp = (folder, held, self.runner.run.state)
        if stamp != self._offered:
            self._offered = stamp
            if folder != self._adopted:
                self._adopted = None
            self._found = self._look_into(folder) if held and folder is not None else None
        text, tip = START
        if self._found is not None and self.form.says(self._found.settings):
            text, tip = SHOW if self._found.finished else RESUME
        self.start_button.setText(text)
        self.start_button.setToolTip(tip)
        keys.name_in_tip(self.start_button, keys.ASK)

    def _look_into(self, folder: Path) -> FoundRun | None:
        try:
            found = found_run(folder)
        except PathreasonError:  # Start says what is wrong with it
            return None
        if found is not None and not self.runner.running and self._adopted is None:
            self._adopted = folder  # once: what the user sets then is the user's
            self.form.take(found.settings)
        return found

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
        if self.runner.running and self.tile_selection.image() is event.value:
            show_warning(words.SLIDE_CLOSED)
            self.cancel()

    def _show_map(self, event: Any = None) -> None:
        viewer = self._viewer()
        self.map_view.in_front = self.tabs.currentWidget() is self.map_view
        if viewer is not None and self.layers is not None:
            self.layers.show_map(viewer, self.map_view.in_front)

    # the end

    def showEvent(self, event: Any) -> None:
        """Say what the folder holds by now."""
        self._offer()
        super().showEvent(event)

"""The Ask dock: ask a question of a region, see the answer, go back to earlier ones."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import ref

from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from napari_pathreason.engine import (
    Cancelled,
    Event,
    Failed,
    Finished,
    TextDelta,
    result_to_dict,
    sentence,
)
from napari_pathreason.errors import PathreasonError, QueryError, RegionError
from napari_pathreason.exports import ShownSlide
from napari_pathreason.types import ModelInfo, Result
from napari_pathreason.viewer import (
    Entry,
    ModelLoading,
    Question,
    Session,
    draw_entry,
    follow_up_of,
    foresee,
    go_to_entry,
    is_stack,
    more_of,
    next_region,
    plane_layer,
    prepare_overlay,
    questions_of,
    reading_note,
    region_note,
    start_drawing,
    unwrapped,
)

from . import _keys as keys, _words as words
from ._answer_view import AnswerView, EvidenceLinks
from ._dock import Dock, weak_click, weak_move
from ._fields import listen
from ._form import QuestionForm
from ._history import History, SaveButton
from ._progress import StageProgress
from ._queue import Queue
from ._reliability import ReliabilityStrip
from ._review import ReviewButtons, research_line
from ._runner import QuestionRunner
from ._server import may_send
from ._windows import AnswerWindows

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

DRAW_AFTER_MS = 60
"""The words of an answer are painted first, the boxes then: two short stalls, not a long one."""


class AskWidget(Dock):
    """Dock widget of one viewer; parameters as of `Dock`."""

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.runner = QuestionRunner(self.session, self)
        self.form = QuestionForm(napari_viewer, self.session.inquiry)
        self.ask_button = QPushButton("Ask", toolTip="Ask this of the region, as a new question")
        self.follow_button = QPushButton("Follow up", enabled=False)
        self.follow_button.setToolTip(
            "Ask this of what the answer below saw, knowing what was asked and answered so far"
        )
        self.cancel_button = QPushButton("Cancel", enabled=False, toolTip="Stop the answer")
        self.pause_button = QPushButton("Pause", toolTip="Finish this region, and wait")
        self.pause_button.hide()
        self.review_buttons = ReviewButtons(self.session)
        self.copy_button = QPushButton("Copy as JSON", enabled=False)
        self.copy_button.setToolTip("Copy the answer that is shown, as pathreason ask prints it")
        self.save_button = SaveButton(self.session)
        self.progress = StageProgress()
        self.reliability = ReliabilityStrip()
        self.answer = AnswerView()
        self.evidence = EvidenceLinks(self.answer, self._viewer, self.session)
        self.windows = AnswerWindows(self._viewer, self.session)
        self.history = History()
        self._former: Entry | None = None
        self._name = ""
        self._others: tuple[ShownSlide, ...] = ()
        self._asked_image: ref[Image] | None = None
        self._info: ModelInfo | None = None
        self._undrawn: list[Entry] = []
        self._queue = Queue()
        self._draw_timer = QTimer(self, interval=DRAW_AFTER_MS, singleShot=True)
        self._lay_out()
        self._connect(napari_viewer)

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.ask_button, 2)
        buttons.addWidget(self.follow_button, 1)
        buttons.addWidget(self.pause_button, 1)
        buttons.addWidget(self.cancel_button, 1)
        outlets = QHBoxLayout()
        outlets.addWidget(self.save_button)
        outlets.addWidget(self.copy_button)
        outlets.addWidget(self.review_buttons)
        self.body.setSpacing(6)
        self.body.addWidget(self.form)
        self.body.addLayout(buttons)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.reliability)
        self.body.addWidget(self.answer, 3)
        self.body.addWidget(self.windows)
        self.body.addWidget(self.history, 1)
        self.body.addLayout(outlets)
        self.body.addWidget(research_line())

    def _connect(self, viewer: Viewer) -> None:
        keys.bind(keys.ASK, self.ask, self)
        self._escape = keys.bind(keys.CANCEL, self.cancel, self)
        keys.bind(keys.DRAW, self.form.draw_button.click, self, anywhere=True)
        keys.bind(keys.NEXT, partial(self.go_to_region, 1), self, anywhere=True)
        keys.bind(keys.BEFORE, partial(self.go_to_region, -1), self, anywhere=True)
        keys.name_in_tip(self.form.draw_button, keys.DRAW)
        self.form.region_box.setToolTip(
            f"{self.form.region_box.toolTip()}; the annotation before and the next one"
        )
        keys.name_in_tip(self.form.region_box, keys.BEFORE, keys.NEXT)
        self.review_buttons.bind_keys(self)
        keys.name_in_tip(self.ask_button, keys.ASK)
        keys.name_in_tip(self.cancel_button, keys.CANCEL)
        self.ask_button.clicked.connect(self.ask)
        self.follow_button.clicked.connect(self.follow_up)
        self.cancel_button.clicked.connect(self.cancel)
        self.pause_button.clicked.connect(self.pause)
        self.copy_button.clicked.connect(self.copy_json)
        self.form.draw_wanted.connect(self._draw)
        self.form.settled.connect(self._foresee)
        self.history.chosen.connect(self._go_back)
        self.windows.more_wanted.connect(self.read_more)
        self.runner.happened.connect(self._follow)
        self._draw_timer.timeout.connect(self._draw_boxes)
        listen(self.session.added, self._list)
        listen(self.session.inquiry.events.shown, self._show_shown)
        plain = unwrapped(viewer)
        plain.mouse_move_callbacks.append(weak_move(self.windows.hover))
        plain.mouse_drag_callbacks.append(weak_click(self._point))
        layers = plain.layers
        layers.events.inserted.connect(self.reset_choices)
        layers.events.removed.connect(self._on_removed)
        layers.events.renamed.connect(self.reset_choices)
        for entry in self.session.entries:
            self._list(entry)
        self._set_running(False)
        self._show_shown()
        self._foresee()

    @property
    def busy(self) -> bool:
        """Whether a question runs or its boxes are still to be drawn."""
        return self.runner.running or bool(self._undrawn) or self._queue.goes_on

    # what the user does

    def ask(self) -> None:
        """Ask what the form says; where something is missing yet, a hint says what."""
        viewer, image = self._viewer(), self.session.inquiry.image
        if viewer is None or self.runner.running:
            return
        try:
            if is_stack(image):
                # it becomes the active layer, and so what is asked about
                image = self.session.inquiry.image = plane_layer(viewer, image)
            if image is not None and self.session.asking:
                raise PathreasonError(words.BUSY)
            preferred = self.session.preferences()
            self.session.inquiry.prefer(preferred.model)
            draft = self.session.inquiry.resolve()
            questions = questions_of(viewer, self.session, draft, preferred)
        except PathreasonError as error:
            self.session.inquiry.shown = None  # a hint stands beside no answer of another question
            self.answer.clear()  # nor below the hint of another one
            self.answer.note(sentence(error))
            return
        if not may_send(questions[0].model, self):
            self.answer.note("Nothing was asked, as nothing may be sent to that host.")
            return
        self.session.memory.keep(ask=self.session.inquiry.state())
        self._queue.begin(questions)
        self._begin(viewer, image, self._queue.take())

    def follow_up(self) -> None:
        """Ask what the form says of what the shown answer saw; a hint says what is missing."""
        viewer, entry = self._viewer(), self.session.inquiry.shown
        if viewer is None or entry is None or self.runner.running:
            return
        try:
            if self.session.asking:
                raise PathreasonError(words.BUSY)
            draft = self.session.inquiry.resolve()
            question = follow_up_of(viewer, entry, draft, self.session.preferences())
        except PathreasonError as error:
            self.answer.note(sentence(error))
            return
        image = entry.image()
        if image is not None and may_send(question.model, self):
            self._queue.clear()
            self._begin(viewer, image, question)

    def pause(self) -> None:
        """Finish the region that is asked about and wait, or go on with the next."""
        if not self._queue.left:
            return
        self._queue.paused = not self._queue.paused
        self._show_queue()
        if not self.runner.running:
            self._go_on()

    def _go_on(self) -> None:
        """Ask about the next region, where one waits."""
        viewer, image = self._viewer(), self._image()
        if viewer is None or image is None:
            self._queue.clear()
        elif self._queue.goes_on and self.session.asking:  # something else came between
            self._queue.paused = True
            self.answer.note(sentence(words.BUSY))
        elif self._queue.goes_on:
            self._begin(viewer, image, self._queue.take())
            return
        self._show_queue()

    def _show_queue(self) -> None:
        queue = self._queue
        self.pause_button.setVisible(queue.total > 1 and bool(queue.left))
        self.pause_button.setText("Resume" if queue.paused else "Pause")
        self.progress.prefix = f"{queue.number:,} of {queue.total:,}: " if queue.total > 1 else ""
        if queue.paused and not self.runner.running:
            self.progress.say(words.paused(queue.left))
        self.cancel_button.setEnabled(self.runner.running or bool(queue.left))

    def read_more(self) -> None:
        """Read the next windows of the answer that is shown, which becomes another answer."""
        viewer, entry = self._viewer(), self.windows.entry
        if viewer is None or entry is None or self.runner.running:
            return
        try:
            if self.session.asking:
                raise PathreasonError(words.BUSY)
            more = more_of(self.session, entry, self.session.preferences())
        except PathreasonError as error:
            show_warning(str(error))
            return
        image = entry.image()
        if image is not None:
            self._begin(viewer, image, more.question, entry)

    def _begin(
        self, viewer: Viewer, image: Image, question: Question, former: Entry | None = None
    ) -> None:
        self._asked_image, self._former = ref(image), former
        self.session.inquiry.shown = None  # until there is another: nothing else is saved or copied
        prepare_overlay(viewer, self.session, image)
        self.reliability.clear()
        self.answer.begin(question.request.query)
        self.windows.begin(question, self._image)
        self._name, self._others = question.name, question.shown
        self._set_running(True)
        self._show_queue()
        self.runner.ask(question)

    def cancel(self) -> None:
        """Stop the question that runs, and ask none that waits."""
        self._queue.clear()
        self._show_queue()
        if not self.runner.running:
            self.progress.end()
        else:
            self.cancel_button.setEnabled(False)
            self.progress.say(words.CANCELLING)
            self.runner.cancel()

    def copy_json(self) -> None:
        """Put the answer that is shown on the clipboard, as JSON."""
        entry, clipboard = self.session.inquiry.shown, QGuiApplication.clipboard()
        if entry is not None and clipboard is not None:
            clipboard.setText(json.dumps(result_to_dict(entry.result), indent=2))

    def stop(self) -> None:
        """Drop a running question and end the model's process; the dock stays usable."""
        self.session.memory.keep(ask=self.session.inquiry.state())
        self._queue.clear()
        if self.runner.running:
            self.progress.end(words.QUESTION_DROPPED)
        self._asked_image = None
        self._set_running(False)
        self.runner.close()

    # what a run says

    def _follow(self, event: ModelLoading | Event) -> None:
        if isinstance(event, TextDelta):
            self.answer.write(event.text)
        elif isinstance(event, Finished):
            self._finish(event.result)
        elif isinstance(event, Failed) and isinstance(event.error, QueryError | RegionError):
            of_this_region = isinstance(event.error, RegionError) and self._queue.left > 0
            self._end(sentence(event.error), pause=not of_this_region)  # the form can mend it
            self._foresee()  # a model that refuses is loaded, and says what it can answer
        elif isinstance(event, Failed):
            self._end(f"Failed: {event.reason}")
            show_error(event.reason)
        elif isinstance(event, Cancelled):
            image = self._image()
            self._end("Cancelled." if image is not None else "Cancelled: the image was closed.")
        else:
            self.progress.follow(event)
            self.windows.follow(event)

    def _finish(self, result: Result) -> None:
        image = self._image()
        self._set_running(False)
        self.progress.end()
        former = self._former
        self._foresee()
        if image is None:
            self._show_result(result, former)
            return
        entry = self.session.add(result, image, former, self._name, self._others)
        self._undrawn.append(entry)
        self.session.inquiry.shown = entry
        self._draw_timer.start()
        self._go_on()

    def _draw_boxes(self) -> None:
        viewer = self._viewer()
        entries, self._undrawn = self._undrawn, []
        for entry in entries:
            if viewer is not None:
                self.evidence.watch(draw_entry(viewer, self.session, entry))
                self.windows.show_entry(entry)

    def _end(self, text: str, pause: bool = True) -> None:
        """A question ended without an answer; the others wait until the user goes on."""
        self._set_running(False)
        self.progress.end()
        self.windows.end()
        if self.session.inquiry.shown is not None:  # of another slide that was chosen meanwhile
            self._show_shown()
        self.answer.note(text)
        self._queue.paused = pause and self._queue.left > 0
        self._go_on()

    def _image(self) -> Image | None:
        """The image that the running question is about, while it is open."""
        return None if self._asked_image is None else self._asked_image()

    def _show_result(self, result: Result, former: Entry | None) -> None:
        self.reliability.show_reliability(result.reliability)
        self.answer.show_result(result, 0 if former is None else former.id)

    def _point(self, position: tuple[float, ...]) -> None:
        """Select the words of the window that was clicked on the slide."""
        if self.isVisible() and (name := self.windows.under(position)):
            self.evidence.select_view(name)

    def _set_running(self, running: bool) -> None:
        self.ask_button.setEnabled(not running)
        self.follow_button.setEnabled(not running and self.session.inquiry.shown is not None)
        self.cancel_button.setEnabled(running or bool(self._queue.left))
        for key in self._escape:  # otherwise it is napari's
            key.setEnabled(running)

    # earlier answers

    def _list(self, entry: Entry) -> None:
        self.history.add(entry)

    def _go_back(self, entry: Entry) -> None:
        """Show an answer of the list, and its place."""
        viewer = self._viewer()
        if viewer is None or self.runner.running:
            return
        try:
            go_to_entry(viewer, self.session, entry)
        except PathreasonError as error:
            show_warning(str(error))

    def _show_shown(self, *_: Any) -> None:
        """Show the answer of the session that is to be shown, and save no other."""
        entry = None if self.runner.running else self.session.inquiry.shown
        self.history.select(entry)
        self.save_button.choose(entry)
        self.copy_button.setEnabled(entry is not None)
        self.follow_button.setEnabled(entry is not None)
        self.review_buttons.show_entry(entry)
        if entry is not None:
            self._show_result(entry.result, entry.former)
            self.evidence.link(entry)
            self._show_boxes(entry)
        elif not self.runner.running:
            self.reliability.clear()
            self.answer.clear()
            self.evidence.unlink()
            self.windows.clear()

    def _show_boxes(self, entry: Entry) -> None:
        """Its windows, and which of its boxes is selected; boxes of a new answer come later."""
        image = entry.image()
        self.evidence.watch(None if image is None else self.session.overlay_of(image))
        if entry not in self._undrawn:
            self.windows.show_entry(entry)

    # layers

    def reset_choices(self, event: Any = None) -> None:
        """Offer the image layers of the viewer; napari calls this when layers change."""
        self.form.image_box.reset_choices()

    def _on_removed(self, event: Any) -> None:
        self.form.image_box.reset_choices()
        self.windows.forget(event.value)
        if self.runner.running and self._image() is event.value:
            self._asked_image = None
            show_warning(words.IMAGE_CLOSED)
            self.cancel()

    def _draw(self) -> None:
        viewer, image = self._viewer(), self.session.inquiry.image
        if viewer is None or image is None:
            self.answer.note(words.NOTHING_TO_DRAW_ON)
        else:
            start_drawing(viewer, image)

    def go_to_region(self, step: int) -> None:
        """Go to the next annotation, or the one before."""
        viewer, image = self._viewer(), self.session.inquiry.image
        if viewer is not None and image is not None and not is_stack(image):
            if self.session.inquiry.source != "together":
                self.session.inquiry.source = "shape"
            if next_region(viewer, image, step) is None:
                self.answer.note(words.NO_ANNOTATIONS)

    # before a question is asked

    def _foresee(self) -> None:
        """Say whether the model was trained on this question."""
        draft = self.session.inquiry.resolve()
        outlook, self._info = foresee(self.session, draft.query, draft.model_id)
        self.form.outlook_line.show_outlook(outlook)
        self.look()

    def look(self) -> None:
        """Say which region would be asked about, and whether it would be read as windows."""
        viewer = self._viewer()
        if viewer is None:
            return
        form, draft = self.form, self.session.inquiry.resolve()
        note = region_note(viewer, draft.image, draft.source)
        if reading := reading_note(viewer, self.session, draft, self._info):
            note = f"{note}\n{reading}"
        if form.region_note.text() != note:
            form.region_note.setText(note)

"""The form of the Ask dock: image, region, task, question, budget, model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QLineEdit, QPushButton, QTextEdit, QVBoxLayout, QWidget

from napari_pathreason.types import Query
from napari_pathreason.viewer import EMBEDDED, Inquiry

from ._fields import (
    TOTALS,
    BudgetBox,
    ChoiceBox,
    ImageBox,
    ModelBox,
    Rows,
    listen,
    side_by_side,
    text_line,
)
from ._reliability import OutlookLine
from ._slide_fields import SlideFields

if TYPE_CHECKING:
    from napari import Viewer

REGIONS = [
    ("Current view", "view"),
    ("Selected shapes", "shape"),
    ("Shapes together", "together"),
    ("Layers together", "layers"),
    ("All annotations", "annotations"),
    ("Whole layer", "layer"),
]
TASK_NAMES = [("Question", "vqa"), ("Subtyping", "subtyping"), ("Lesion detection", "detection")]
OPTIONS = {
    "vqa": ("Choices", "optional: yes, no"),
    "subtyping": ("Subtypes", "adenocarcinoma, squamous cell carcinoma"),
    "detection": ("Lesions", "tumour"),
}
SETTLED_MS = 350
"""Nothing is said of a word that is still being typed."""


class QuestionForm(QWidget):
    """Form that shows and sets what is asked in a viewer, and adapts to the task.

    Parameters
    ----------
    viewer : napari.Viewer
    inquiry : Inquiry
    parent : QWidget, optional

    Signals
    -------
    draw_wanted
        The user wants to draw a rectangle.
    settled
        Task, words or model were changed, and nothing more for a moment.
    """

    draw_wanted = Signal()
    settled = Signal()

    def __init__(self, viewer: Viewer, inquiry: Inquiry, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._inquiry = inquiry
        self.image_box = ImageBox(viewer, "Image layer that is asked about")
        self.region_box = ChoiceBox(REGIONS, "Part of the image that is asked about")
        self.draw_button = QPushButton("Draw")
        self.draw_button.setToolTip("Draw a rectangle on the image")
        self.draw_button.clicked.connect(self._draw)
        self.region_note = text_line("", 2)  # what stands below must not move under the cursor
        self.task_box = ChoiceBox(TASK_NAMES, "Kind of question")
        self.question_edit = QTextEdit()
        self.question_edit.setAcceptRichText(False)
        self.question_edit.setTabChangesFocus(True)
        self.question_edit.setFixedHeight(54)
        self.options_edit = QLineEdit()
        self.options_edit.setToolTip("Names, separated by commas")
        self.order_tick = QCheckBox("Check the order of choices")
        self.order_tick.setToolTip(
            "Ask again with the choices reversed, and say if the answer flips"
        )
        self.outlook_line = OutlookLine()
        tip = "Most visual tokens to spend; Auto leaves it to the model. Large ones become windows"
        self.budget_box = BudgetBox(tip, TOTALS)
        self.model_box = ModelBox()
        self._rows = Rows()
        self._rows.add("Image", self.image_box)
        self._rows.add("Region", side_by_side(self.region_box, self.draw_button))
        self._rows.addRow(self.region_note)
        self.slide_fields = SlideFields(self._rows)
        self._rows.add("Task", self.task_box)
        self._rows.add("Question", self.question_edit)
        self._rows.add("Choices", self.options_edit)
        self._rows.addRow(self.order_tick)
        self._rows.addRow(self.outlook_line)
        self._rows.add("Budget", self.budget_box)
        self._rows.add("Model", self.model_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)
        self._settling = QTimer(self, interval=SETTLED_MS, singleShot=True)
        self._settling.timeout.connect(self.settled)
        self.outlook_line.wanted.connect(self.fill)
        self.slide_fields.changed.connect(self._settle)
        self._set()
        self._follow()

    def _set(self) -> None:
        """What the user sets goes to the model."""
        inquiry = self._inquiry
        self.image_box.changed.connect(self._set_image)
        self.region_box.currentIndexChanged.connect(
            lambda _: setattr(inquiry, "source", self.region_box.value)
        )
        self.task_box.currentIndexChanged.connect(
            lambda _: setattr(inquiry, "task", self.task_box.value)
        )
        self.question_edit.textChanged.connect(
            lambda: setattr(inquiry, "question", self.question_edit.toPlainText())
        )
        self.options_edit.textChanged.connect(lambda text: setattr(inquiry, "options", text))
        self.budget_box.currentIndexChanged.connect(
            lambda _: setattr(inquiry, "budget", self.budget_box.value)
        )
        self.order_tick.toggled.connect(lambda on: setattr(inquiry, "check_order", on))
        self.model_box.changed.connect(lambda: setattr(inquiry, "model", self.model_box.model_id))

    def _follow(self) -> None:
        """What the model says is shown, whoever has set it."""
        events = self._inquiry.events
        for signal, show in (
            (events.image, self._show_image),
            (events.source, self._show_source),
            (events.task, self._show_task),
            (events.question, self._show_question),
            (events.options, self._show_options),
            (events.budget, self._show_budget),
            (events.preferred, self._show_preferred),
            (events.model, self._show_model),
            (events.check_order, self._show_order),
        ):
            listen(signal, show)
            show()
        for signal in (events.task, events.question, events.options, events.model):
            listen(signal, self._settle)

    def fill(self, query: Query) -> None:
        """Ask an example."""
        self._inquiry.fill(query)
        self._settling.stop()
        self.settled.emit()

    def _set_image(self) -> None:
        self._inquiry.image = self.image_box.image

    def _show_image(self, *_: Any) -> None:
        image = self._inquiry.image
        if self.image_box.image is not image:
            self.image_box.reset_choices()
            if image in self.image_box.choices:
                self.image_box.image = image
        self.slide_fields.show_image(image)

    def _show_source(self, *_: Any) -> None:
        self.region_box.choose(self._inquiry.source)

    def _show_task(self, *_: Any) -> None:
        self.task_box.choose(self._inquiry.task)
        self._adapt()

    def _show_question(self, *_: Any) -> None:
        if self.question_edit.toPlainText() != self._inquiry.question:
            self.question_edit.setPlainText(self._inquiry.question)

    def _show_options(self, *_: Any) -> None:
        if self.options_edit.text() != self._inquiry.options:
            self.options_edit.setText(self._inquiry.options)

    def _show_budget(self, *_: Any) -> None:
        self.budget_box.choose(self._inquiry.budget)

    def _show_preferred(self, *_: Any) -> None:
        self.model_box.prefer(self._inquiry.preferred)

    def _show_model(self, *_: Any) -> None:
        if self.model_box.model_id != (self._inquiry.model.strip() or EMBEDDED):
            self.model_box.model_id = self._inquiry.model

    def _show_order(self, *_: Any) -> None:
        self.order_tick.setChecked(self._inquiry.check_order)

    def _adapt(self) -> None:
        label, example = OPTIONS[self._inquiry.task]
        self._rows.rename(self.options_edit, label)
        self.options_edit.setPlaceholderText(example)
        self.order_tick.setVisible(self._inquiry.task != "detection")
        needed = self._inquiry.task == "vqa"
        self.question_edit.setPlaceholderText(
            "How many nuclei are there?" if needed else "optional: your own wording"
        )

    def _settle(self, *_: Any) -> None:
        self._settling.start()

    def _draw(self) -> None:
        if self._inquiry.source != "together":
            self._inquiry.source = "shape"
        self.draw_wanted.emit()

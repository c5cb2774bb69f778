"""The form of the Ask dock: image, region, task, question, budget, model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QLineEdit, QPushButton, QTextEdit, QVBoxLayout, QWidget

from napari_pathreason.sample_data import sample_questions, samples
from napari_pathreason.types import Budget, Query
from napari_pathreason.viewer import AskState, Draft

from ._fields import TOTALS, BudgetBox, ChoiceBox, ImageBox, ModelBox, Rows, side_by_side, text_line
from ._reliability import OutlookLine

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

REGIONS = [("Current view", "view"), ("Selected rectangle", "shape"), ("Whole layer", "layer")]
TASK_NAMES = [("Question", "vqa"), ("Subtyping", "subtyping"), ("Lesion detection", "detection")]
OPTIONS = {
    "vqa": ("Choices", "optional: yes, no"),
    "subtyping": ("Subtypes", "adenocarcinoma, squamous cell carcinoma"),
    "detection": ("Lesions", "tumour"),
}
SETTLED_MS = 350
"""Nothing is said of a word that is still being typed."""


def names_in(text: str) -> tuple[str, ...]:
    """Names that commas separate, without blanks around them; none is empty."""
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


class QuestionForm(QWidget):
    """Form that adapts to the task; an `AskForm` for the other docks.

    Signals
    -------
    draw_wanted
        The user wants to draw a rectangle.
    settled
        Task, words or model were changed, and nothing more for a moment.
    """

    draw_wanted = Signal()
    settled = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image_box = ImageBox(viewer, "Image layer that is asked about")
        self.region_box = ChoiceBox(REGIONS, "Part of the image that is asked about")
        draw = QPushButton("Draw")
        draw.setToolTip("Draw a rectangle on the image")
        draw.clicked.connect(self._draw)
        self.region_note = text_line()
        self.task_box = ChoiceBox(TASK_NAMES, "Kind of question")
        self.question_edit = QTextEdit()
        self.question_edit.setAcceptRichText(False)
        self.question_edit.setTabChangesFocus(True)
        self.question_edit.setFixedHeight(54)
        self.options_edit = QLineEdit()
        self.options_edit.setToolTip("Names, separated by commas")
        self.outlook_line = OutlookLine()
        tip = "Most visual tokens to spend; Auto leaves it to the model. Large ones become windows"
        self.budget_box = BudgetBox(tip, TOTALS)
        self.model_box = ModelBox()
        self._rows = Rows()
        self._rows.add("Image", self.image_box)
        self._rows.add("Region", side_by_side(self.region_box, draw))
        self._rows.addRow(self.region_note)
        self._rows.add("Task", self.task_box)
        self._rows.add("Question", self.question_edit)
        self._rows.add("Choices", self.options_edit)
        self._rows.addRow(self.outlook_line)
        self._rows.add("Budget", self.budget_box)
        self._rows.add("Model", self.model_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)
        self.task_box.currentIndexChanged.connect(self._adapt)
        self.image_box.changed.connect(self._offer_question)
        self.question_edit.textChanged.connect(self._drop_choices)
        self._sample_query = Query("vqa")
        self._settling = QTimer(self, interval=SETTLED_MS, singleShot=True)
        self._settling.timeout.connect(self.settled)
        for changed in (
            self.task_box.currentIndexChanged,
            self.question_edit.textChanged,
            self.options_edit.textChanged,
            self.model_box.changed,
        ):
            changed.connect(self._settle)
        self.outlook_line.wanted.connect(self.fill)
        self._adapt()

    def draft(self) -> Draft:
        """What it says now, as far as it is written."""
        question = " ".join(self.question_edit.toPlainText().split())
        options = tuple(dict.fromkeys(names_in(self.options_edit.text())))
        return Draft(
            self.image_box.image,
            self.region_box.value,
            Query(self.task_box.value, question, options),
            self.budget_box.value,
            self.model_box.model_id,
        )

    def choose_image(self, image: Image) -> None:
        """Ask about another image layer."""
        self.image_box.image = image

    def pin(self, budget: Budget) -> None:
        """Set the budget; one that is not offered changes nothing."""
        self.budget_box.choose(budget)

    def step_budget(self, up: int) -> None:
        """Set the next budget that is offered, up (1) or down (-1); below the lowest lies Auto."""
        self.budget_box.step(up)

    def prefer(self, model_id: str) -> None:
        """Offer the model of the preferences; taken where no other one was chosen."""
        self.model_box.prefer(model_id)

    def fill(self, query: Query) -> None:
        """Set task, question and choices to those of a query."""
        self.task_box.choose(query.task)
        self.question_edit.setPlainText(query.question)
        self.options_edit.setText(", ".join(query.options))
        self._sample_query = query  # its choices go with it
        self._settling.stop()
        self.settled.emit()

    def state(self) -> AskState:
        """What is set, but for the image."""
        return AskState(
            self.task_box.value,
            self.question_edit.toPlainText(),
            self.options_edit.text(),
            self.region_box.value,
            self.budget_box.value,
            self.model_box.own,
        )

    def restore(self, state: AskState) -> None:
        """Set what `state` gave."""
        self.task_box.choose(state.task)
        self.question_edit.setPlainText(state.question)
        self.options_edit.setText(state.options)
        self.region_box.choose(state.region)
        self.budget_box.choose(state.budget)
        if state.model:
            self.model_box.model_id = state.model
        self._offer_question()

    def _adapt(self) -> None:
        label, example = OPTIONS[self.task_box.value]
        self._rows.rename(self.options_edit, label)
        self.options_edit.setPlaceholderText(example)
        needed = self.task_box.value == "vqa"
        self.question_edit.setPlaceholderText(
            "How many nuclei are there?" if needed else "optional: your own wording"
        )
        self._show_question()

    def _offer_question(self) -> None:
        """Where a sample is shown, go to a task that it has a question of, and ask that."""
        tasks = [query.task for query in self._sample_queries()]
        if tasks:
            task = self.task_box.value
            self.task_box.choose(task if task in tasks else tasks[0])
            self._show_question()

    def _show_question(self) -> None:
        """Write the sample's first question of the task, or nothing where it has none."""
        queries, task = self._sample_queries(), self.task_box.value
        if queries:
            first = next((query for query in queries if query.task == task), Query(task))
            self.question_edit.setPlainText(first.question)
            self.options_edit.setText(", ".join(first.options))
            self._sample_query = first

    def _drop_choices(self) -> None:
        """Take the choices of a sample's question away once the user asks something else."""
        options = ", ".join(self._sample_query.options)
        if self.task_box.value == "vqa" and options and self.options_edit.text() == options:
            self.options_edit.clear()

    def _sample_queries(self) -> tuple[Query, ...]:
        """Questions of the sample that is shown; none once the user has written words."""
        image = self.image_box.image
        words = self.question_edit.toPlainText(), self.options_edit.text()
        of_samples = {
            (one.query.question, ", ".join(one.query.options))
            for sample in samples()
            for one in sample.questions
        }
        if image is None or not (words == ("", "") or words in of_samples):
            return ()
        return sample_questions(image.metadata)

    def _settle(self, *_: Any) -> None:
        self._settling.start()

    def _draw(self) -> None:
        self.region_box.choose("shape")
        self.draw_wanted.emit()

"""What is asked: image, region, task, question, budget, model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.errors import QueryError
from napari_pathreason.sample_data import sample_questions, samples
from napari_pathreason.types import Budget, Query, TaskName
from napari_pathreason.viewer import (
    PREVIEW_KEY,
    AskState,
    Outlook,
    RegionSource,
    unwrapped,
)

from ._budgets import BUDGETS, is_offered, offer_budgets
from ._outlook_line import OutlookLine
from ._pickers import prefer
from ._rows import CalmBox, Rows, choice_box, keep_narrow, side_by_side, text_line

if TYPE_CHECKING:
    from napari import Viewer

REGIONS = [("Current view", "view"), ("Selected rectangle", "shape"), ("Whole layer", "layer")]
TASK_NAMES = [("Question", "vqa"), ("Subtyping", "subtyping"), ("Lesion detection", "detection")]
OPTIONS = {
    "vqa": ("Choices", "optional: yes, no"),
    "subtyping": ("Subtypes", "adenocarcinoma, squamous cell carcinoma"),
    "detection": ("Lesions", "tumour"),
}
SETTLED_MS = 350
"""Nothing is said of a word that is still being typed."""


class QuestionForm(QWidget):
    """Form that adapts to the task; reads as a `Query`, a budget and a model.

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
        self._viewer = ref(unwrapped(viewer))
        self.image_box = ComboBox(choices=self._image_choices, nullable=False)
        keep_narrow(self.image_box.native).setToolTip("Image layer that is asked about")
        self.region_box = choice_box(REGIONS, "Part of the image that is asked about")
        draw = QPushButton("Draw")
        draw.setToolTip("Draw a rectangle on the image")
        draw.clicked.connect(self._draw)
        self.region_note = text_line()
        self.task_box = choice_box(TASK_NAMES, "Kind of question")
        self.question_edit = QTextEdit()
        self.question_edit.setAcceptRichText(False)
        self.question_edit.setTabChangesFocus(True)
        self.question_edit.setFixedHeight(54)
        self.options_edit = QLineEdit()
        self.options_edit.setToolTip("Names, separated by commas")
        self.outlook_line = OutlookLine()
        self.budget_box = choice_box(
            BUDGETS, "Most visual tokens to spend; Auto lets the allocator choose"
        )
        self.model_box = keep_narrow(CalmBox())
        self.model_box.setEditable(True)
        self.model_box.addItem("embedded")
        self._preferred = "embedded"
        self.model_box.setToolTip("embedded, a folder with a checkpoint, or a hub id")
        browse = QPushButton("\N{HORIZONTAL ELLIPSIS}")
        browse.setToolTip("Choose a folder with a checkpoint")
        browse.clicked.connect(self._choose_folder)

        self._rows = Rows()
        self._rows.add("Image", self.image_box.native)
        self._rows.add("Region", side_by_side(self.region_box, draw))
        self._rows.addRow(self.region_note)
        self._rows.add("Task", self.task_box)
        self._rows.add("Question", self.question_edit)
        self._rows.add("Choices", self.options_edit)
        self._rows.addRow(self.outlook_line)
        self._rows.add("Budget", self.budget_box)
        self._rows.add("Model", side_by_side(self.model_box, browse))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows)
        self.task_box.currentIndexChanged.connect(self._adapt)
        self.image_box.changed.connect(self._offer_question)
        self.question_edit.textChanged.connect(self._drop_choices)
        self._shown = Query("vqa")
        self._settling = QTimer(self, interval=SETTLED_MS, singleShot=True)
        self._settling.timeout.connect(self.settled)
        for changed in (
            self.task_box.currentIndexChanged,
            self.question_edit.textChanged,
            self.options_edit.textChanged,
            self.model_box.editTextChanged,
        ):
            changed.connect(self._settle)
        self.outlook_line.wanted.connect(self.fill)
        self._adapt()

    @property
    def image(self) -> Image | None:
        """The chosen image layer."""
        return self.image_box.value

    @image.setter
    def image(self, layer: Image) -> None:
        self.image_box.value = layer

    @property
    def region_source(self) -> RegionSource:
        """Where the region comes from."""
        return self.region_box.currentData()

    @property
    def task(self) -> TaskName:
        """The chosen task."""
        return self.task_box.currentData()

    @property
    def budget(self) -> Budget:
        """The chosen budget."""
        return self.budget_box.currentData()

    @property
    def model(self) -> str:
        """``embedded``, a folder or a hub id."""
        return self.model_box.currentText().strip() or "embedded"

    def query(self) -> Query:
        """What is asked; the engine checks that it can be.

        Raises
        ------
        QueryError
            If a search for lesions names none.
        """
        query = self.draft()
        if query.task == "detection" and not query.options:
            raise QueryError("name at least one lesion to look for, such as: tumour")
        return query

    def draft(self) -> Query:
        """What is asked, as far as it is written."""
        question = " ".join(self.question_edit.toPlainText().split())
        names = [name.strip() for name in self.options_edit.text().split(",")]
        return Query(self.task, question, tuple(dict.fromkeys(name for name in names if name)))

    def fill(self, query: Query) -> None:
        """Set task, question and choices to those of a query."""
        self.choose(self.task_box, query.task)
        self.question_edit.setPlainText(query.question)
        self.options_edit.setText(", ".join(query.options))
        self._shown = query  # its choices go with it
        self._settling.stop()
        self.settled.emit()

    def show_outlook(self, outlook: Outlook) -> None:
        """Say what can be told of the question before it is asked."""
        self.outlook_line.show_outlook(outlook)

    def offer(self, most: int | None, native: int | None) -> str:
        """Offer the budgets that the model's replies hold at; see `offer_budgets`."""
        return offer_budgets(self.budget_box, most, native)

    def prefer(self, model: str) -> None:
        """Offer the model of the preferences; taken where no other one was chosen."""
        prefer(self.model_box, self._preferred, model)
        self._preferred = model

    def state(self) -> AskState:
        """What is set, but for the image."""
        return AskState(
            self.task,
            self.question_edit.toPlainText(),
            self.options_edit.text(),
            self.region_source,
            self.budget,
            "" if self.model == self._preferred else self.model,
        )

    def restore(self, state: AskState) -> None:
        """Set what `state` gave."""
        self.choose(self.task_box, state.task)
        self.question_edit.setPlainText(state.question)
        self.options_edit.setText(state.options)
        self.choose(self.region_box, state.region)
        self.choose(self.budget_box, state.budget)
        self.model_box.setEditText(state.model or self._preferred)
        self._offer_question()

    def reset_choices(self, event: Any = None) -> None:
        """Offer the image layers that the viewer has now."""
        self.image_box.reset_choices()

    def choose(self, box: QComboBox, value: Any) -> None:
        """Set one of the combo boxes by value; one that it does not offer changes nothing."""
        place = box.findData(value)
        if place >= 0 and is_offered(box, place):
            box.setCurrentIndex(place)

    def _image_choices(self, _: Any) -> list[tuple[str, Image]]:
        viewer = self._viewer()
        layers = [] if viewer is None else list(viewer.layers)
        return [
            (layer.name, layer)
            for layer in layers
            if isinstance(layer, Image) and PREVIEW_KEY not in layer.metadata
        ]

    def _adapt(self) -> None:
        label, example = OPTIONS[self.task]
        self._rows.rename(self.options_edit, label)
        self.options_edit.setPlaceholderText(example)
        needed = self.task == "vqa"
        self.question_edit.setPlaceholderText(
            "How many nuclei are there?" if needed else "optional: your own wording"
        )
        self._show_question()

    def _offer_question(self, _: Any = None) -> None:
        """Where a sample is shown, go to a task that it has a question of, and ask that."""
        tasks = [query.task for query in self._on_offer()]
        if tasks:
            self.choose(self.task_box, self.task if self.task in tasks else tasks[0])
            self._show_question()

    def _show_question(self) -> None:
        """Write the sample's first question of the task, or nothing where it has none."""
        offered = self._on_offer()
        if offered:
            first = next((query for query in offered if query.task == self.task), Query(self.task))
            self.question_edit.setPlainText(first.question)
            self.options_edit.setText(", ".join(first.options))
            self._shown = first

    def _drop_choices(self) -> None:
        """Take the choices of a sample's question away once the user asks something else."""
        came = ", ".join(self._shown.options)
        if self.task == "vqa" and came and self.options_edit.text() == came:
            self.options_edit.clear()

    def _on_offer(self) -> tuple[Query, ...]:
        """Questions of the sample that is shown; none once the user has written words."""
        image = self.image
        words = self.question_edit.toPlainText(), self.options_edit.text()
        known = {
            (asked.query.question, ", ".join(asked.query.options))
            for shown in samples()
            for asked in shown.questions
        }
        if image is None or not (words == ("", "") or words in known):
            return ()
        return sample_questions(image.metadata)

    def _settle(self, *_: Any) -> None:
        self._settling.start()

    def _draw(self) -> None:
        self.choose(self.region_box, "shape")
        self.draw_wanted.emit()

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with a checkpoint")
        if folder:
            self.model_box.setEditText(folder)

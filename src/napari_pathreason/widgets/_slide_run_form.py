"""The form of the Slide run dock: slide, lesions or question, tiles, budget, model, folder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari.utils.history import get_save_history, update_save_history
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QDoubleSpinBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.budgets import native_tokens
from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.slide_run import RunSettings, tile_layout, tile_side
from napari_pathreason.types import Effort, ModelInfo, Query, TaskName
from napari_pathreason.viewer import (
    Outlook,
    Preferences,
    SlideRequest,
    known_mpp,
    layer_size,
    names_in,
    run_folder,
    run_opener,
    run_seconds,
    time_words,
)

from . import _words as words
from ._fields import (
    MORE,
    BudgetBox,
    ChoiceBox,
    ImageBox,
    ModelBox,
    Rows,
    side_by_side,
    text_line,
)
from ._form import SETTLED_MS
from ._reliability import OutlookLine

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

FOLDER = "pathreason"
"""Where runs go unless the user chooses otherwise: within the folder last saved to."""
START = RunSettings()
TASKS = [
    ("Lesions", "detection"),
    ("Question over every tile", "vqa"),
    ("Subtype of every tile", "subtyping"),
]
OPTIONS = {
    "detection": ("Lesions", "tumour", "Names of what is looked for, separated by commas"),
    "vqa": ("Choices", "optional: yes, no", "Answers, the classes of the map; commas between them"),
    "subtyping": ("Subtypes", "adenocarcinoma, squamous cell carcinoma", "The classes of the map"),
}
"""Of each task the label of its names, an example, and a tip."""


class SlideRunForm(QWidget):
    """Form that reads as a `SlideRequest`; begins with the values of `pathreason detect`.

    Signals
    -------
    changed
        Image, folder or tiles have changed.
    settled
        What is looked for or asked, or the model, was changed, and nothing more for a moment.
    """

    changed = Signal()
    settled = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image_box = ImageBox(viewer, "Slide that is run over")
        self._zoom = START.generation.zoom
        self._info: ModelInfo | None = None
        self._base = START
        """Settings of the run that a folder holds: what the form does not show is taken from it."""
        self._pace: float | None = None
        self._typed = {START.task: ", ".join(START.options)}
        """Names of each task, as they were left."""
        self.task_box = ChoiceBox(TASKS, "Boxes around lesions, or a class for every tile")
        self.question_edit = QLineEdit()
        self.question_edit.setToolTip("Every tile is asked this")
        self.options_edit = QLineEdit(self._typed[START.task])
        self.outlook_line = OutlookLine()
        self.mpp_box = _decimal(0.01, 100, START.mpp, 3, "µm per pixel at which a tile is read")
        self.tile_box = QSpinBox(minimum=32, maximum=8192, value=START.tile, singleStep=32)
        self.tile_box.setSuffix(" px")
        self.tile_box.setToolTip("Side of a tile at that size of a pixel")
        self.mpp_box.setSuffix(" µm per pixel")
        self.overlap_box = _decimal(0.1, 0.5, START.overlap, 2, "Share of a side in common")
        self.tissue_box = _decimal(0, 1, START.min_tissue, 2, "Tiles with less tissue are skipped")
        self.slide_mpp_box = _decimal(0, 100, 0, 4, "µm per pixel of the slide, as it does not say")
        self.slide_mpp_box.setSpecialValueText("µm per pixel unknown")
        self.slide_mpp_box.setSuffix(" µm per pixel")
        self.budget_box = BudgetBox("Most visual tokens of a tile")
        efforts = [(name.capitalize(), name) for name in get_args(Effort)]
        self.effort_box = ChoiceBox(efforts, "How readily the allocator spends tokens on Auto")
        self.effort_box.choose(START.effort)
        self.model_box = ModelBox()
        self.folder_edit = QLineEdit(str(Path(get_save_history()[0]) / FOLDER))
        self.folder_edit.setToolTip("Each slide gets a folder of its name in it")
        browse = QPushButton(MORE)
        browse.setToolTip("Choose a folder")
        browse.clicked.connect(self._choose_folder)
        self.note = text_line()
        self._rows = Rows()
        self._rows.add("Slide", self.image_box)
        self._rows.add("Level 0", self.slide_mpp_box)
        self._rows.add("Task", self.task_box)
        self._rows.add("Question", self.question_edit)
        self._rows.add("Lesions", self.options_edit)
        self._rows.addRow(self.outlook_line)
        self._rows.add("Tile", self.tile_box)
        self._rows.add("Read at", self.mpp_box)
        self._rows.add("Overlap", self.overlap_box)
        self._rows.add("Least tissue", self.tissue_box)
        self._rows.add("Budget", side_by_side(self.budget_box, self.effort_box))
        self._rows.add("Model", self.model_box)
        self._rows.add("Folder", side_by_side(self.folder_edit, browse))
        self._rows.addRow(self.note)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(self._rows)
        layout.addStretch(1)
        for box in (self.mpp_box, self.tile_box, self.overlap_box, self.slide_mpp_box):
            box.valueChanged.connect(self.refresh)
        self.image_box.changed.connect(self.refresh)
        self.folder_edit.textChanged.connect(self.refresh)
        self.budget_box.currentIndexChanged.connect(self._adapt)
        self._settling = QTimer(self, interval=SETTLED_MS, singleShot=True)
        self._settling.timeout.connect(self.settled)
        self._task = self.task
        self.task_box.currentIndexChanged.connect(self._change_task)
        self.question_edit.textChanged.connect(self._settle)
        self.options_edit.textChanged.connect(self._settle)
        self.model_box.changed.connect(self._settle)
        self.outlook_line.wanted.connect(self._fill)
        self._show_task()
        self._adapt()

    @property
    def task(self) -> TaskName:
        """What is done with each tile."""
        task: TaskName = self.task_box.value
        return task

    @property
    def image(self) -> Image | None:
        """The chosen image layer."""
        return self.image_box.image

    @property
    def parent_folder(self) -> Path:
        """Folder that holds the folders of slides."""
        return Path(self.folder_edit.text().strip()).expanduser()

    @property
    def folder(self) -> Path | None:
        """Folder of the chosen slide's run."""
        return None if self.image is None else run_folder(self.parent_folder, self.image)

    @property
    def slide_mpp(self) -> float | None:
        """Micrometres per level-0 pixel, where the slide tells none and the user does."""
        return self.slide_mpp_box.value() or None

    def settings(self) -> RunSettings:
        """What is looked for, and how; `RunSettings.check` says whether it can be."""
        return replace(
            self._base,
            task=self.task,
            options=names_in(self.options_edit.text()),
            question=self._question,
            mpp=_exact(self.mpp_box, self._base.mpp),
            tile=self.tile_box.value(),
            overlap=self._overlap,
            budget=self.budget_box.value,
            effort=self.effort_box.value,
            min_tissue=_exact(self.tissue_box, self._base.min_tissue),
            generation=replace(self._base.generation, zoom=self._zoom),
        )

    @property
    def _question(self) -> str:
        """Lesions are looked for in the words of the run that a folder holds."""
        if self.task != "detection":
            return self.question_edit.text().strip()
        return self._base.question if self._base.is_detection else ""

    @property
    def _overlap(self) -> float:
        """Classes need none."""
        if self.task == "detection":
            return _exact(self.overlap_box, self._base.overlap)
        return 0.0 if self._base.is_detection else self._base.overlap

    def take(self, settings: RunSettings) -> None:
        """Show the settings of another run."""
        self._base = settings
        self.task_box.choose(settings.task)
        if settings.task != "detection":
            self.question_edit.setText(settings.question)
        self.options_edit.setText(", ".join(settings.options))
        self.mpp_box.setValue(settings.mpp)
        self.tile_box.setValue(settings.tile)
        if settings.is_detection:
            self.overlap_box.setValue(settings.overlap)
        self.tissue_box.setValue(settings.min_tissue)
        self.budget_box.choose(settings.budget)
        self.effort_box.choose(settings.effort)
        self._zoom = settings.generation.zoom

    def says(self, settings: RunSettings) -> bool:
        """Whether a run with these settings is what the form says."""
        return self.settings() == settings

    def show_outlook(self, outlook: Outlook, info: ModelInfo | None, pace: float | None) -> None:
        """Say whether the model can do this, and for how long, and offer the budgets that hold.

        ``pace`` is that of the model on this machine, see `viewer.known_pace`.
        """
        self.outlook_line.show_outlook(outlook)
        self._info, self._pace = info, pace
        self.refresh()

    def prefer(self, preferred: Preferences) -> None:
        """Begin with the model, the effort and the zoom of the preferences."""
        self._zoom = preferred.zoom
        self.model_box.prefer(preferred.model)
        self.effort_box.choose(preferred.effort)

    def request(self) -> SlideRequest:
        """What the form says.

        Raises
        ------
        PathreasonError
            If there is no slide, no folder, or the settings cannot be run.
        """
        image, folder = self.image, self.folder
        if image is None or folder is None:
            raise PathreasonError(words.NO_SLIDE)
        if not self.folder_edit.text().strip():
            raise PathreasonError(words.NO_FOLDER)
        settings = self.settings()
        settings.check()
        return SlideRequest(
            run_opener(image, self.slide_mpp), folder, settings, self.model_box.model_id
        )

    def refresh(self, *_: Any) -> None:
        """Say how many tiles there would be; ask for the size of a pixel where it is missing."""
        image = self.image
        unknown = image is not None and known_mpp(image) is None
        self._rows.show_row(self.slide_mpp_box, unknown)
        note, refused = self._note(), self._offer()
        self.note.setText(f"{note}\n{sentence(refused)}" if refused else note)
        self.changed.emit()

    def _note(self) -> str:
        if self.image is None:
            return words.OPEN_FIRST
        try:
            width, height = layer_size(self.image)
            mpp = known_mpp(self.image)
            if mpp is None and self.slide_mpp is None:
                return words.NO_PIXEL_SIZE
            side = tile_side(
                self.tile_box.value(),
                self.mpp_box.value(),
                mpp or (self.slide_mpp or math.nan, self.slide_mpp or math.nan),
            )
        except PathreasonError as error:
            return sentence(error)
        count = len(tile_layout(width, height, side, self._overlap))
        known = mpp or (self.slide_mpp or math.nan, self.slide_mpp or math.nan)
        across, down = (f"{pixels * size:,.0f}" for pixels, size in zip(side, known, strict=True))
        tiles = "1 tile" if count == 1 else f"{count:,} tiles"
        return f"{tiles} of {across} × {down} µm. {self._time(count)}"

    def _time(self, tiles: int) -> str:
        """How long it will take, at most."""
        if self._info is None or self._pace is None:
            return words.NO_PACE
        seconds = run_seconds(self.settings(), tiles, self._info, self._pace)
        return words.at_most(time_words(seconds))

    def _offer(self) -> str:
        """Offer the budgets that the model's replies hold at; why the chosen one is not."""
        if self._info is None:
            return self.budget_box.offer(None)
        tile = Region(0, 0, self.tile_box.value(), self.tile_box.value())
        native = native_tokens(tile, self._info.dims.token_px)
        return self.budget_box.offer(self._info.max_visual_tokens, native)

    def _settle(self, *_: Any) -> None:
        self._settling.start()

    def _change_task(self, *_: Any) -> None:
        """Each task has names of its own, which come back with it."""
        self._typed[self._task] = self.options_edit.text()
        self._task = self.task
        self.options_edit.setText(self._typed.get(self._task, ""))
        self._show_task()
        self._settle()
        self.refresh()

    def _show_task(self) -> None:
        label, example, tip = OPTIONS[self.task]
        self._rows.rename(self.options_edit, label)
        self.options_edit.setPlaceholderText(example)
        self.options_edit.setToolTip(tip)
        needed = self.task == "vqa"
        self.question_edit.setPlaceholderText(
            "Is there tumour in this field?" if needed else "optional: your own wording"
        )
        self._rows.show_row(self.question_edit, self.task != "detection")
        self._rows.show_row(self.overlap_box, self.task == "detection")

    def _fill(self, query: Query) -> None:
        self.task_box.choose(query.task)
        self.question_edit.setText(query.question)
        self.options_edit.setText(", ".join(query.options))
        self._settling.stop()
        self.settled.emit()

    def _adapt(self) -> None:
        self.effort_box.setEnabled(self.budget_box.value == "auto")
        self.refresh()

    def _choose_folder(self) -> None:
        start = self.parent_folder
        folder = QFileDialog.getExistingDirectory(
            self, "Folder for the results", str(start if start.is_dir() else start.parent)
        )
        if folder:
            update_save_history(folder)
            self.folder_edit.setText(folder)


def _decimal(low: float, high: float, value: float, digits: int, tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox(minimum=low, maximum=high, decimals=digits)
    box.setValue(value)
    box.setSingleStep(10.0 ** -min(digits, 2) * (5 if high <= 1 else 1))
    box.setToolTip(tip)
    return box


def _exact(box: QDoubleSpinBox, exact: float) -> float:
    """The value of a box, with all the digits of what it was set to where that was not changed."""
    shown = float(box.value())
    return exact if abs(shown - round(exact, box.decimals())) < 1e-9 else shown

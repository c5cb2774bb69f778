"""Which image, and which model: boxes to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from magicgui.widgets import ComboBox
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_pathreason.viewer import PREVIEW_KEY, unwrapped

from ._rows import CalmBox, keep_narrow

if TYPE_CHECKING:
    from napari import Viewer


class ImageBox(QWidget):
    """Image layers of a viewer; previews and heat maps are none to be asked about.

    Signals
    -------
    changed
        Another one was chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Viewer, tip: str) -> None:
        super().__init__()
        self._viewer = ref(unwrapped(viewer))
        self._box = ComboBox(choices=self._choices, nullable=False)
        keep_narrow(self._box.native).setToolTip(tip)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box.native)
        self._box.changed.connect(lambda: self.changed.emit())

    @property
    def image(self) -> Image | None:
        """The chosen image layer."""
        return self._box.value

    @image.setter
    def image(self, layer: Image) -> None:
        self._box.value = layer

    def reset_choices(self) -> None:
        """Offer the image layers that the viewer has now."""
        self._box.reset_choices()

    def _choices(self, _: Any) -> list[tuple[str, Image]]:
        viewer = self._viewer()
        layers = [] if viewer is None else list(viewer.layers)
        return [(layer.name, layer) for layer in layers if is_slide(layer)]


def is_slide(layer: Any) -> bool:
    """Whether a layer is an image that can be asked about."""
    return isinstance(layer, Image) and PREVIEW_KEY not in layer.metadata


def prefer(box: QComboBox, was: str, model: str) -> None:
    """Offer the model of the preferences; taken where the box still holds what they said before."""
    text = box.currentText()
    if box.findText(model) < 0:
        box.addItem(model)
    box.setEditText(model if text.strip() in ("", was) else text)


class ModelBox(QWidget):
    """Embedded, a folder with a checkpoint, or a hub id."""

    def __init__(self) -> None:
        super().__init__()
        self.box = keep_narrow(CalmBox())
        self.box.setEditable(True)
        self.box.addItem("embedded")
        self.box.setToolTip("embedded, a folder with a checkpoint, or a hub id")
        browse = QPushButton("\N{HORIZONTAL ELLIPSIS}")
        browse.setToolTip("Choose a folder with a checkpoint")
        browse.clicked.connect(self._choose_folder)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.box, 1)
        layout.addWidget(browse)

    @property
    def model_id(self) -> str:
        """``embedded``, a folder or a hub id."""
        return self.box.currentText().strip() or "embedded"

    @model_id.setter
    def model_id(self, model_id: str) -> None:
        self.box.setEditText(model_id)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder with a checkpoint")
        if folder:
            self.box.setEditText(folder)

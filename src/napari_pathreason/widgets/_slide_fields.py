"""How the slide of a dock is read: its scale, channels of fluorescence, and colour profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QLineEdit

from napari_pathreason.errors import PathreasonError
from napari_pathreason.viewer import SLIDE_KEY, known_mpp, set_up_slide

from ._fields import Rows

if TYPE_CHECKING:
    from napari.layers import Image

MOST_UM = 1000.0


class SlideFields(QObject):
    """Rows of a form; what is entered holds for what is shown and what is asked about alike.

    Channels are there where the slide has some to choose, the profile where it has one.

    Signals
    -------
    changed
        The slide is read otherwise from now on.
    """

    changed = Signal()

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows
        self._image: Image | None = None
        self.mpp_box = QDoubleSpinBox(minimum=0, maximum=MOST_UM, decimals=4, singleStep=0.05)
        self.mpp_box.setSpecialValueText("µm per pixel unknown")
        self.mpp_box.setSuffix(" µm per pixel")
        self.mpp_box.setKeyboardTracking(False)
        self.mpp_box.setToolTip(
            "Size of a pixel of the slide; yours goes before what the file says"
        )
        self.channels_edit = QLineEdit()
        self.channels_edit.setPlaceholderText("1=blue,2=green")
        self.channels_edit.setToolTip(
            "Channels and colours, by number or name; rgb: the first three"
        )
        self.icc_box = QCheckBox("by the slide's ICC profile")
        self.icc_box.setToolTip("Turn colours into sRGB, for display and model alike")
        rows.add("Scale", self.mpp_box)
        rows.add("Channels", self.channels_edit)
        rows.add("Colours", self.icc_box)
        self.mpp_box.valueChanged.connect(self._apply)
        self.channels_edit.returnPressed.connect(self._apply)
        self.icc_box.toggled.connect(self._apply)
        self.show_image(None)

    def show_image(self, image: Image | None) -> None:
        """Show how the slide of an image layer is read; None for no layer."""
        self._image = image
        slide = None if image is None else image.metadata.get(SLIDE_KEY)
        mpp = None if image is None else known_mpp(image)
        info = None if slide is None else slide.info
        channels = "" if info is None else info.channels
        icc = "none" if info is None else info.icc
        for field in (self.mpp_box, self.channels_edit, self.icc_box):
            field.blockSignals(True)
        self.mpp_box.setValue(0 if mpp is None else mpp[0])
        self.channels_edit.setText(channels)
        self.icc_box.setChecked(icc == "applied")
        for field in (self.mpp_box, self.channels_edit, self.icc_box):
            field.blockSignals(False)
        self._rows.show_row(self.mpp_box, image is not None)
        self._rows.show_row(self.channels_edit, bool(channels))
        self._rows.show_row(self.icc_box, icc != "none")

    def _apply(self) -> None:
        image = self._image
        if image is None:
            return
        known = known_mpp(image)
        value = self.mpp_box.value()
        slide = image.metadata.get(SLIDE_KEY)
        is_users = slide is not None and slide.info.mpp_source == "user"
        same = known is not None and abs(known[0] - value) < 5e-5
        mpp = value if value and (not same or is_users) else None
        try:
            set_up_slide(image, mpp, self.channels_edit.text(), self.icc_box.isChecked())
        except PathreasonError as error:
            show_error(str(error))
        self.show_image(image)
        self.changed.emit()

"""The classes of a slide run beside their colours: a legend of the map, and how much is of each."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_pathreason.slide_run import ClassShare, percent
from napari_pathreason.viewer import ClassMap, class_shades

from ._fields import text_line
from ._map_parts import patch

HEAD = "", "Class", "Tiles", "mm²", "Of tissue"
PALER = "Paler tiles are uncertain; grey ones have no reliable answer and count as no class."


class ClassTable(QWidget):
    """A row for each class; hidden where a run looks for lesions."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout()
        self._grid.setSpacing(3)
        self._grid.setColumnStretch(1, 1)
        self._names: tuple[str, ...] = ()
        self._cells: list[list[QLabel]] = []
        self._shown: tuple[ClassShare, ...] = ()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._grid)
        layout.addWidget(text_line(PALER))
        self.hide()

    @property
    def rows(self) -> list[list[str]]:
        """What is shown, a row for each class: name, tiles, mm², share of tissue."""
        return [[cell.text() for cell in row[1:]] for row in self._cells]

    def show_classes(self, classes: ClassMap | None) -> None:
        """Show a run as far as it is; nothing of one that looks for lesions."""
        if classes is None:
            self.hide()
            self._shown = ()
            return
        shares = classes.shares()
        if shares == self._shown:
            return
        self._shown = shares
        if classes.names != self._names:
            self._lay_out(classes)
        for row, share in zip(self._cells, shares, strict=True):
            uncertain = f" ({share.uncertain:,} uncertain)" if share.uncertain else ""
            words = (f"{share.tiles:,}{uncertain}", f"{share.area_mm2:.2f}", percent(share.share))
            for cell, text in zip(row[2:], words, strict=True):
                cell.setText(text)
        self.show()

    def _lay_out(self, classes: ClassMap) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            item.widget().deleteLater()
        self._names, self._cells = classes.names, []
        for column, text in enumerate(HEAD):
            self._grid.addWidget(_cell(text, column), 0, column)
        shades = class_shades(classes.plan.classes)
        for place, (name, shade) in enumerate(zip(classes.names, shades, strict=True), 1):
            row = [_cell("", column) for column in range(len(HEAD))]
            row[0].setPixmap(patch((*shade, 1.0)))
            row[1].setText(name)
            for column, cell in enumerate(row):
                self._grid.addWidget(cell, place, column)
            self._cells.append(row)


def _cell(text: str, column: int) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.PlainText)
    label.setAlignment((Qt.AlignLeft if column < 2 else Qt.AlignRight) | Qt.AlignVCenter)
    label.setWordWrap(column == 1)
    return label

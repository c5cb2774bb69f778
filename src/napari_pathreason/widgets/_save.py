"""The button that writes answers to files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from napari.qt.threading import create_worker
from napari.utils.history import get_save_history, update_save_history
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_pathreason.errors import PathreasonError
from napari_pathreason.viewer import Entry, Session, entries_like, files_of, write_answers

KINDS = {
    "QuPath objects": "geojson",
    "Table of findings": "csv",
    "Report with pictures": "html",
    "Manifest, to repeat the run": "json",
    "Transcript": "jsonl",
}
MORE = "\N{HORIZONTAL ELLIPSIS}"


class SaveButton(QPushButton):
    """Menu of what to save; files are written off the main thread, whole or not at all.

    Signals
    -------
    saved : str
        Empty, or why the file could not be written.
    """

    saved = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(f"Save{MORE}", parent)
        self.setToolTip("Save answers as GeoJSON for QuPath, table, report, manifest, transcript")
        self.setEnabled(False)
        self._session = session
        self._entry: Entry | None = None
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill)
        self.setMenu(self._menu)

    def choose(self, entry: Entry | None) -> None:
        """Offer to save an entry and those like it."""
        self._entry = entry
        self.setEnabled(entry is not None)

    def save(self, entries: Sequence[Entry], path: str) -> None:
        """Write entries to a file whose ending says what is wanted; problems become notices."""
        try:
            files = files_of(entries)
        except PathreasonError as error:
            self._tell(str(error), path)
            return
        self.setEnabled(False)
        worker = create_worker(write_answers, files, path)
        worker.returned.connect(lambda trouble: self._tell(trouble, path))
        worker.start()

    def _tell(self, trouble: str, path: str) -> None:
        self.setEnabled(self._entry is not None)
        if trouble:
            show_error(trouble)
        else:
            show_info(f"{Path(path).name} was saved.")
        self.saved.emit(trouble)

    def _fill(self) -> None:
        self._menu.clear()
        if self._entry is None:
            return
        alike = entries_like(self._session, self._entry)
        wholes = [(f"Answer {self._entry.id}", [self._entry])]
        if len(alike) > 1:
            wholes.append((f"All {len(alike)} answers about this image", alike))
        for title, entries in wholes:
            self._menu.addSection(title)
            for kind, ending in KINDS.items():
                action = self._menu.addAction(f"{kind} (.{ending}){MORE}")
                action.triggered.connect(partial(self._choose_file, entries, kind, ending))

    def _choose_file(self, entries: Sequence[Entry], kind: str, ending: str, _: bool) -> None:
        name = f"{Path(entries[-1].result.slide.name).stem}.{ending}"
        start = Path(get_save_history()[0]) / name
        # the ending is set by the dialog, so that it asks before a file is replaced
        dialog = QFileDialog(
            self, "Save answers", str(start), f"{kind} (*.{ending});;All files (*)"
        )
        dialog.setAcceptMode(QFileDialog.AcceptSave)
        dialog.setDefaultSuffix(ending)
        if dialog.exec():
            (path,) = dialog.selectedFiles()
            update_save_history(path)
            self.save(entries, path)

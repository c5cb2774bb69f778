"""A model on a server, chosen and tried; and the question that comes before pixels leave."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from napari.qt.threading import create_worker
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_pathreason.engine import sentence
from napari_pathreason.errors import PathreasonError
from napari_pathreason.models.server import (
    KEY,
    SENT,
    SPACES,
    Address,
    ServerReport,
    allow_host,
    chosen_boxes,
    is_address,
    is_allowed,
    keep_key,
    look_at_server,
    parse_address,
    set_boxes,
)

from ._fields import CalmBox, ChoiceBox, Rows, text_line

if TYPE_CHECKING:
    from typing import Any

BY_FAMILY = ""
BOXES: list[tuple[str, str]] = [
    ("As models of its family write them", BY_FAMILY),
    *((words[:1].upper() + words[1:], space) for space, words in SPACES.items()),
]


def may_send(model_id: str, parent: QWidget | None = None) -> bool:
    """Whether pixels may go to a model, the user asked where its host is not this machine.

    Each host is asked about once. What is no address of a server needs no question.
    """
    if not is_address(model_id):
        return True
    try:
        address = parse_address(model_id)
        if is_allowed(address):
            return True
        box = QMessageBox(parent)
        box.setIcon(QMessageBox.Question)
        box.setWindowTitle("Send pixels to a server?")
        box.setText(f"{address.host} is not this machine. To answer, it is sent {SENT}.")
        box.setInformativeText("This is asked once for each host.")
        box.setStandardButtons(QMessageBox.Yes | QMessageBox.No)
        box.setDefaultButton(QMessageBox.No)
        if box.exec() != QMessageBox.Yes:
            return False
        allow_host(address.host)
    except PathreasonError:  # whoever asks the model says what is wrong
        return True
    return True


class ServerDialog(QDialog):
    """Address, model and key of a server, and a button that tries it.

    Parameters
    ----------
    model_id : str
        Of the model that is chosen now; another than a server's is left out.
    parent : QWidget, optional

    Signals
    -------
    tested
        A test has ended; `status` says how.
    """

    tested = Signal()

    def __init__(self, model_id: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Model on a server")
        self.address_edit = QLineEdit()
        self.address_edit.setPlaceholderText("http://127.0.0.1:8000/v1")
        self.address_edit.setToolTip("Of vLLM, llama.cpp, Ollama, or another that speaks as OpenAI")
        self.model_box = CalmBox()
        self.model_box.setEditable(True)
        self.model_box.setToolTip("Name of the model; Test lists what the server has")
        self.key_edit = QLineEdit()
        self.key_edit.setEchoMode(QLineEdit.Password)
        self.key_edit.setPlaceholderText(f"none, or of {KEY} or the system keyring")
        self.key_edit.setToolTip("Kept in the system keyring alone")
        self.boxes_box = ChoiceBox(
            BOXES, "How the model writes boxes, where its name does not tell"
        )
        self.test_button = QPushButton("Test")
        self.test_button.setToolTip("Ask the server what it has and does, with white pictures")
        self.status = text_line(least=3)
        buttons = QDialogButtonBox(QDialogButtonBox.Ok | QDialogButtonBox.Cancel)
        self.ok_button = buttons.button(QDialogButtonBox.Ok)
        rows = Rows()
        rows.add("Address", self.address_edit)
        rows.add("Model", self.model_box)
        rows.add("Key", self.key_edit)
        rows.add("Boxes", self.boxes_box)
        layout = QVBoxLayout(self)
        layout.addLayout(rows)
        layout.addWidget(self.test_button)
        layout.addWidget(self.status)
        layout.addWidget(buttons)
        self.setMinimumWidth(420)
        self._worker: Any = None
        self._fill(model_id)
        self.test_button.clicked.connect(self.test)
        self.address_edit.textChanged.connect(self._address_changed)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)

    @property
    def model_id(self) -> str:
        """The address with the name of the model."""
        base = self.address_edit.text().strip().partition("#")[0]
        name = self.model_box.currentText().strip()
        return f"{base}#{name}" if name else base

    @property
    def testing(self) -> bool:
        """Whether a test runs."""
        return self._worker is not None

    def test(self) -> None:
        """Ask the server what it has and does, in a worker; `status` says it."""
        if self._address() is None or self.testing:
            return
        if not may_send(self.model_id, self):
            self.status.setText("Nothing was sent.")
            return
        self.status.setText("Asking\N{HORIZONTAL ELLIPSIS}")
        self.test_button.setEnabled(False)
        self._worker = create_worker(_looked_at, self.model_id, self.key_edit.text().strip())
        self._worker.returned.connect(self._show)
        self._worker.start()

    def accept(self) -> None:
        """Take the address, and keep the key and what is said of boxes."""
        address = self._address()
        if address is None:
            return
        try:
            if key := self.key_edit.text().strip():
                keep_key(address, key)
            if address.model and self.boxes_box.value != chosen_boxes(address):
                set_boxes(str(address), self.boxes_box.value)
        except PathreasonError as error:
            self.status.setText(sentence(error))
            return
        super().accept()

    def _address(self) -> Address | None:
        """The address, or None where it cannot be understood and a hint says so."""
        try:
            return parse_address(self.model_id)
        except PathreasonError as error:
            self.status.setText(sentence(error))
            return None

    def _fill(self, model_id: str) -> None:
        if not is_address(model_id):
            return
        base, _, name = model_id.strip().partition("#")
        self.address_edit.setText(base)
        self.model_box.setEditText(name)
        address = self._address()
        if address is not None:
            self.boxes_box.choose(chosen_boxes(address))

    def _address_changed(self, text: str) -> None:
        """An address that was pasted with the name of its model."""
        base, mark, name = text.partition("#")
        if mark:
            self.address_edit.setText(base)
            self.model_box.setEditText(name)

    def _show(self, report: ServerReport | str) -> None:
        self._worker = None
        self.test_button.setEnabled(True)
        if isinstance(report, str):
            self.status.setText(report)
        else:
            chosen = self.model_box.currentText().strip()
            self.model_box.clear()
            self.model_box.addItems(report.models)
            only = report.models[0] if len(report.models) == 1 else ""
            self.model_box.setEditText(chosen or only)
            self.status.setText(_summary(report))
        self.tested.emit()


def _looked_at(model_id: str, key: str) -> Generator[None, None, ServerReport | str]:
    """What a server has and does, or why that cannot be said."""
    yield
    try:
        return look_at_server(model_id, key)
    except PathreasonError as error:
        return sentence(error)
    except Exception as error:  # a fault of ours must be shown, not lost in a thread
        return f"Unexpected {type(error).__name__} while asking the server; please report it."


def _summary(report: ServerReport) -> str:
    """What a test has found, in a few words."""
    info, found = report.info, report.found
    if info is None or info.server is None or found is None:
        return (
            "It answers. Choose one of its models, and test that."
            if report.models
            else ("It answers, and lists no model: write the name of one.")
        )
    pictures = "one picture" if info.server.pictures == 1 else "several pictures"
    least = f", at least {found.least:,} visual tokens each" if found.least > 1 else ""
    confidence = "confidence" if found.logprobs else "no confidence: it gives no probabilities"
    boxes = (
        f"boxes as {info.boxes_by}"
        if info.boxes_by
        else ("boxes: nobody knows how it writes them, choose that for lesion detection")
    )
    return f"It works: {info.name} takes {pictures} in a question{least}; {confidence}; {boxes}."

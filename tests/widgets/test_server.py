"""A model on a server in the docks: chosen, tried, asked, and nothing sent without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtWidgets import QDialog, QMessageBox

from napari_pathreason.engine import result_to_dict, token_line
from napari_pathreason.models.server import allowed_hosts, chosen_boxes, key_of, parse_address
from napari_pathreason.viewer import describe_model, files_of, spawn_models, write_answers
from napari_pathreason.widgets import ServerDialog, may_send
from tests.support.servers import ollama, serving, vllm

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
pytestmark = pytest.mark.usefixtures("own_folders")
FOREIGN = "http://lab.invalid:8000/v1#m"


@pytest.fixture
def dark_image() -> NDArray[np.uint8]:
    """Pink, 640 x 512, with a dark spot at x 320..400, y 160..200."""
    image = np.full((512, 640, 3), (230, 160, 200), np.uint8)
    image[160:200, 320:400] = 0
    return image


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Texts of message boxes, which are answered by what `answers` says: no."""
    shown: list[str] = []

    def answer(box: QMessageBox) -> int:
        shown.append(box.text())
        return int(QMessageBox.No)

    monkeypatch.setattr(QMessageBox, "exec", answer)
    return shown


def say_yes(monkeypatch: pytest.MonkeyPatch, questions: list[str]) -> None:
    def answer(box: QMessageBox) -> Any:
        questions.append(box.text())
        return QMessageBox.Yes

    monkeypatch.setattr(QMessageBox, "exec", answer)


@pytest.fixture
def real_dock(make_dock: Make, dark_image: NDArray[np.uint8]) -> Callable[[str], tuple[Any, Any]]:
    """Viewer and dock whose models are those of users."""

    def make(model_id: str) -> tuple[Any, Any]:
        viewer, dock = make_dock()
        dock.session.models_factory, dock.session.describe = spawn_models, describe_model
        viewer.add_image(dark_image, rgb=True, name="dark")
        dock.form.model_box.model_id = model_id
        dock.form.region_box.choose("layer")
        return viewer, dock

    return make


def ask_yes_no(dock: Any) -> None:
    dock.form.task_box.choose("vqa")
    dock.form.question_edit.setPlainText("Is there tumour?")
    dock.form.options_edit.setText("yes, no")
    dock.form.budget_box.choose(64)
    dock.ask()


def test_the_dock_answers_through_a_server(
    real_dock: Callable[[str], tuple[Any, Any]], finish: Wait, tmp_path: Path, questions: list[str]
) -> None:
    with serving(vllm(floor=1024)) as server:
        _, dock = real_dock(server.address)
        ask_yes_no(dock)
        finish(dock)
        (entry,) = dock.session.entries
        result = entry.result
        assert result.answer.text == "yes"
        assert result.tokens.realised == 56  # 8 x 7 tokens of 32 px
        assert "56 of 320 visual tokens" in token_line(result)
        assert "56 of 320 tokens" in dock.answer.toPlainText()
        assert result.confidence == pytest.approx(0.8, abs=0.01)
        dock.form.task_box.choose("detection")
        dock.form.question_edit.clear()
        dock.form.options_edit.setText("spot")
        dock.form.budget_box.choose("native")
        dock.ask()
        finish(dock)
        found = dock.session.entries[-1].result.detections
        assert [one.label for one in found] == ["spot"]
        box = found[0].box
        assert (box.x, box.y, box.w, box.h) == pytest.approx((320, 160, 80, 40), abs=4)
        for ending in (".geojson", ".csv", ".html", ".json", ".jsonl"):
            file = tmp_path / f"out{ending}"
            assert write_answers(files_of(dock.session.entries), str(file)) == ""
            assert "127.0.0.1" not in file.read_text()
        manifest = json.loads((tmp_path / "out.json").read_text())
        assert manifest["model"]["name"] == "a model on a server"
        assert result_to_dict(result)["model"]["name"] == "Qwen/Qwen3-VL-2B-Instruct"
    assert not questions  # this machine


def test_a_question_to_a_server_can_be_cancelled(
    real_dock: Callable[[str], tuple[Any, Any]], finish: Wait, qtbot: Any
) -> None:
    def think(words: str, pictures: Any) -> tuple[str, str]:
        return " ".join(["long"] * 300), "yes"

    with serving(answer=think) as server:
        _, dock = real_dock(server.address)
        server.delay = 0.0
        ask_yes_no(dock)
        finish(dock)  # the server is known now
        server.delay = 0.05
        ask_yes_no(dock)
        qtbot.waitUntil(lambda: "long long" in dock.answer.toPlainText(), timeout=20_000)
        dock.cancel()
        finish(dock)
        assert "Cancelled" in dock.answer.toPlainText()
        server.delay = 0.0
        ask_yes_no(dock)
        finish(dock)
        assert len(dock.session.entries) == 2


def test_a_failure_is_a_line(
    real_dock: Callable[[str], tuple[Any, Any]], finish: Wait, messages: list[tuple[str, str]]
) -> None:
    with serving() as server:
        address = server.address
    _, dock = real_dock(address)
    ask_yes_no(dock)
    finish(dock)
    assert "cannot be reached" in dock.answer.toPlainText()
    assert not dock.session.entries


def test_a_foreign_host_is_asked_about_once(
    real_dock: Callable[[str], tuple[Any, Any]],
    finish: Wait,
    questions: list[str],
    monkeypatch: pytest.MonkeyPatch,
    messages: list[tuple[str, str]],
) -> None:
    _, dock = real_dock(FOREIGN)
    ask_yes_no(dock)
    assert not dock.busy
    assert "Nothing was asked" in dock.answer.toPlainText()
    (text,) = questions
    assert "lab.invalid is not this machine" in text
    assert "no file name, path or metadata" in text
    assert not allowed_hosts()
    say_yes(monkeypatch, questions)
    for _ in range(2):
        ask_yes_no(dock)
        finish(dock)
        assert "cannot be reached" in dock.answer.toPlainText()
    assert len(questions) == 2
    assert allowed_hosts() == {"lab.invalid"}


@pytest.mark.parametrize("model", ["embedded", "some/model", "http://127.0.0.1:1/v1", "http://"])
def test_other_models_are_not_asked_about(model: str, questions: list[str]) -> None:
    assert may_send(model)
    assert not questions


@pytest.fixture
def dialog(qtbot: Any) -> Callable[..., ServerDialog]:
    def make(model_id: str = "") -> ServerDialog:
        one = ServerDialog(model_id)
        qtbot.addWidget(one)
        return one

    return make


def try_server(dialog: ServerDialog, qtbot: Any) -> str:
    with qtbot.waitSignal(dialog.tested, timeout=60_000):
        dialog.test()
    assert dialog.test_button.isEnabled()
    return dialog.status.text()


def test_the_dialog_tries_a_server(dialog: Callable[..., ServerDialog], qtbot: Any) -> None:
    with serving() as server:
        one = dialog()
        one.address_edit.setText(server.url)
        text = try_server(one, qtbot)
        assert text.startswith("It works: Qwen/Qwen3-VL-2B-Instruct takes several pictures")
        assert "at least 64 visual tokens each" in text
        assert one.model_id == server.address
        one.accept()
        assert one.result() == QDialog.Accepted


def test_the_dialog_lists_models(dialog: Callable[..., ServerDialog], qtbot: Any) -> None:
    with serving(ollama()) as server:
        one = dialog()
        one.address_edit.setText(server.url)
        assert "Choose one of its models" in try_server(one, qtbot)
        listed = [one.model_box.itemText(n) for n in range(one.model_box.count())]
        assert listed == ["medgemma1.5:latest", "llama3:latest"]
        one.model_box.setCurrentIndex(0)
        assert "no confidence" in try_server(one, qtbot)
        assert one.model_id == server.address


def test_the_dialog_says_what_is_wrong(
    dialog: Callable[..., ServerDialog], qtbot: Any, questions: list[str]
) -> None:
    one = dialog()
    one.test()
    assert "not understood" in one.status.text()
    one.accept()
    assert one.result() != QDialog.Accepted
    with serving(key="right") as server:
        one.address_edit.setText(server.address)
        assert (one.address_edit.text(), one.model_box.currentText()) == (
            server.url,
            server.dialect.models[0],
        )
        assert "refuses the key" in try_server(one, qtbot)
        one.key_edit.setText("right")
        assert "It works" in try_server(one, qtbot)
    one.address_edit.setText(FOREIGN)
    one.test()
    assert one.status.text() == "Nothing was sent."
    assert len(questions) == 1


def test_the_dialog_keeps_a_key_in_the_keyring_alone(
    dialog: Callable[..., ServerDialog],
    monkeypatch: pytest.MonkeyPatch,
    own_folders: tuple[Path, Path],
) -> None:
    import sys
    from types import SimpleNamespace

    held: dict[tuple[str, str], str] = {}
    ring = SimpleNamespace(
        __spec__=SimpleNamespace(),
        get_password=lambda service, name: held.get((service, name)),
        set_password=lambda service, name, key: held.update({(service, name): key}),
    )
    monkeypatch.setitem(sys.modules, "keyring", ring)
    one = dialog("http://127.0.0.1:8000/v1#m")
    one.key_edit.setText("very-secret")
    one.boxes_box.choose("resized")
    one.accept()
    address = parse_address(one.model_id)
    assert key_of(address) == "very-secret"
    assert chosen_boxes(address) == "resized"
    assert "very-secret" not in one.model_id
    for folder in own_folders:
        for file in folder.rglob("*.json"):
            assert "very-secret" not in file.read_text()
    again = dialog(one.model_id)
    assert again.boxes_box.value == "resized"
    again.boxes_box.choose("")
    again.accept()
    assert chosen_boxes(address) == ""


def test_the_entry_of_the_model_box_opens_the_dialog(
    make_dock: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []

    def accept(dialog: ServerDialog) -> int:
        chosen.append(dialog.model_id)
        dialog.address_edit.setText("http://127.0.0.1:8000/v1#m")
        return 1

    monkeypatch.setattr(ServerDialog, "exec", accept)
    _, dock = make_dock()
    box = dock.form.model_box
    assert box.model_id == "embedded"
    box.choose_server()
    assert box.model_id == "http://127.0.0.1:8000/v1#m"
    assert box.offered == ["embedded", "http://127.0.0.1:8000/v1#m"]
    box.choose_server()
    assert chosen == ["", "http://127.0.0.1:8000/v1#m"]
    monkeypatch.setattr(ServerDialog, "exec", lambda dialog: 0)
    box.model_id = "embedded"
    box.choose_server()
    assert box.model_id == "embedded"


def test_a_preferred_server_is_offered(make_dock: Make) -> None:
    from napari.settings import get_plugin_settings

    section = get_plugin_settings("napari-pathreason").pathreason
    section.model = "http://127.0.0.1:8000/v1#m"
    _, dock = make_dock()
    assert dock.form.model_box.model_id == "http://127.0.0.1:8000/v1#m"
    assert dock.session.preferences().troubles == ()

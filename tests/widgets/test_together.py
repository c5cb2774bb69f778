"""One question about several layers in the dock: what is shown of each, in one prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from napari_pathreason.exports import UsedModel, fingerprint, read_manifest
from napari_pathreason.types import Completion, Prompt
from napari_pathreason.viewer import files_of, slide_layer_data
from tests.widgets.conftest import FakePerformer
from tests.widgets.test_ask import ask_question

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
Array = NDArray[np.uint8]


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """What the model was shown."""
    shown: list[Prompt] = []
    generate = FakePerformer.generate

    def listen(self: Any, prompt: Prompt, *args: Any) -> Iterator[str | Completion]:
        shown.append(prompt)
        return generate(self, prompt, *args)

    monkeypatch.setattr(FakePerformer, "generate", listen)
    return shown


def test_selected_layers_are_compared_in_one_prompt(
    make_dock: Make, finish: Wait, marked_image: Array, prompts: list[Prompt], factory: Any
) -> None:
    viewer, dock = make_dock()
    one = viewer.add_image(marked_image, rgb=True, name="patient A")
    other = viewer.add_image(255 - marked_image, rgb=True, name="patient B")
    viewer.add_image(marked_image, rgb=True, name="not selected")
    viewer.layers.selection = {one, other}
    dock.session.inquiry.image = one
    ask_question(dock, "Which is darker?", "layers")
    dock.look()
    assert "2 layers in one question" in dock.form.region_note.text()
    finish(dock)
    (prompt,) = prompts
    first, second = prompt.pictures
    assert first.shape == second.shape
    assert first.mean() > 200 > 60 > second.mean()
    assert "patient" not in str(prompt.messages)
    (entry,) = dock.session.entries
    assert entry.image().name == "patient A"
    assert [view.slide for view in entry.result.views.views] == ["", "patient B"]
    dock.follow_button.click()
    finish(dock)
    assert all((a == b).all() for a, b in zip(*(p.pictures for p in prompts), strict=True))
    assert len(prompts[-1].messages) == 4


def test_what_was_compared_stands_in_the_manifest(
    make_dock: Make, finish: Wait, marked_image: Array, factory: Any, tmp_path: Path
) -> None:
    viewer, dock = make_dock()
    layers = []
    for name, pixels in (("a.png", marked_image), ("b.png", 255 - marked_image)):
        PIL.Image.fromarray(pixels).save(tmp_path / name)
        levels, attributes, _ = slide_layer_data(tmp_path / name)
        layers.append(viewer.add_image(levels, **attributes))
    viewer.layers.selection = {*layers}
    dock.session.inquiry.image = layers[0]
    ask_question(dock, "Which is darker?", "layers")
    finish(dock)
    dock.follow_button.click()
    finish(dock)
    for entry in dock.session.entries:  # the second shows both by its thread
        files = replace(files_of([entry]), model=lambda: UsedModel("fake", "", "cpu", ""))
        files.write(tmp_path / "run.json")
        (other,) = read_manifest(tmp_path / "run.json").others
        assert (other.name, other.slide.name) == ("b.png", "b.png")
        assert other.fingerprint == fingerprint(tmp_path / "b.png")
        assert str(tmp_path) not in (tmp_path / "run.json").read_text()
    assert len(dock.session.entries) == 2


def test_one_layer_alone_is_a_hint(make_dock: Make, marked_image: Array) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask_question(dock, "Which is darker?", "layers")
    assert not dock.busy
    assert "Select two image layers" in dock.answer.toPlainText()
    dock.form.task_box.choose("detection")
    dock.form.options_edit.setText("marker")
    dock.ask()
    assert "one region at a time" in dock.answer.toPlainText()

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from napari_pathreason.engine import result_to_dict
from napari_pathreason.geometry import Box, Region
from napari_pathreason.viewer import box_to_data, is_overlay, region_in_view

Make = Callable[..., tuple[Any, Any]]
Wait = Callable[[Any], None]
Array = NDArray[np.uint8]

PLACEMENTS: list[dict[str, Any]] = [
    {},
    {"scale": (0.5, 0.25), "units": ("um", "um")},
    {"scale": (2, 3), "translate": (100, -40), "affine": [[0, 1, 5], [-1, 0, 9], [0, 0, 1]]},
]


def ask_detection(dock: Any, finish: Wait, source: str = "layer", budget: Any = "native") -> None:
    dock.form.task_box.choose("detection")
    dock.form.options_edit.setText("marker")
    dock.form.region_box.choose(source)
    dock.form.budget_box.choose(budget)
    dock.ask()
    finish(dock)


def ask_question(dock: Any, question: str = "Is it magenta?", source: str = "layer") -> None:
    dock.form.task_box.choose("vqa")
    dock.form.question_edit.setPlainText(question)
    dock.form.region_box.choose(source)
    dock.ask()


def overlays(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if is_overlay(layer)]


@pytest.mark.parametrize("placed", PLACEMENTS)
def test_box_lies_on_the_marker(
    make_dock: Make, finish: Wait, marked_image: Array, placed: dict[str, Any]
) -> None:
    viewer, dock = make_dock()
    image = viewer.add_image(marked_image, rgb=True, **placed)
    region = viewer.add_shapes([box_to_data(Region(200, 80, 320, 256).box)], **placed)
    ask_detection(dock, finish, "shape")
    (overlay,) = overlays(viewer)
    assert overlay.features["label"].tolist() == ["region", "marker"]
    assert overlay.features["result"].tolist() == [1, 1]
    assert overlay.features["tokens"].tolist() == [80, 80]  # 10 x 8 tokens of 32 px
    outline, box = (np.asarray([overlay.data_to_world(p) for p in r]) for r in overlay.data)
    marker = np.asarray([image.data_to_world(p) for p in box_to_data(Box(320, 160, 80, 40))])
    pixel = float(
        np.abs(np.subtract(image.data_to_world((0, 0)), image.data_to_world((1, 1)))).max()
    )
    assert np.abs(box - marker).max() <= 1.5 * pixel
    assert outline == pytest.approx(np.asarray([region.data_to_world(p) for p in region.data[0]]))


def levels_of(image: Array) -> list[Array]:
    return [image, image[::2, ::2]]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("numpy", {"rgb": True}),
        ("rgba", {"rgb": True}),
        ("dask", {"rgb": True}),
        ("zarr", {"rgb": True}),
        ("pyramid", {"rgb": True, "multiscale": True}),
    ],
)
def test_any_image_layer(
    make_dock: Make, finish: Wait, marked_image: Array, kind: str, options: dict[str, Any]
) -> None:
    opaque = np.full((*marked_image.shape[:2], 1), 255, np.uint8)
    data = {
        "numpy": marked_image,
        "rgba": np.concatenate([marked_image, opaque], axis=2),
        "dask": da.from_array(marked_image, chunks=(100, 100, 3)),
        "zarr": zarr.array(marked_image, chunks=(100, 100, 3)),
        "pyramid": levels_of(marked_image),
    }[kind]
    viewer, dock = make_dock()
    viewer.add_image(data, **options)
    ask_detection(dock, finish)
    (entry,) = dock.session.entries
    (found,) = entry.result.detections
    assert found.box.corners == pytest.approx((320, 160, 400, 200), abs=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_single_channel_of_any_depth_is_answered(
    make_dock: Make, finish: Wait, messages: list[Any], dtype: Any
) -> None:
    viewer, dock = make_dock()
    values = np.random.default_rng(0).integers(0, 200, (128, 160)).astype(dtype)
    viewer.add_image(values)
    ask_question(dock)
    finish(dock)
    assert [entry.result.answer.text for entry in dock.session.entries] == ["yes"]
    assert messages == []


@pytest.mark.parametrize(
    ("where", "no_tissue"), [((0, 0, 160, 160), True), ((280, 120, 160, 128), False)]
)
def test_a_region_outside_tissue_is_said_beside_the_answer(
    make_dock: Make, finish: Wait, marked_image: Array, where: Any, no_tissue: bool
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    viewer.add_shapes([box_to_data(Region(*where).box)])
    ask_question(dock, source="shape")
    finish(dock)
    assert ("almost no tissue in this region" in dock.reliability.text) is no_tissue
    assert dock.reliability.text.startswith("No reliable answer" if no_tissue else "Uncertain")


def test_answer_rationale_and_account_are_shown(
    make_dock: Make, finish: Wait, marked_image: Array
) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask_question(dock)
    finish(dock)
    text = dock.answer.toPlainText()
    for part in ("Is it magenta?", "yes", "upper left: magenta", " tokens (", " %), "):
        assert part in text
    tip = dock.answer.document().find(" tokens (").charFormat().toolTip()
    assert "Mpx decoded" in tip  # the rest
    assert dock.history.count() == 1
    assert "yes" in dock.history.item(0).text()


def test_rationale_streams_before_the_end(
    make_dock: Make, qtbot: Any, finish: Wait, marked_image: Array, factory: Any
) -> None:
    factory.behaviour = "slow"
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask_question(dock)
    qtbot.waitUntil(lambda: "Writing" in dock.progress.label.text())
    assert dock.progress.bar.value() > 0
    assert not dock.ask_button.isEnabled()
    dock.cancel()
    finish(dock)
    assert dock.ask_button.isEnabled()


def test_what_the_model_sees_is_the_view(
    make_dock: Make, finish: Wait, marked_image: Array, factory: Any
) -> None:
    viewer, dock = make_dock(show=True)
    image = viewer.add_image(marked_image, rgb=True)
    viewer.scene.camera.center = (0, 180, 360)
    viewer.scene.camera.zoom = 6
    region = region_in_view(viewer, image)
    ask_detection(dock, finish, "view")
    assert dock.session.entries[0].result.region == region
    assert region.width < 600


def test_earlier_answers_can_be_chosen(make_dock: Make, finish: Wait, marked_image: Array) -> None:
    viewer, dock = make_dock()
    image = viewer.add_image(marked_image, rgb=True)
    shapes = viewer.add_shapes([box_to_data(Region(300, 140, 128, 96).box)])
    ask_detection(dock, finish, "shape")
    shapes.data = [box_to_data(Region(0, 0, 256, 128).box)]
    shapes.selected_data = {0}
    ask_detection(dock, finish, "shape")
    ask_question(dock)
    finish(dock)
    (overlay,) = overlays(viewer)
    assert overlay.features["result"].tolist() == [1, 1, 2, 3]

    dock.history.itemClicked.emit(dock.history.item(0))
    assert overlay.selected_data == {0, 1}
    assert viewer.layers.selection.active.name == overlay.name
    seen = region_in_view(viewer, image)
    assert seen.x <= 300 <= seen.x + seen.width
    assert "marker" in dock.answer.toPlainText()
    dock.history.itemClicked.emit(dock.history.item(2))
    assert overlay.selected_data == {3}
    assert "Is it magenta?" in dock.answer.toPlainText()


def test_deleted_overlay_comes_back(make_dock: Make, finish: Wait, marked_image: Array) -> None:
    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    ask_detection(dock, finish)
    viewer.layers.remove(overlays(viewer)[0].name)
    dock.history.itemClicked.emit(dock.history.item(0))
    (overlay,) = overlays(viewer)
    assert overlay.features["label"].tolist() == ["region", "marker"]


def test_layer_of_the_user_stays_active(make_dock: Make, finish: Wait, marked_image: Array) -> None:
    viewer, dock = make_dock()
    image = viewer.add_image(marked_image, rgb=True)
    ask_detection(dock, finish)
    ask_detection(dock, finish)
    assert viewer.layers.selection.active.name == image.name


def test_copied_json_is_that_of_the_engine(
    make_dock: Make, finish: Wait, marked_image: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qtpy.QtGui import QGuiApplication

    viewer, dock = make_dock()
    viewer.add_image(marked_image, rgb=True)
    assert not dock.copy_button.isEnabled()
    ask_detection(dock, finish)
    dock.copy_json()
    copied = json.loads(QGuiApplication.clipboard().text())
    assert copied == json.loads(json.dumps(result_to_dict(dock.session.entries[0].result)))
    assert copied["detections"][0]["label"] == "marker"

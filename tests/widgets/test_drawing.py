"""Draw, by the mouse on the canvas: one rectangle, and a click is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_pathreason.viewer import region_of, unwrapped


def drag(canvas: Any, start: QPoint, end: QPoint) -> None:
    QTest.mouseMove(canvas, start)
    QTest.mousePress(canvas, Qt.LeftButton, Qt.NoModifier, start)
    for part in (1, 2, 3, 4):
        QTest.mouseMove(canvas, start + (end - start) * part / 4)
        QTest.qWait(30)
    QTest.mouseRelease(canvas, Qt.LeftButton, Qt.NoModifier, end)
    QTest.qWait(100)


def test_draw_arms_one_rectangle(
    make_dock: Callable[..., tuple[Any, Any]], marked_image: NDArray[np.uint8]
) -> None:
    viewer, dock = make_dock(show=True)
    image = viewer.add_image(marked_image, rgb=True)
    canvas = unwrapped(viewer).window._qt_window._qt_viewer.canvas.native
    QTest.qWait(300)
    middle = canvas.rect().center()
    dock.form.draw_button.click()
    shapes = viewer.layers.selection.active
    QTest.mouseClick(canvas, Qt.LeftButton, Qt.NoModifier, middle)
    QTest.qWait(100)
    assert shapes.nshapes == 0  # a click is no region
    assert str(shapes.mode) == "add_rectangle"
    drag(canvas, middle - QPoint(60, 60), middle + QPoint(60, 60))
    assert shapes.nshapes == 1
    assert str(shapes.mode) == "select"
    assert shapes.selected_data == {0}
    assert dock.session.inquiry.source == "shape"
    first = region_of(unwrapped(viewer), viewer.layers[image.name].__wrapped__, "shape")
    assert first.width > 32
    drag(canvas, middle + QPoint(100, 100), middle + QPoint(150, 150))
    assert shapes.nshapes == 1  # it is not drawn on with
    dock.form.draw_button.click()
    drag(canvas, middle - QPoint(90, 90), middle - QPoint(20, 20))
    assert shapes.nshapes == 2
    assert shapes.selected_data == {1}

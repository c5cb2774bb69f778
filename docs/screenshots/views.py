"""A large field that is read as windows: the plan in the Token budget dock, then the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._stage import Stage, settle, wait_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

TILE, ACROSS = 96, 21
"""Side in px of the tiles that the sample of lymph node is laid of, and how many a field has."""
TUMOUR = (2, 1, 4, 4)
"""First row and column of its tumour in tiles, and the ends."""
LYMPHOCYTES = ((0, 2), (1, 0), (1, 1), (1, 2))
"""Rows and columns of those that the field is filled with."""
PLACES = ((5, 16), (17, 6))
"""Rows and columns of the field, in tiles, where tumour is put."""
PINNED, BANNED = (1600, 700), (300, 300)
"""Places in windows, level-0 pixels (x, y)."""
MPP = 0.97
TALL = (1280, 920)
"""Pixels of the window, for an answer with all that belongs to it."""


def composed(sample: NDArray[np.uint8], seed: int = 4) -> NDArray[np.uint8]:
    """A field of the sample's lymphocytes in any order, with its tumour at some places."""
    top, left, bottom, right = TUMOUR
    rng = np.random.default_rng(seed)
    normal = [sample[TILE * y : TILE * (y + 1), TILE * x : TILE * (x + 1)] for y, x in LYMPHOCYTES]
    field = np.empty((ACROSS * TILE, ACROSS * TILE, 3), np.uint8)
    for y in range(ACROSS):
        for x in range(ACROSS):
            tile = np.rot90(normal[rng.integers(len(normal))], rng.integers(4))
            field[TILE * y : TILE * (y + 1), TILE * x : TILE * (x + 1)] = tile
    tumour = sample[TILE * top : TILE * bottom, TILE * left : TILE * right]
    for y, x in PLACES:
        place = field[TILE * y : TILE * y + tumour.shape[0], TILE * x :]
        place[:, : tumour.shape[1]] = tumour
    return field


def _halved(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    quarters = pixels.reshape(height // 2, 2, width // 2, 2, 3)
    return quarters.mean(axis=(1, 3)).round().astype(np.uint8)


def play(stage: Stage) -> None:
    """Plan, pin one window and leave one out."""
    from napari_pathreason import Query

    stage.open_window("lymph_node")
    sample = np.asarray(stage.image.data[0] if stage.image.multiscale else stage.image.data)
    stage.viewer.layers.clear()
    levels = [composed(sample)]
    for _ in range(2):
        levels.append(_halved(levels[-1]))
    stage.image = stage.viewer.add_image(
        levels, rgb=True, name="composed", scale=(MPP, MPP), units=("um", "um")
    )
    stage.ask = stage.open_dock("Ask")
    settle(1.0)
    form = stage.ask.form
    form.model_box.model_id = stage.model
    form.region_box.choose("layer")
    form.fill(Query("detection", "", ("tumour",)))
    stage.budget = dock = stage.open_dock("Token budget", tabify=True)
    dock.tabs.setCurrentIndex(0)
    dock.policy_box.choose("surprise")
    dock.policy_box.activated.emit(0)
    form.budget_box.choose(512)
    settle(3.0)
    stage.viewer.reset_view()
    page = dock.views
    shown = stage.ask.session.windows.shown
    for place, button in ((BANNED, page.buttons.ban), (PINNED, page.buttons.pin)):
        page.pin_box.choose(256)
        page.table.clearSelection()
        page._pick([shown.place_at(*place)])
        button.click()
        settle(2.0)
    page.hover_line.setText(stage.ask.session.windows.shown.explain_place(*PINNED))
    settle(1.0)


def play_answer(stage: Stage) -> None:
    """Ask, and go to a window that the answer cites."""
    from qtpy.QtCore import QUrl

    dock = stage.ask
    stage.viewer.window.resize(*TALL)
    dock.parent().raise_()
    stage.front = dock.parent()
    dock.ask()
    wait_for(dock)
    settle(1.0)
    dock.answer.anchorClicked.emit(QUrl("place:0"))
    stage.viewer.reset_view()
    settle(2.0)

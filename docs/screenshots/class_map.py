"""One question over every tile of a large field, and the map of its answers."""

from __future__ import annotations

import numpy as np

from ._stage import Stage, settle, wait_for
from .views import MPP, TILE, composed

QUESTION, CHOICES = "Is there tumour in this field?", "yes, no"


def play(stage: Stage) -> None:
    """Ask it of all tiles of a composed field."""
    stage.open_window("lymph_node")
    sample = np.asarray(stage.image.data[0] if stage.image.multiscale else stage.image.data)
    stage.viewer.layers.clear()
    stage.image = stage.viewer.add_image(
        composed(sample), rgb=True, name="composed", scale=(MPP, MPP), units=("um", "um")
    )
    dock = stage.open_dock("Slide run")
    form = dock.form
    form.task_box.choose("vqa")
    form.question_edit.setText(QUESTION)
    form.options_edit.setText(CHOICES)
    form.mpp_box.setValue(MPP)
    form.tile_box.setValue(TILE)
    form.budget_box.choose(16)  # a tile is so small that a look at it first would cost as much
    form.model_box.model_id = stage.model
    form.folder_edit.setText(str(stage.scratch / "classes"))
    settle(1.0)
    dock.start()
    wait_for(dock, minutes=10)
    form.folder_edit.setText("runs")  # no path in a picture
    stage.viewer.reset_view()
    settle(2.0)

"""A run over the sample of skin in the Slide run dock, and its allocation map."""

from __future__ import annotations

from ._stage import Stage, settle, wait_for

MPP = 0.5
"""Fine enough for some tens of tiles on the sample, which is a small piece of a slide."""


def play(stage: Stage) -> None:
    """Run over the sample in a fresh window."""
    stage.open_window("skin")
    stage.slide_run = dock = stage.open_dock("Slide run")
    form = dock.form
    form.mpp_box.setValue(MPP)
    form.model_box.model_id = stage.model
    form.folder_edit.setText(str(stage.scratch / "runs"))
    dock.start()
    wait_for(dock)
    form.folder_edit.setText("runs")  # no path in a picture
    stage.viewer.reset_view()
    settle(1.0)


def play_map(stage: Stage) -> None:
    """Ban, raise and pin tiles, and pick some more."""
    from napari_pathreason.geometry import Box
    from napari_pathreason.viewer import PICKED_TILES, box_to_data, picks_of

    dock = stage.slide_run
    dock.tabs.setCurrentWidget(dock.map_view)
    plan = dock.runner.so_far.plan
    view, x, y = dock.map_view, plan.slide.width, plan.slide.height
    places = (
        (Box(0.3 * x, 0.05 * y, 0.2 * x, 0.15 * y), view.buttons.ban),
        (Box(0.35 * x, 0.4 * y, 0.1 * x, 0.3 * y), view.buttons.higher),
        (Box(0.6 * x, 0.55 * y, 0.15 * x, 0.1 * y), view.buttons.pin),
        (Box(0.52 * x, 0.75 * y, 0.2 * x, 0.15 * y), None),
    )
    for box, button in places:
        dock.pick()
        picks_of(stage.viewer, dock.form.image, PICKED_TILES).add_rectangles(box_to_data(box))
        settle(0.5)
        if button is not None:
            button.click()
    view.hover.setText(dock.runner.so_far.allocations.explain(view.picked[0]))
    settle(1.0)

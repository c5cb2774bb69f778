"""The scene of the Slide run dock: a run over the sample, its result, and the allocation map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (1280, 800)
MPP = 0.5
"""Fine enough for some tens of tiles on the sample, which is a small piece of a slide."""


def slide_run(
    output: Path,
    folder: Path,
    spec: str,
    settle: Callable[[float], None],
    photograph: Callable[[Any, Path], None],
) -> None:
    """Run over the sample in a window of its own; photograph result and allocation map.

    Parameters
    ----------
    output : Path
        Of the result; the map lies beside it as ``allocation_map.png``.
    folder : Path
        For the files of the run.
    spec : str
        Of the model.
    settle, photograph : callable
        Let Qt paint for some seconds; write a picture of the window.
    """
    import napari

    from napari_pathreason._geometry import Box
    from napari_pathreason.viewer import box_to_data, picks_of

    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    viewer.open_sample("napari-pathreason", "skin")
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Slide run")
    form = dock.form
    form.mpp_box.setValue(MPP)
    form.model_box.spec = spec
    form.folder_edit.setText(str(folder))
    dock.start()
    while dock.busy:
        settle(0.1)
    form.folder_edit.setText("runs")  # no path in a picture
    viewer.reset_view()
    settle(1.0)
    photograph(viewer, output)
    dock.tabs.setCurrentWidget(dock.map_view)
    plan = dock.runner.so_far.plan
    view, x, y = dock.map_view, plan.slide.width, plan.slide.height
    places = (
        (Box(0.3 * x, 0.05 * y, 0.2 * x, 0.15 * y), view.ban_button),
        (Box(0.35 * x, 0.4 * y, 0.1 * x, 0.3 * y), view.raise_button),
        (Box(0.6 * x, 0.55 * y, 0.15 * x, 0.1 * y), view.pin_button),
        (Box(0.52 * x, 0.75 * y, 0.2 * x, 0.15 * y), None),
    )
    for box, button in places:
        dock.pick()
        picks_of(viewer, form.image).add_rectangles(box_to_data(box))
        settle(0.5)
        if button is not None:
            button.click()
    dock.map_view.hover.setText(dock.runner.so_far.allocations.told(view.picked[0]))
    settle(1.0)
    picture = output.with_name("allocation_map.png")
    viewer.window.screenshot(str(picture), canvas_only=False, flash=False)
    # few colours here too, but none of the legend's may be lost
    few = Image.open(picture).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    few.save(picture, optimize=True)
    viewer.close()

"""Make the pictures of the documentation: python docs/make_screenshots.py [--theme light].

Opens napari on a virtual display, loads the sample slide, marks a region, asks, and writes
docs/images/ask.png and, beside it, budget.png, compare.png and history.png, then runs over the
whole sample for slide_run.png and allocation_map.png. With --scale 2 the display is twice as fine,
as at 200 % scaling. Needs Xvfb and the development dependencies.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from _screenshot_slide_run import slide_run
from PIL import Image
from pyvirtualdisplay import Display

SIZE = (1280, 800)
REGION = (1100, 700, 512, 512)
IMAGES = Path(__file__).parent / "images"


def main() -> None:
    """Take every picture."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--theme", default="dark", choices=["dark", "light"])
    options.add_argument("--task", default="vqa", choices=["vqa", "subtyping", "detection"])
    options.add_argument("--scale", type=int, default=1, help="2: as at 200 %% scaling")
    options.add_argument("--output", type=Path, default=IMAGES / "ask.png")
    chosen = options.parse_args()
    os.environ["QT_SCALE_FACTOR"] = str(chosen.scale)
    screen = (1600 * chosen.scale, 1000 * chosen.scale)
    with Display(visible=False, size=screen), tempfile.TemporaryDirectory() as folder:
        spec = model_spec(Path(folder))
        picture_of_the_dock(chosen.output, chosen.theme, chosen.task, spec)
        slide_run(chosen.output.with_name("slide_run.png"), Path(folder), spec, settle, photograph)


def model_spec(folder: Path) -> str:
    """The embedded model, or a tiny one of random weights where it is not installed."""
    from napari_pathreason.models._checkpoint import EMBEDDED
    from napari_pathreason.models._tiny import make_tiny_checkpoint

    if EMBEDDED.is_dir():
        return "embedded"
    return str(make_tiny_checkpoint(folder / "tiny"))


def picture_of_the_dock(output: Path, theme: str, task: str, spec: str) -> None:
    """Ask a question about a marked region of the sample and photograph the window."""
    import napari
    from napari.settings import get_settings

    from napari_pathreason._geometry import Box, Region
    from napari_pathreason.viewer import box_to_data, go_to, placement

    get_settings().appearance.theme = theme
    viewer = napari.Viewer(show=True)
    viewer.window.resize(*SIZE)
    (image,) = viewer.open_sample("napari-pathreason", "skin")
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Ask")
    region = Region(*REGION)
    shapes = viewer.add_shapes(
        [box_to_data(Box(*REGION))],
        name="regions",
        edge_color="black",
        face_color="transparent",
        edge_width=4,
        **placement(image),
    )
    shapes.selected_data = {0}
    settle(1.0)
    go_to(viewer, image, region, margin=0.3)
    dock.form.choose(dock.form.task_box, task)
    if task == "vqa":
        dock.form.question_edit.setPlainText("Are the nuclei dense or sparse?")
        dock.form.options_edit.setText("dense, sparse")
    else:
        dock.form.options_edit.setText("nucleus, hair follicle")
    dock.form.model_box.setEditText(spec)
    for rung in ("auto", 64):
        dock.form.choose(dock.form.budget_box, rung)
        dock.ask()
        wait_for(dock)
    if spec != "embedded":  # a name without a path
        dock.form.model_box.setEditText("random weights")
    shapes.visible = False
    settle(1.0)
    photograph(viewer, output)
    _, budget = viewer.window.add_plugin_dock_widget(
        "napari-pathreason", "Token budget", tabify=True
    )
    budget.pin(64)
    budget.preview()
    budget.grid_box.setChecked(True)
    settle(2.0)
    photograph(viewer, output.with_name("budget.png"))
    for layer in budget._layers:
        viewer.layers.remove(layer)
    budget.tabs.setCurrentWidget(budget.compare)
    budget.compare.compare()
    wait_for(budget.compare.runner, "running")
    settle(1.0)
    photograph(viewer, output.with_name("compare.png"))
    budget.tabs.setCurrentWidget(budget.history)
    settle(1.0)
    photograph(viewer, output.with_name("history.png"))
    viewer.close()


def photograph(viewer: Any, output: Path) -> None:
    """Write a picture of the whole window."""
    output.parent.mkdir(parents=True, exist_ok=True)
    viewer.window.screenshot(str(output), canvas_only=False, flash=False)
    # 256 colours: a third of the size, and nobody sees it
    Image.open(output).convert("RGB").quantize(256).save(output, optimize=True)


def settle(seconds: float) -> None:
    """Let Qt paint for a while."""
    from qtpy.QtTest import QTest

    QTest.qWait(int(seconds * 1000))


def wait_for(dock: Any, what: str = "busy") -> None:
    """Wait until the question of a dock has ended, at most two minutes."""
    for _ in range(1200):
        if not getattr(dock, what):
            return
        settle(0.1)
    raise SystemExit("no answer within two minutes")


if __name__ == "__main__":
    main()

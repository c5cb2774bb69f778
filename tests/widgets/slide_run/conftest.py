"""The Slide run dock with a model that finds magenta, on a slide of a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.geometry import Box
from napari_pathreason.viewer import SLIDE_KEY, LayerFrame, session_of

MARKERS = ((100, 90, 60, 40), (300, 250, 150, 30), (560, 20, 40, 40))
PINK, GLASS = (230, 160, 200), 250


@pytest.fixture
def markers() -> tuple[tuple[int, int, int, int], ...]:
    """(x, y, w, h); the second one lies over a seam."""
    return MARKERS


@pytest.fixture
def slide_file(tmp_path: Path) -> Path:
    """640 x 480 px of pink with magenta markers; the lower left corner is glass."""
    pixels = np.full((480, 640, 3), PINK, np.uint8)
    pixels[300:, :150] = GLASS
    for x, y, w, h in MARKERS:
        pixels[y : y + h, x : x + w] = (255, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "slide.tif")
    return tmp_path / "slide.tif"


@pytest.fixture
def dock(
    make_napari_viewer_proxy: Callable[..., Any],
    factory: Any,
    messages: list[tuple[str, str]],
    slide_file: Path,
    tmp_path: Path,
) -> Iterator[Any]:
    from napari_pathreason.widgets import SlideRunWidget

    viewer = make_napari_viewer_proxy()
    session = session_of(viewer)
    session.models_factory, session.describe = factory, lambda model_id: None
    (image,) = viewer.open(slide_file, plugin="napari-pathreason")
    dock = SlideRunWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Slide run")
    dock.form.slide_mpp_box.setValue(0.5)
    dock.form.mpp_box.setValue(0.5)
    dock.form.tile_box.setValue(192)
    dock.form.options_edit.setText("marker")
    dock.form.budget_box.setCurrentIndex(dock.form.budget_box.findData(16))
    dock.form.tissue_box.setValue(0.5)
    dock.form.folder_edit.setText(str(tmp_path / "dock"))
    yield dock
    dock.stop()
    image.metadata[SLIDE_KEY].close()


@pytest.fixture
def viewer(dock: Any) -> Any:
    return dock._viewer()


@pytest.fixture
def wait(dock: Any, qtbot: Any) -> Callable[[], None]:
    def until_shown() -> None:
        qtbot.waitUntil(lambda: not dock.busy, timeout=20_000)

    return until_shown


@pytest.fixture
def files_of() -> Callable[[Path], dict[str, Any]]:
    """Contents of the result files; of the manifest all but the time."""

    def contents(folder: Path) -> dict[str, Any]:
        names = ("findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif")
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["made"]
        return {"manifest": manifest, **{name: (folder / name).read_bytes() for name in names}}

    return contents


@pytest.fixture
def layer() -> Callable[[Any, str], Any]:
    """The only layer whose name starts so."""

    def named(viewer: Any, name: str) -> Any:
        (found,) = [layer for layer in viewer.layers if layer.name.startswith(name)]
        return found

    return named


@pytest.fixture
def boxes(layer: Callable[[Any, str], Any]) -> Callable[[Any], list[tuple[float, ...]]]:
    """(x, y, w, h) of the boxes shown, level-0 pixels."""

    def shown(viewer: Any) -> list[tuple[float, ...]]:
        rectangles = []
        for shape in layer(viewer, "lesions").data:
            (y1, x1), (y2, x2) = shape.min(axis=0) + 0.5, shape.max(axis=0) + 0.5
            rectangles.append((x1, y1, x2 - x1, y2 - y1))
        return sorted(rectangles)

    return shown


@pytest.fixture
def outline() -> Callable[[Any, Any, Any], Box]:
    """Outer edge of a picture layer in level-0 pixels of the image."""

    def edge(viewer: Any, shown: Any, image: Any) -> Box:
        height, width = shown.data.shape[:2]
        frame, over = LayerFrame.of(shown), LayerFrame.of(image)
        corners = [(-0.5, -0.5), (height - 0.5, width - 0.5)]
        points = over.world_to_slide(frame.data_to_world(corners))
        return Box.from_corners(*points[0], *points[1])

    return edge

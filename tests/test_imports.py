"""Each room, imported in a fresh process, loads nothing that it must not load."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "accelerate"}
GUI = {"napari", "qtpy", "magicgui", "PyQt6", "PySide6"}
FILES = {"tiffslide", "tifffile", "zarr", "dask", "PIL"}

ROOMS = {
    "napari_pathreason": HEAVY | GUI | FILES | {"numpy", "shapely"},
    "napari_pathreason.types": HEAVY | GUI | FILES | {"numpy"},
    "napari_pathreason.geometry": HEAVY | GUI | FILES | {"numpy"},
    "napari_pathreason.budgets": HEAVY | GUI | FILES | {"numpy"},
    "napari_pathreason.tasks": HEAVY | GUI | FILES | {"numpy"},
    "napari_pathreason.slides": HEAVY | GUI,
    "napari_pathreason.engine": HEAVY | GUI,
    "napari_pathreason.exports": HEAVY | GUI | FILES | {"jinja2", "shapely"},
    "napari_pathreason.models": HEAVY | GUI,
    "napari_pathreason.models.server": HEAVY | GUI | FILES | {"httpx2", "numpy"},
    "napari_pathreason.slide_run": HEAVY | GUI | FILES | {"skimage", "pydantic"},
    "napari_pathreason.training": GUI,
    "napari_pathreason.cli": HEAVY | GUI | FILES | {"numpy", "matplotlib"},
    "napari_pathreason.viewer": HEAVY | {"qtpy", "PyQt6", "PySide6"},
    "napari_pathreason.widgets": HEAVY,
    "napari_pathreason.reader": HEAVY,
}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_loads_only_what_it_may(room):
    code = f"import sys, {room}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & ROOMS[room]

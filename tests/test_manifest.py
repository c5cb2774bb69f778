from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatch
from typing import Any

import pytest
from npe2 import PluginManifest


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-pathreason")


def test_every_command_can_be_imported(manifest: PluginManifest) -> None:
    manifest.validate_imports()
    assert {c.id for c in manifest.contributions.commands or []} == {
        "napari-pathreason.read",
        "napari-pathreason.sample_lymph_node",
        "napari-pathreason.sample_blood",
        "napari-pathreason.sample_nuclei",
        "napari-pathreason.sample_skin",
        "napari-pathreason.ask",
        "napari-pathreason.budget",
        "napari-pathreason.slide_run",
        "napari-pathreason.answers",
        "napari-pathreason.read_geojson",
        "napari-pathreason.write_geojson",
        "napari-pathreason.write_csv",
    }


def test_no_keybindings(manifest: PluginManifest) -> None:
    assert not manifest.contributions.keybindings  # napari would ignore them


@pytest.mark.parametrize(
    "name",
    "svs tif tiff ome.tif ome.tiff ndpi scn bif zarr ome.zarr".split(),
)
def test_reader_claims(manifest: PluginManifest, name: str) -> None:
    (reader, objects) = manifest.contributions.readers or []
    assert objects.filename_patterns == ["*.geojson", "*.geojson.gz"]
    assert any(fnmatch(f"slide.{name}", pattern) for pattern in reader.filename_patterns)
    assert reader.accepts_directories  # OME-Zarr
    for other in ("png", "jpg"):  # napari's own: with two readers it would ask each time
        assert not any(fnmatch(f"a.{other}", pattern) for pattern in reader.filename_patterns)


def test_plugin_opens_without_torch() -> None:
    """Everything that napari imports of the plugin, in a fresh process."""
    code = """
import sys
from npe2 import PluginManifest
PluginManifest.from_distribution("napari-pathreason").validate_imports()
heavy = {"torch", "transformers", "accelerate"} & set(sys.modules)
assert not heavy, heavy
assert not any(name.startswith("napari_pathreason.training") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_dock_opens_from_the_menu(make_napari_viewer_proxy: Any) -> None:
    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-pathreason", "Ask")
    assert dock.ask_button.text() == "Ask"

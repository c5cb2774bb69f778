"""What the user set in napari's Preferences."""

from pathlib import Path

import pytest

from napari_pathreason.viewer import Compute, Preferences, checked, config_folder, preferences

pytestmark = pytest.mark.usefixtures("config_folder")


def section():
    from napari.settings import get_plugin_settings

    return get_plugin_settings("napari-pathreason").pathreason


def test_the_manifest_begins_with_our_defaults():
    assert preferences() == Preferences()
    assert set(section().model_dump()) == {
        "device",
        "encoder",
        "precision",
        "model",
        "offline",
        "threads",
        "effort",
        "zoom",
    }


def test_what_napari_stores_is_read_and_survives(config_folder: Path, tmp_path: Path):
    from napari.settings import _clear_plugin_settings_cache

    values = section()
    values.device, values.offline, values.threads = "cuda:1", True, 3
    values.effort, values.model, values.zoom = "high", str(tmp_path), False
    values.encoder, values.precision = "fast", "4bit"
    compute = Compute("cuda:1", 3, True, "fast", "4bit")
    expected = Preferences(compute, str(tmp_path), "high", False)
    assert preferences() == expected
    assert "cuda:1" in (config_folder / "napari-pathreason.yaml").read_text()
    _clear_plugin_settings_cache()  # as a new session does
    assert preferences() == expected


def test_napari_refuses_what_the_manifest_excludes():
    with pytest.raises(ValueError, match="threads"):
        section().threads = -1
    with pytest.raises(ValueError, match="effort"):
        section().effort = "huge"
    with pytest.raises(ValueError, match="encoder"):
        section().encoder = "quick"
    with pytest.raises(ValueError, match="precision"):
        section().precision = "8bit"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("device", "gpu", "Device is 'gpu'; auto is used"),
        ("device", "cuda:", "Device"),
        ("model", "/nowhere/at/all/secret.d", "Model is 'secret.d'; embedded is used"),
        ("threads", 4096, "CPU threads is 4096; 0 is used"),
        ("threads", True, "CPU threads"),
        ("offline", 1.5, "Offline"),
        ("encoder", "quick", "Encoder is 'quick'; exact is used"),
        ("effort", "huge", "Effort is 'huge'; balanced is used"),
        ("zoom", "maybe", "Zoom is 'maybe'; True is used"),
    ],
)
def test_a_bad_value_gives_way_and_is_named_with_its_remedy(key, value, message):
    result = checked({key: value})
    assert (result.compute, result.model, result.effort) == (Compute(), "embedded", "balanced")
    (line,) = result.troubles
    assert message in line
    assert "File > Preferences > PathReason" in line
    assert "/nowhere" not in line


@pytest.mark.parametrize("device", ["auto", "cpu", "mps", "cuda", "cuda:12", " cpu "])
def test_devices_of_all_kinds(device):
    assert checked({"device": device}) == Preferences(Compute(device.strip()))


@pytest.mark.parametrize("empty", ["", "  "])
def test_an_emptied_field_means_the_default(empty):
    assert checked({"device": empty, "model": empty, "effort": empty}) == Preferences()


def test_a_plugin_that_napari_does_not_know_has_defaults(monkeypatch):

    def unknown(plugin: str):
        raise KeyError(plugin)

    monkeypatch.setattr("napari.settings.get_plugin_settings", unknown)
    assert preferences() == Preferences()
    assert config_folder() is None


def test_the_environment_sets_preferences_too(monkeypatch):
    monkeypatch.setenv("NAPARI_PATHREASON_DEVICE", "mps")
    assert preferences().compute.device == "mps"

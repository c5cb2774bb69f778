"""Settings shared by all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# a busy machine must not turn a slow example into a failure
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture
def config_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Where napari keeps settings during a test: never where the user's own are."""
    from napari import settings as napari_settings

    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setattr(napari_settings, "_CFG_PATH", str(folder / "settings.yaml"))
    own = napari_settings.get_settings()
    users, own.config_path = own.config_path, folder / "settings.yaml"
    napari_settings._clear_plugin_settings_cache()
    yield folder
    napari_settings._clear_plugin_settings_cache()
    own.config_path = users

"""Settings shared by all tests."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test that tries to reach another machine, even where the failure is caught."""
    tried: list[Any] = []

    def refuse(*address: Any, **_: Any) -> Any:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert not tried

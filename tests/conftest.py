"""Settings shared by all tests."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.support.labelled import converted, few, labelled  # noqa: F401

# a busy machine must not turn a slow example into a failure
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where trained models are remembered during the tests: never where the user's own are."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATHREASON_HOME", str(folder))
        yield folder


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
def own_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path]:
    """Folders of settings and cache during a test, in place of the user's own."""
    config, cache = tmp_path_factory.mktemp("config"), tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.delenv("PATHREASON_API_KEY", raising=False)
    return config, cache


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


@pytest.fixture(scope="session")
def in_two_processes() -> Callable[..., str]:
    """Runs words by torchrun on two gloo processes; gives what they said.

    ``settings`` are added to the environment.
    """

    def run(*words: object, settings: dict[str, str] | None = None, timeout: int = 240) -> str:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        own = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        told = subprocess.run(
            [sys.executable, *launch, *map(str, words)],
            env=os.environ | (settings or {}) | own,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert told.returncode == 0, told.stderr[-3000:]
        return told.stdout

    return run

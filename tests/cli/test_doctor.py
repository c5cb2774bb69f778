from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import pytest

from napari_pathreason.cli import BINDINGS, LIBRARIES, find_display
from napari_pathreason.errors import ModelError
from napari_pathreason.types import Metadata


class Loaded:
    info = SimpleNamespace(name="embedded", metadata=Metadata(tissues=("lung", "blood")))

    class model:
        @staticmethod
        def num_parameters():
            return 7_900_000


@pytest.fixture
def well(monkeypatch):
    monkeypatch.setattr("napari_pathreason.models.load_performer", lambda *_: Loaded)


def test_a_healthy_installation(shell, well):
    done = shell("doctor")
    assert done.code == 0
    assert "embedded, 7.9 M parameters; trained on lung, blood" in done.out
    assert "MISSING" not in done.out
    for name in ("python", "torch", "transformers", "tiffslide", "device", "napari", "display"):
        assert name in done.out
    assert "Ready" in done.out


@pytest.mark.parametrize(
    ("there", "words"),
    [(True, "fast gains here"), (False, "fast gains nothing here: this processor has no units")],
)
def test_whether_a_fast_encoder_gains_is_said(shell, well, monkeypatch, there, words):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: there, raising=False)
    done = shell("doctor")
    assert done.code == 0
    assert words in done.out


@pytest.mark.parametrize(("there", "words"), [(True, "gains too"), (False, "is not installed")])
def test_whether_openvino_is_there_is_said(shell, well, monkeypatch, there, words):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("napari_pathreason.models._runtime.find_spec", lambda name: there or None)
    assert f"; openvino {words}" in shell("doctor").out


def test_a_missing_package_is_named_with_its_remedy(shell, well, monkeypatch):
    def found(name):
        if name == "imagecodecs":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("importlib.metadata.version", found)
    done = shell("doctor")
    assert done.code == 1
    assert "pip install imagecodecs" in done.out


def test_a_missing_model_is_named_with_its_remedy(shell, monkeypatch):
    def load(*_):
        raise ModelError("this installation has no embedded model; install a released wheel")

    monkeypatch.setattr("napari_pathreason.models.load_performer", load)
    done = shell("doctor")
    assert done.code == 1
    assert "no embedded model\n" in done.out
    assert "-> install a released wheel" in done.out


def test_a_broken_model_does_not_end_the_report(shell, monkeypatch):
    def load(*_):
        raise RuntimeError("/home/someone")

    monkeypatch.setattr("napari_pathreason.models.load_performer", load)
    done = shell("doctor")
    assert done.code == 1
    assert "display" in done.out
    assert "someone" not in done.out


def test_the_shell_needs_no_viewer(shell, well, monkeypatch):
    def missing(name):
        if name in ("napari", *BINDINGS):
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    done = shell("doctor")
    assert done.code == 0
    assert "napari-pathreason[napari]" in done.out


def test_two_qt_bindings_are_one_too_many(shell, well, monkeypatch):
    versions = {"PyQt6": "6", "PySide6": "6"}
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: versions.get(name) or version(name)
    )
    assert "pip uninstall PySide6" in shell("doctor").out


@pytest.fixture
def libraries(monkeypatch):
    there = set(LIBRARIES)
    monkeypatch.setattr(
        "ctypes.util.find_library", lambda name: f"lib{name}.so" if name in there else None
    )
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    return there


def test_a_display_is_found(libraries, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":7")
    assert find_display("linux") == ("DISPLAY=:7", "")
    assert find_display("darwin")[1] == ""


def test_no_display_has_a_remedy(libraries):
    assert "xvfb-run" in find_display("linux")[1]


def test_missing_libraries_are_named_by_their_package(libraries):
    libraries -= {"xcb-icccm", "EGL"}
    assert find_display("linux")[1] == "apt install libegl1 libxcb-icccm4"

"""What a child process is told to compute with."""

import os
import threading

import pytest
import torch

from napari_pathreason.errors import ModelError
from napari_pathreason.models import LoadedModels, ModelProcess
from napari_pathreason.models.process import Load, serve


class Told(Exception):
    pass


class Pipe:
    """Gives one `Load`; what the child says first ends it."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.asked = 0

    def receive(self):
        self.asked += 1
        if self.asked > 1:
            threading.Event().wait()
        return self.load

    def send(self, message: object) -> None:
        raise Told


@pytest.fixture
def begin(monkeypatch):
    """Begin a child's work in this process; gives what it saw when it loaded its model."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def begin(load: Load) -> tuple[str, str]:
        seen = []

        class Nobody:
            info, overview_budget = None, 0

        def load_models(model_id, device, encoder, precision, answers_only):
            seen.append((os.environ["HF_HUB_OFFLINE"], encoder))
            return LoadedModels(Nobody(), Nobody())

        with pytest.raises(Told):
            serve(Pipe(load), load_models)
        return seen[0]

    yield begin
    torch.set_num_threads(threads)


def test_threads_are_set_in_the_child_and_never_above_the_cores(begin, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    begin(Load("any", threads=2))
    assert torch.get_num_threads() == 2
    begin(Load("any", threads=64))
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    begin(Load("any"))
    assert torch.get_num_threads() == 1


def test_offline_is_said_before_anything_is_loaded(begin):
    assert begin(Load("any", offline=True)) == ("1", "exact")
    os.environ["HF_HUB_OFFLINE"] = "0"
    assert begin(Load("any", encoder="fast")) == ("0", "fast")


def test_an_offline_process_asks_no_hub(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with (
        ModelProcess("nobody/nothing", "cpu", offline=True) as process,
        pytest.raises(ModelError, match="not in the cache and offline is set"),
    ):
        process.ready()

"""A run that is killed, again and again, ends in the same files as one that is not."""

import random
import subprocess
import sys
import time

import pytest

from napari_pathreason import ExportError
from napari_pathreason.files import locked


@pytest.fixture
def start(spots, slide_path):
    """Start a run of about 80 tiles in a process of its own."""
    started = []

    def go(folder, delay=0.02):
        words = [sys.executable, spots.program, slide_path, folder, delay]
        process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


def size(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.slow
def test_killed_at_ten_random_moments(start, spots, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole, 0).wait() == 0
    moments = random.Random(0)
    journal = cut / "tiles.jsonl"
    for _ in range(10):
        process, before = start(cut), size(journal)
        while size(journal) == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.12))  # two groups at most
        process.kill()
        process.wait()
        # what is whole in the journal was not lost, and is not lost later
        kept = journal.read_bytes().rpartition(b"\n")[0]
        assert not (cut / "manifest.json").exists()
    assert kept
    assert start(cut).wait() == 0
    assert journal.read_bytes().startswith(kept)
    assert spots.files_of(cut) == spots.files_of(whole)


def test_two_processes_refuse_each_other(start, run, tmp_path):
    process, journal = start(tmp_path / "run", 0.2), tmp_path / "run" / "tiles.jsonl"
    while not size(journal):
        assert process.poll() is None
        time.sleep(0.01)
    (event,) = run()
    assert isinstance(event.error, ExportError)
    assert "another process is at work" in event.reason
    assert str(tmp_path) not in event.reason
    process.kill()
    process.wait()
    with locked(tmp_path / "run"):  # the lock went with its process
        second = start(tmp_path / "run")
        assert "another process is at work" in second.communicate()[1]
        assert second.returncode == 1

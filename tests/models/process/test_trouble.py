"""Trouble with the model's process: killed, deaf, unable to load or to start, closed."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest

from napari_pathreason.errors import ModelError
from napari_pathreason.models import ModelProcess, load_models
from napari_pathreason.types import Query

pytestmark = pytest.mark.skipif(os.name == "nt", reason="ends children by POSIX signals")


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def reaped(pid: int) -> bool:
    """Whether a child of this process has ended and left no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_a_child_killed_in_the_middle_is_reported_and_starts_anew(
    process, local, begin, check_it_works
):
    stream = begin(process.performer)
    next(stream)
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"signal 9.*ask again, it starts anew"):
        list(stream)
    check_it_works(process, local)
    assert process.pid != pid
    assert reaped(pid)


@pytest.mark.slow
def test_a_child_that_died_idle_leaves_no_zombie_and_starts_anew(process, local, check_it_works):
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: reaped(pid))
    # whoever reaps holds Popen's lock a moment longer, and until then it passes for running
    wait_until(lambda: process.pid is None)
    assert process.performer.info == local.info
    check_it_works(process, local)


@pytest.mark.slow
def test_a_child_that_does_not_answer_a_cancel_is_killed(process, local, begin, check_it_works):
    cancel = threading.Event()
    stream = begin(process.performer, cancel=cancel)
    pieces = [next(stream)]
    pid = process.pid
    os.kill(pid, signal.SIGSTOP)
    cancel.set()
    *rest, done = stream
    assert done.finish == "cancelled"
    assert done.text == "".join(pieces + rest)
    assert done.new_tokens == len(pieces + rest)
    assert reaped(pid)
    check_it_works(process, local)


def test_cancel_while_the_model_loads(talkative, local, ask, check_it_works):
    cancel = threading.Event()
    with ModelProcess(talkative, "cpu") as process:
        process.warm_up()
        pid = process.pid
        os.kill(pid, signal.SIGSTOP)
        cancel.set()
        assert ask(process.performer, cancel=cancel).finish == "cancelled"
        os.kill(pid, signal.SIGCONT)
        check_it_works(process, local)
        assert process.pid == pid
    assert reaped(pid)


@pytest.mark.slow
def test_loading_errors_cross_the_border_and_a_mended_folder_loads(talkative, tmp_path, ask):
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for file in talkative.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError) as here:
        load_models(folder, "cpu")
    with ModelProcess(folder, "cpu") as process:
        for use in (lambda: process.performer.info, lambda: ask(process.performer)):
            with pytest.raises(ModelError) as there:
                use()
            assert str(there.value) == str(here.value)
        (folder / "config.json").symlink_to(talkative / "config.json")
        assert process.performer.info.name == "spoilt"


def test_a_failure_while_warming_up_is_told_at_the_first_use(tmp_path):
    with ModelProcess(tmp_path, "cpu") as process:
        process.warm_up()
        pid = process.pid
        wait_until(lambda: process.pid is None)
        assert reaped(pid)
        with pytest.raises(ModelError, match=r"lacks config.json"):
            process.allocator.allocate(None, Query("vqa", "?"), 64, "low")


@pytest.mark.slow
def test_closing_ends_the_child_and_a_run(talkative, begin, ask):
    process = ModelProcess(talkative, "cpu")
    stream = begin(process.performer)
    next(stream)
    pid = process.pid
    process.close()
    process.close()
    assert reaped(pid)
    with pytest.raises(ModelError, match="closed while it was at work"):
        list(stream)
    with pytest.raises(ModelError, match="was closed; choose the model again"):
        ask(process.performer)


def test_letting_go_of_it_ends_the_child(tmp_path):
    process = ModelProcess(tmp_path, "cpu")
    process.warm_up()
    pid = process.pid
    del process
    gc.collect()
    assert reaped(pid)


@pytest.mark.parametrize(
    ("program", "message"),
    [("/no/such/python", "cannot be started"), ("/bin/false", "stopped with exit code 1")],
)
def test_a_process_that_cannot_run_is_named(monkeypatch, tmp_path, program, message):
    monkeypatch.setattr(sys, "executable", program)
    with (
        ModelProcess(tmp_path, "cpu") as process,
        pytest.raises(ModelError, match=message) as caught,
    ):
        process.performer.info  # noqa: B018
    assert "\n" not in str(caught.value)

"""The model in its own process. One child serves most tests; each leaves it fit for use."""

import gc
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_pathreason._errors import ModelError
from napari_pathreason._types import Allocation, Completion, GenerationSettings, Query
from napari_pathreason.models import ModelProcess, load_models
from napari_pathreason.models._allocator import AllocatorNet, PolicyAllocator, save_allocator

pytestmark = pytest.mark.skipif(os.name == "nt", reason="ends children by POSIX signals")

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}]
PIXELS = np.random.default_rng(5).integers(0, 256, (64, 96, 3), dtype=np.uint8)
ENDLESS = GenerationSettings(max_new_tokens=100_000)
NEVER = threading.Event()


@pytest.fixture(scope="module")
def process(talkative) -> Iterator[ModelProcess]:
    with ModelProcess(talkative, "cpu") as process:
        yield process


@pytest.fixture(scope="module")
def local(talkative):
    return load_models(talkative, "cpu").performer


def ask(performer, settings, cancel=NEVER, pixels=PIXELS) -> Completion:
    *pieces, last = performer.generate(pixels, MESSAGES, settings, cancel)
    assert isinstance(last, Completion)
    assert "".join(pieces) == last.text
    return last


def check_it_works(process, local):
    settings = GenerationSettings(max_new_tokens=12)
    assert ask(process.performer, settings).text == ask(local, settings).text


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


def test_the_model_says_the_same_of_itself_as_in_process(process, local):
    assert process.performer.info == local.info


@pytest.mark.parametrize("settings", [(60,), (60, 1.0, 1), (60, 1.0, 2)])
def test_the_child_writes_exactly_what_the_model_writes_in_process(process, local, settings):
    settings = GenerationSettings(*settings)
    ours, theirs = ask(process.performer, settings), ask(local, settings)
    assert ours.text == theirs.text
    assert (ours.prompt_tokens, ours.visual_tokens) == (theirs.prompt_tokens, 6)
    assert (ours.new_tokens, ours.finish) == (theirs.new_tokens, theirs.finish)


def test_the_allocator_is_served_too(process):
    assert process.allocator.overview_budget == 0
    assert process.allocator.allocate(None, Query("vqa", "?"), 64, "low") == Allocation(64, "fixed")


def test_a_learned_allocator_of_the_child_hears_of_the_effort(checkpoints, tmp_path):
    torch.manual_seed(0)
    folder = shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "model")
    learned = PolicyAllocator(AllocatorNet().eval())
    save_allocator(folder, learned)
    with ModelProcess(folder, "cpu") as process:
        assert process.allocator.overview_budget == learned.overview_budget
        for effort in ("low", "high"):
            given = process.allocator.allocate(PIXELS, Query("vqa", "?"), 64, effort)
            assert given == learned.allocate(PIXELS, Query("vqa", "?"), 64, effort)


def test_text_streams_and_an_answer_may_be_given_up(process, local):
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, NEVER)
    pieces = [next(stream) for _ in range(5)]
    stream.close()
    whole = ask(local, GenerationSettings(max_new_tokens=2000)).text
    assert whole.startswith("".join(pieces))
    pid = process.pid
    check_it_works(process, local)
    assert process.pid == pid


def test_cancel_reaches_the_child_which_stays(process, local):
    cancel = threading.Event()
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, cancel)
    for _ in range(3):
        next(stream)
    pid = process.pid
    cancel.set()
    *_, done = stream
    assert (done.finish, done.visual_tokens) == ("cancelled", 6)  # the child's own count
    check_it_works(process, local)
    assert process.pid == pid


def test_the_turn_is_over_when_the_end_is_told(process):
    stream = process.performer.generate(PIXELS, MESSAGES, GenerationSettings(3), NEVER)
    while not isinstance(next(stream), Completion):
        pass
    assert ask(process.performer, GenerationSettings(3)).new_tokens == 3  # stream is still held


def test_a_batch_is_answered_as_in_process(process, local):
    pictures = [PIXELS, PIXELS[::-1].copy(), 255 - PIXELS]
    settings = GenerationSettings(12)
    ours, theirs = (
        performer.generate_batch(pictures, [MESSAGES] * 3, settings, NEVER)
        for performer in (process.performer, local)
    )
    assert [replace(one, seconds=0) for one in ours] == [replace(one, seconds=0) for one in theirs]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_batch_can_be_cancelled_and_the_child_stays(process, when):
    process.performer.generate_batch([PIXELS], [MESSAGES], GenerationSettings(1), NEVER)
    pid, cancel = process.pid, threading.Event()
    if when == "before":
        cancel.set()
    else:
        threading.Timer(0.3, cancel.set).start()
    batch = process.performer.generate_batch([PIXELS] * 2, [MESSAGES] * 2, ENDLESS, cancel)
    assert [one.finish for one in batch] == ["cancelled"] * 2
    assert process.pid == pid


def test_cancel_before_the_start_writes_nothing(process):
    cancel = threading.Event()
    cancel.set()
    assert ask(process.performer, ENDLESS, cancel).text == ""


def test_threads_take_turns(process, local):
    texts: dict[int, str] = {}

    def work(seed: int) -> None:
        texts[seed] = ask(process.performer, GenerationSettings(30, 1.0, seed)).text

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {seed: ask(local, GenerationSettings(30, 1.0, seed)).text for seed in range(4)}


def test_a_second_answer_within_the_first_is_refused_and_harms_nothing(process):
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, NEVER)
    next(stream)
    with pytest.raises(ModelError, match="still answering"):
        ask(process.performer, ENDLESS)
    assert next(stream)
    stream.close()


def test_cancel_while_another_thread_has_the_turn(process):
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, NEVER)
    next(stream)
    cancel = threading.Event()
    ends: list[Completion] = []
    waiting = threading.Thread(target=lambda: ends.append(ask(process.performer, ENDLESS, cancel)))
    waiting.start()
    cancel.set()
    waiting.join(timeout=30)
    assert [end.finish for end in ends] == ["cancelled"]
    stream.close()


def test_a_wrong_request_is_one_line_and_the_child_stays(process, local):
    pid = process.pid
    with pytest.raises(ModelError, match="not whole cells of 32 px") as caught:
        ask(process.performer, ENDLESS, pixels=np.zeros((33, 64, 3), np.uint8))
    assert "\n" not in str(caught.value)
    check_it_works(process, local)
    assert process.pid == pid


def test_a_child_killed_in_the_middle_is_reported_and_starts_anew(process, local):
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, NEVER)
    next(stream)
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ModelError, match=r"signal 9.*ask again, it starts anew"):
        list(stream)
    check_it_works(process, local)
    assert process.pid != pid
    assert reaped(pid)


def test_a_child_that_died_idle_leaves_no_zombie_and_starts_anew(process, local):
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: reaped(pid))
    # whoever reaps holds Popen's lock a moment longer, and until then it passes for running
    wait_until(lambda: process.pid is None)
    assert process.performer.info == local.info
    check_it_works(process, local)


def test_a_child_that_does_not_answer_a_cancel_is_killed(process, local):
    cancel = threading.Event()
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, cancel)
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


def test_cancel_while_the_model_loads(talkative, local):
    cancel = threading.Event()
    with ModelProcess(talkative, "cpu") as process:
        process.warm_up()
        pid = process.pid
        os.kill(pid, signal.SIGSTOP)
        cancel.set()
        assert ask(process.performer, ENDLESS, cancel).finish == "cancelled"
        os.kill(pid, signal.SIGCONT)
        check_it_works(process, local)
        assert process.pid == pid
    assert reaped(pid)


def test_loading_errors_cross_the_border_and_a_mended_folder_loads(talkative, tmp_path):
    folder = tmp_path / "spoilt"
    folder.mkdir()
    for file in talkative.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError) as here:
        load_models(folder, "cpu")
    with ModelProcess(folder, "cpu") as process:
        for use in (lambda: process.performer.info, lambda: ask(process.performer, ENDLESS)):
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


def test_closing_ends_the_child_and_a_run(talkative):
    process = ModelProcess(talkative, "cpu")
    stream = process.performer.generate(PIXELS, MESSAGES, ENDLESS, NEVER)
    next(stream)
    pid = process.pid
    process.close()
    process.close()
    assert reaped(pid)
    with pytest.raises(ModelError, match="closed while it was at work"):
        list(stream)
    with pytest.raises(ModelError, match="was closed; choose the model again"):
        ask(process.performer, ENDLESS)


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

"""Answers of the model in its own process: streamed, batched, cancelled, refused."""

import os
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    AllocatorNet,
    ModelProcess,
    PolicyAllocator,
    WindowAllocator,
    new_weights,
    save_allocator,
    save_windows,
)
from napari_pathreason.types import Allocation, Completion, GenerationSettings, Prompt, Query

pytestmark = pytest.mark.skipif(os.name == "nt", reason="ends children by POSIX signals")


def test_the_model_says_the_same_of_itself_as_in_process(process, local):
    assert process.performer.info == local.info


@pytest.mark.parametrize("settings", [(60,), (60, 1.0, 1), (60, 1.0, 2)])
def test_the_child_writes_exactly_what_the_model_writes_in_process(process, local, settings, ask):
    settings = GenerationSettings(*settings)
    ours, theirs = ask(process.performer, settings), ask(local, settings)
    assert ours.text == theirs.text
    assert (ours.prompt_tokens, ours.visual_tokens) == (theirs.prompt_tokens, 6)
    assert (ours.new_tokens, ours.finish) == (theirs.new_tokens, theirs.finish)


def test_the_allocator_is_served_too(process):
    assert process.allocator.overview_budget == 0
    assert process.allocator.allocate(None, Query("vqa", "?"), 64, "low") == Allocation(64, "fixed")


@pytest.mark.slow
def test_a_learned_allocator_of_the_child_hears_of_the_effort(checkpoints, tmp_path, pixels):
    torch.manual_seed(0)
    folder = shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "model")
    learned = PolicyAllocator(AllocatorNet().eval())
    save_allocator(folder, learned)
    with ModelProcess(folder, "cpu") as process:
        assert process.allocator.overview_budget == learned.overview_budget
        for effort in ("low", "high"):
            given = process.allocator.allocate(pixels, Query("vqa", "?"), 64, effort)
            assert given == learned.allocate(pixels, Query("vqa", "?"), 64, effort)


@pytest.mark.slow
def test_windows_are_chosen_on_this_side(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "model")
    lambdas = {"low": 3.0, "balanced": 2.0, "high": 1.0}
    save_windows(folder, WindowAllocator(new_weights(), lambdas))
    with ModelProcess(folder, "cpu") as process:
        assert process.allocator.windows.lambdas == lambdas
        assert process.allocator.windows is process.allocator.windows


@pytest.mark.slow
def test_text_streams_and_an_answer_may_be_given_up(process, local, begin, ask, check_it_works):
    stream = begin(process.performer)
    pieces = [next(stream) for _ in range(5)]
    stream.close()
    whole = ask(local, GenerationSettings(max_new_tokens=2000)).text
    assert whole.startswith("".join(pieces))
    pid = process.pid
    check_it_works(process, local)
    assert process.pid == pid


def test_cancel_reaches_the_child_which_stays(process, local, begin, check_it_works):
    cancel = threading.Event()
    stream = begin(process.performer, cancel=cancel)
    for _ in range(3):
        next(stream)
    pid = process.pid
    cancel.set()
    *_, done = stream
    assert (done.finish, done.visual_tokens) == ("cancelled", 6)  # the child's own count
    check_it_works(process, local)
    assert process.pid == pid


def test_the_turn_is_over_when_the_end_is_told(process, begin, ask):
    stream = begin(process.performer, GenerationSettings(3))
    while not isinstance(next(stream), Completion):
        pass
    assert ask(process.performer, GenerationSettings(3)).new_tokens == 3  # stream is still held


def test_a_batch_is_answered_as_in_process(process, local, ask_together, pixels):
    pictures = [pixels, pixels[::-1].copy(), 255 - pixels]
    settings = GenerationSettings(12)
    ours, theirs = (
        ask_together(performer, pictures, settings) for performer in (process.performer, local)
    )
    assert [replace(one, seconds=0) for one in ours] == [replace(one, seconds=0) for one in theirs]


def test_several_pictures_reach_the_child_in_their_order(process, local, pixels):
    parts = [{"type": "image"}, {"type": "text", "text": "and"}, {"type": "image"}]
    pictures = (pixels, np.ascontiguousarray(255 - pixels[:32]))
    messages = [{"role": "user", "content": parts}]
    texts = []
    for performer in (process.performer, local):
        for shown in (pictures, pictures[::-1]):
            settings = GenerationSettings(12)
            *_, done = performer.generate(Prompt(shown, messages), settings, threading.Event())
            assert done.visual_tokens == 6 + 3
            texts.append(done.text)
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_batch_can_be_cancelled_and_the_child_stays(process, when, ask_together, pixels):
    ask_together(process.performer, [pixels], GenerationSettings(1))
    pid, cancel = process.pid, threading.Event()
    if when == "before":
        cancel.set()
    else:
        threading.Timer(0.3, cancel.set).start()
    batch = ask_together(process.performer, [pixels] * 2, cancel=cancel)
    assert [one.finish for one in batch] == ["cancelled"] * 2
    assert process.pid == pid


def test_cancel_before_the_start_writes_nothing(process, ask):
    cancel = threading.Event()
    cancel.set()
    assert ask(process.performer, cancel=cancel).text == ""


def test_threads_take_turns(process, local, ask):
    texts: dict[int, str] = {}

    def work(seed: int) -> None:
        texts[seed] = ask(process.performer, GenerationSettings(30, 1.0, seed)).text

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {seed: ask(local, GenerationSettings(30, 1.0, seed)).text for seed in range(4)}


def test_a_second_answer_within_the_first_is_refused_and_harms_nothing(process, begin, ask):
    stream = begin(process.performer)
    next(stream)
    with pytest.raises(ModelError, match="still answering"):
        ask(process.performer)
    assert next(stream)
    stream.close()


def test_cancel_while_another_thread_has_the_turn(process, begin, ask):
    stream = begin(process.performer)
    next(stream)
    cancel = threading.Event()
    ends: list[Completion] = []
    waiting = threading.Thread(target=lambda: ends.append(ask(process.performer, cancel=cancel)))
    waiting.start()
    cancel.set()
    waiting.join(timeout=30)
    assert [end.finish for end in ends] == ["cancelled"]
    stream.close()


def test_a_wrong_request_is_one_line_and_the_child_stays(process, local, ask, check_it_works):
    pid = process.pid
    with pytest.raises(ModelError, match="not whole tokens of 32 px") as caught:
        ask(process.performer, pixels=np.zeros((33, 64, 3), np.uint8))
    assert "\n" not in str(caught.value)
    check_it_works(process, local)
    assert process.pid == pid

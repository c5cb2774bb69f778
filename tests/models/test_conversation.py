"""A follow-up question: the words of a whole reading, though the pictures were read once."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from napari_pathreason.models import VLMPerformer, load_performer
from napari_pathreason.tasks import conversation
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Query, Turn
from tests.support import make_tiny_checkpoint

FIRST, SECOND = Query("vqa", "Is there tumour?", ("yes", "no")), Query("vqa", "Why?")
KINDS = ("qwen3_vl", "qwen2_5_vl", "qwen3_5")


@pytest.fixture(scope="module", params=KINDS)
def performer(request, checkpoints, tmp_path_factory):
    folder = checkpoints.get(request.param)
    if folder is None:
        folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "t", request.param)
    return load_performer(folder, "cpu")


def pictures(performer, *sizes, seed=0):
    side, rng = performer.info.dims.token_px, np.random.default_rng(seed)
    return tuple(
        rng.integers(0, 256, (rows * side, columns * side, 3), np.uint8) for rows, columns in sizes
    )


def answer(performer, shown, turns=(), query=SECOND, most=12):
    captions = [f"Window {n}." for n in range(len(shown))] if len(shown) > 1 else ()
    prompt = Prompt(shown, conversation(turns, query, captions))
    *_, last = performer.generate(prompt, GenerationSettings(most), threading.Event())
    assert isinstance(last, Completion)
    return last


def words_and_tokens(done):
    return done.text, done.prompt_tokens, done.visual_tokens, done.new_tokens


def whole(performer):
    """The same weights, of which nothing is ever kept."""
    return VLMPerformer(
        performer.model, performer.tokenizer, performer.info, performer.normalisation
    )


def encoded(performer):
    """Counts passes of the vision encoder."""
    passes = []
    hook = performer.model.model.visual.register_forward_hook(lambda *_: passes.append(1))
    return passes, hook


@pytest.mark.parametrize("sizes", [[(2, 3)], [(1, 5), (3, 2)]])
def test_a_follow_up_equals_a_whole_reading_and_reads_its_pictures_once(performer, sizes):
    shown = pictures(performer, *sizes)
    passes, hook = encoded(performer)
    try:
        first = answer(performer, shown, query=FIRST)
        turns = (Turn(FIRST, first.text),)
        second = answer(performer, shown, turns)
        third_turns = (*turns, Turn(SECOND, second.text))
        third = answer(performer, shown, third_turns, FIRST)
    finally:
        hook.remove()
    assert first.cached_tokens == first.cached_visual_tokens == 0
    visual = sum(rows * columns for rows, columns in sizes)
    assert second.visual_tokens == third.visual_tokens == visual
    again = whole(performer)
    for done, so_far, query in ((second, turns, SECOND), (third, third_turns, FIRST)):
        other = answer(again, shown, so_far, query)
        assert words_and_tokens(done) == words_and_tokens(other)
        assert other.cached_tokens == 0
    if performer.info.family == "qwen3_5":  # what it wrote cannot be taken back: it is read anew
        return
    assert len(passes) == 1
    assert second.cached_visual_tokens == third.cached_visual_tokens == visual
    assert first.prompt_tokens <= second.cached_tokens < second.prompt_tokens
    assert second.cached_tokens < third.cached_tokens < third.prompt_tokens


def test_what_was_said_otherwise_is_read_from_there_on(performer):
    shown = pictures(performer, (2, 2))
    first = answer(performer, shown, query=FIRST)
    turns = (Turn(FIRST, f"{first.text[:3]} and something else"),)
    done = answer(performer, shown, turns)
    assert words_and_tokens(done) == words_and_tokens(answer(whole(performer), shown, turns))


@pytest.mark.parametrize("between", ["picture", "question", "batch", "cancelled"])
def test_what_came_between_is_not_taken_for_the_same(performer, between):
    shown, others = pictures(performer, (2, 2)), pictures(performer, (2, 2), seed=1)
    first = answer(performer, shown, query=FIRST)
    turns = (Turn(FIRST, first.text),)
    asked = shown
    if between == "picture":
        asked = others
    elif between == "question":
        answer(performer, others, query=FIRST)
    elif between == "batch":
        prompt = Prompt(others, conversation((), FIRST))
        performer.generate_batch([prompt], GenerationSettings(3), threading.Event())
    else:
        cancel = threading.Event()
        cancel.set()
        prompt = Prompt(shown, conversation((), FIRST))
        list(performer.generate(prompt, GenerationSettings(3), cancel))
    done = answer(performer, asked, turns)
    assert done.cached_tokens == 0
    assert words_and_tokens(done) == words_and_tokens(answer(whole(performer), asked, turns))


def test_a_question_by_itself_is_always_read_whole(performer):
    shown = pictures(performer, (2, 2))
    answers = [answer(performer, shown, query=FIRST) for _ in range(2)]
    assert [one.cached_tokens for one in answers] == [0, 0]
    assert words_and_tokens(answers[0]) == words_and_tokens(answers[1])


def test_a_model_that_holds_no_conversation_keeps_nothing(performer):
    kept = whole(performer)
    shown = pictures(performer, (2, 2))
    first = answer(kept, shown, query=FIRST)
    assert answer(kept, shown, (Turn(FIRST, first.text),)).cached_tokens == 0
    assert replace(performer.info, metadata=None).converses

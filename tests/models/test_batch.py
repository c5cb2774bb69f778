"""Pictures answered together are answered as each would be by itself."""

import threading

import numpy as np
import pytest
import torch

from napari_pathreason.engine import BatchPerformer
from napari_pathreason.models import FeatureHook, load_performer
from napari_pathreason.types import Completion, GenerationSettings, Prompt

MESSAGES = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many nuclei?"}]}
]


@pytest.fixture(scope="module")
def performers(checkpoints):
    return {family: load_performer(folder, "cpu") for family, folder in checkpoints.items()}


@pytest.fixture
def performer(performers, family):
    return performers[family]


@pytest.fixture
def pictures(performer):
    token_px = performer.info.dims.token_px
    drawn = np.random.default_rng(0).integers(0, 256, (3, 3 * token_px, 5 * token_px, 3))
    return list((drawn * np.array([1, 0.5, 0.1]).reshape(3, 1, 1, 1)).astype(np.uint8))


def asked(pictures):
    return [Prompt((pixels,), MESSAGES) for pixels in pictures]


def one(performer, pixels, settings):
    *_, last = performer.generate(Prompt((pixels,), MESSAGES), settings, threading.Event())
    assert isinstance(last, Completion)
    return last


@pytest.mark.parametrize("temperature", [0, 1])
def test_as_by_themselves(performer, pictures, temperature):
    assert isinstance(performer, BatchPerformer)
    settings = GenerationSettings(max_new_tokens=60, temperature=temperature, seed=3)
    alone = [one(performer, pixels, settings) for pixels in pictures]
    together = performer.generate_batch(asked(pictures), settings, threading.Event())
    assert len({answer.text for answer in alone}) == 3  # else equality would say little
    for a, b in zip(alone, together, strict=True):
        assert (a.text, a.finish, a.new_tokens) == (b.text, b.finish, b.new_tokens)
        assert (a.prompt_tokens, a.visual_tokens) == (b.prompt_tokens, b.visual_tokens)
        for told, again in zip(a.written, b.written, strict=True):
            assert told.text == again.text
            assert told.choices[0][1] == pytest.approx(again.choices[0][1], abs=1e-3)


def test_as_with_another_number_of_threads(performer, pictures):
    settings = GenerationSettings(max_new_tokens=20)
    threads, told = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            told.append([one(performer, pixels, settings) for pixels in pictures])
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*told, strict=True):
        assert a.text == b.text
        for before, after in zip(a.written, b.written, strict=True):
            assert before.choices[0][1] == pytest.approx(after.choices[0][1], abs=1e-4)


def test_other_questions_of_other_pictures(performer, pictures):
    token_px = performer.info.dims.token_px
    pictures = [pictures[0], pictures[1][:token_px], pictures[2][:, : 2 * token_px], pictures[0]]
    words = ["How many nuclei?", "Is there tumour in this region of the slide?", "Why?", "Where?"]
    prompts = [
        Prompt(
            (pixels,),
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
        )
        for pixels, text in zip(pictures, words, strict=True)
    ]
    settings = GenerationSettings(max_new_tokens=40)
    together = performer.generate_batch(prompts, settings, threading.Event())
    for prompt, answer in zip(prompts, together, strict=True):
        *_, alone = performer.generate(prompt, settings, threading.Event())
        assert (alone.text, alone.finish) == (answer.text, answer.finish)
        assert (alone.prompt_tokens, alone.new_tokens) == (answer.prompt_tokens, answer.new_tokens)
        assert alone.visual_tokens == answer.visual_tokens


def test_cancelled_before_the_first_token(performer, pictures):
    cancel = threading.Event()
    cancel.set()
    answers = performer.generate_batch(asked(pictures), GenerationSettings(), cancel)
    assert [answer.finish for answer in answers] == ["cancelled"] * 3
    assert [answer.new_tokens for answer in answers] == [0] * 3


def test_cancelled_within_the_first_pass(performer, pictures):
    cancel = threading.Event()
    first = performer.model.model.visual.blocks[0]
    handle = first.register_forward_hook(lambda *_: cancel.set())
    try:
        answers = performer.generate_batch(asked(pictures), GenerationSettings(), cancel)
    finally:
        handle.remove()
    assert [(one.finish, one.new_tokens, one.text) for one in answers] == [("cancelled", 0, "")] * 3


def test_each_picture_has_its_own_look(performer, pictures):
    features = FeatureHook(performer.model.model.visual)
    try:
        settings = GenerationSettings(max_new_tokens=1)
        alone = []
        for pixels in pictures:
            one(performer, pixels, settings)
            alone.append(features.take())
        performer.generate_batch(asked(pictures), settings, threading.Event())
        patches = pictures[0].shape[0] * pictures[0].shape[1] // performer.info.dims.patch**2
        together = features.take_each([patches] * 3)
        assert np.allclose(alone, together, atol=1e-4)
        assert not np.allclose(alone[0], alone[1], atol=1e-2)
        assert features.take_each([patches] * 3) == []
    finally:
        features.close()

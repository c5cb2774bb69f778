"""Prompts of several pictures: the words of transformers' own generate, alone and in batches."""

import threading
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from napari_pathreason.models import (
    VISION_TOKENS,
    FeatureHook,
    VLMPerformer,
    batch_prompts,
    build_inputs,
    decode,
    load_performer,
    prompt_ids,
    rope_positions,
)
from napari_pathreason.types import Completion, GenerationSettings, OODScore, Prompt

SIZES = {1: [(2, 3)], 2: [(3, 2), (1, 5)], 3: [(1, 1), (4, 2), (2, 6)], 5: [(2, 2)] * 4 + [(7, 1)]}
"""(rows, columns) of visual tokens, by the number of pictures."""


@pytest.fixture(scope="module")
def performers(checkpoints):
    return {family: load_performer(folder, "cpu") for family, folder in checkpoints.items()}


@pytest.fixture
def performer(performers, family):
    return performers[family]


def asked(performer, sizes, captioned=True, seed=0):
    """A prompt of pictures of these sizes, with or without a text before each."""
    token_px = performer.info.dims.token_px
    rng = np.random.default_rng(seed)
    pictures = tuple(
        rng.integers(0, 256, (rows * token_px, columns * token_px, 3), dtype=np.uint8)
        for rows, columns in sizes
    )
    parts = []
    for number in range(len(sizes)):
        if captioned:
            parts.append({"type": "text", "text": f"Window {number + 1}."})
        parts.append({"type": "image"})
    parts.append({"type": "text", "text": "How many nuclei?"})
    return Prompt(pictures, [{"role": "user", "content": parts}])


def inputs_of(performer, prompt):
    return build_inputs(performer.tokenizer, performer.info.dims, prompt, performer.normalisation)


def suppressed(performer):
    return performer.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))


def answer(performer, prompt, most=40, **options):
    *pieces, last = performer.generate(
        prompt, GenerationSettings(most, **options), threading.Event()
    )
    assert isinstance(last, Completion)
    assert "".join(pieces) == last.text
    return last


@pytest.mark.parametrize("captioned", [True, False])
@pytest.mark.parametrize("count", SIZES)
def test_greedy_text_equals_that_of_transformers_own_generate(performer, count, captioned):
    prompt = asked(performer, SIZES[count], captioned)
    inputs = inputs_of(performer, prompt)
    theirs = performer.model.generate(
        **inputs, max_new_tokens=40, do_sample=False, suppress_tokens=suppressed(performer)
    )[0, inputs["input_ids"].shape[1] :]
    ours = answer(performer, prompt)
    assert ours.text == performer.tokenizer.decode(theirs, skip_special_tokens=True)
    assert ours.new_tokens == len(theirs)
    assert len(set(theirs.tolist())) > 5  # else equality would say little
    assert ours.visual_tokens == sum(rows * columns for rows, columns in SIZES[count])
    assert ours.prompt_tokens == inputs["input_ids"].numel()


@pytest.mark.parametrize("temperature", [0, 1])
def test_rows_of_a_batch_may_have_any_number_of_pictures(performer, temperature):
    prompts = [asked(performer, sizes, seed=n) for n, sizes in SIZES.items()]
    prompts.append(asked(performer, SIZES[2], captioned=False, seed=9))
    options = {"temperature": temperature, "seed": 4}
    alone = [answer(performer, prompt, **options) for prompt in prompts]
    together = performer.generate_batch(
        prompts, GenerationSettings(40, **options), threading.Event()
    )
    assert len({one.text for one in alone}) == len(prompts)
    for a, b in zip(alone, together, strict=True):
        assert (a.text, a.finish, a.new_tokens) == (b.text, b.finish, b.new_tokens)
        assert (a.prompt_tokens, a.visual_tokens) == (b.prompt_tokens, b.visual_tokens)


def test_the_cache_gives_what_a_pass_over_the_whole_text_gives(performer):
    inputs = inputs_of(performer, asked(performer, SIZES[3]))
    batch = batch_prompts([inputs], performer.info.dims.merge)
    steps = decode(performer.model, batch, GenerationSettings(), suppressed(performer), stops=())
    drawn = [one for step in islice(steps, 12) for one in step]
    whole = dict(inputs)
    ids = torch.tensor([[one.token for one in drawn]])
    whole["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
    whole["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, 12))
    with torch.no_grad():
        logits = performer.model(**whole).logits[0, inputs["input_ids"].shape[1] - 1 : -1].float()
    logits[:, suppressed(performer)] = -torch.inf
    for one, row in zip(drawn, logits.log_softmax(-1), strict=True):
        assert one.own == pytest.approx(float(row[one.token]), abs=1e-3)


def test_pictures_have_an_order(performer):
    prompt = asked(performer, [(2, 2), (2, 2)])
    swapped = Prompt(prompt.pictures[::-1], prompt.messages)
    assert answer(performer, prompt).text != answer(performer, swapped).text


GRIDS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=4)


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(1, 4), GRIDS), min_size=1), min_size=1, max_size=3))
def test_positions_are_those_of_transformers(performers, rows):
    """Rows of texts, each followed by pictures with a mark between them, padded on the right."""
    visual, grids = [], []
    for row in rows:
        kinds = []
        for words, pictures in row:
            kinds += [0] * words
            for height, width in pictures:
                kinds += [0] + [1] * (height * width) + [0]
                grids.append((height, width))
        visual.append(kinds)
    length = max(map(len, visual))
    padded = torch.tensor([kinds + [0] * (length - len(kinds)) for kinds in visual])
    mask = torch.tensor([[1] * len(kinds) + [0] * (length - len(kinds)) for kinds in visual])
    patches = torch.tensor([(1, 2 * h, 2 * w) for h, w in grids]).reshape(-1, 3)
    ours = rope_positions(visual, grids)
    for performer in performers.values():
        theirs, _ = performer.model.model.get_rope_index(
            torch.zeros_like(padded),
            mm_token_type_ids=padded,
            image_grid_thw=patches,
            attention_mask=mask,
        )
        for at, own in enumerate(ours):
            assert torch.equal(own, theirs[:, at, : own.shape[1]])


@pytest.mark.parametrize(
    ("grids", "match"), [([(2, 2)], "4 x 1|2 x 2"), ([(1, 3), (1, 1)], "1 pictures have no")]
)
def test_pictures_that_do_not_fit_their_tokens_are_refused(grids, match):
    with pytest.raises(ValueError, match=match):
        rope_positions([[0, 1, 1, 1, 0]], grids)


def test_the_next_position_goes_on_behind_the_last_picture(performer):
    """A picture moves what follows by its longer side only, each of them."""
    prompt = asked(performer, SIZES[3])
    inputs = inputs_of(performer, prompt)
    batch = batch_prompts([inputs], performer.info.dims.merge)
    text = int((inputs["mm_token_type_ids"] == 0).sum())
    assert batch.next_positions.tolist() == [text + 1 + 4 + 6]


def test_a_prompt_without_pictures_and_a_wrong_count_are_refused(performer):
    one = asked(performer, SIZES[1])
    with pytest.raises(ValueError, match="0 pictures"):
        answer(performer, Prompt((), one.messages))
    with pytest.raises(ValueError, match="1 image parts for 2"):
        answer(performer, Prompt(one.pictures * 2, one.messages))
    with pytest.raises(ValueError, match="2 image parts for 1"):
        performer.generate_batch(
            [Prompt(one.pictures, asked(performer, SIZES[2]).messages)],
            GenerationSettings(),
            threading.Event(),
        )


def test_a_template_that_leaves_a_picture_out_is_refused(performer):
    template = performer.tokenizer.chat_template
    only_first = template.replace("part.type == 'image'", "part.type == 'image' and loop.first")
    assert only_first != template
    messages = asked(performer, SIZES[2], captioned=False).messages
    try:
        performer.tokenizer.chat_template = only_first
        with pytest.raises(ValueError, match="places 1 pictures where the prompt has 2"):
            prompt_ids(performer.tokenizer, messages, [6, 5])
    finally:
        performer.tokenizer.chat_template = template


class Furthest:
    """A detector whose score is the mean of the colours; keeps what it was told."""

    def __init__(self):
        self.told = []

    def assess(self, features, colours, detail, tokens, words):
        self.told.append((features, tokens, words))
        return None if tokens < 3 else OODScore(float(colours[:3].mean()), (), str(tokens))


def test_each_picture_is_held_against_the_training_images_and_the_furthest_is_told(performer):
    hook, detector = FeatureHook(performer.model.model.visual), Furthest()
    try:
        watched = VLMPerformer(
            performer.model,
            performer.tokenizer,
            performer.info,
            performer.normalisation,
            (hook, detector),
        )
        prompt = asked(performer, [(1, 1), (2, 3), (1, 4)])
        dark = tuple(p // n for n, p in zip((9, 1, 4), prompt.pictures, strict=True))
        prompt = Prompt(dark, prompt.messages)
        alone = [Prompt((p,), asked(performer, SIZES[1]).messages) for p in prompt.pictures]
        done = answer(watched, prompt, most=2)
        assert done.ood.reason == "4"  # the darkest of those that are large enough
        assert [tokens for _, tokens, _ in detector.told] == [1, 6, 4]
        together = detector.told.copy()
        scores = [answer(watched, one, most=2).ood for one in alone]
        for (seen, *_), (again, *_) in zip(together, detector.told[3:], strict=True):
            assert np.allclose(seen, again, atol=1e-4)
        assert done.ood.score == max(score.score for score in scores if score is not None)
        batch = watched.generate_batch(
            [alone[1], prompt, alone[0]], GenerationSettings(2), threading.Event()
        )
        assert [one.ood and one.ood.reason for one in batch] == ["6", "4", None]
    finally:
        hook.close()

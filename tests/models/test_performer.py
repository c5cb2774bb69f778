import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from napari_pathreason.errors import OutOfMemoryError
from napari_pathreason.models import VISION_TOKENS, TextStream, build_inputs, load_performer
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


def picture(performer, rows=3, columns=5, seed=0):
    token_px = performer.info.dims.token_px
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (rows * token_px, columns * token_px, 3), dtype=np.uint8)


def asked(pixels):
    return Prompt((pixels,), MESSAGES)


def answer(performer, settings, pixels=None, cancel=None):
    pixels = picture(performer) if pixels is None else pixels
    *pieces, last = performer.generate(asked(pixels), settings, cancel or threading.Event())
    assert isinstance(last, Completion)
    assert "".join(pieces) == last.text
    return last


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (9, 4)])
def test_greedy_text_equals_that_of_transformers_own_generate(performer, size):
    pixels = picture(performer, *size)
    inputs = build_inputs(
        performer.tokenizer, performer.info.dims, asked(pixels), performer.normalisation
    )
    suppressed = performer.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    theirs = performer.model.generate(
        **inputs, max_new_tokens=60, do_sample=False, suppress_tokens=suppressed
    )[0, inputs["input_ids"].shape[1] :]

    ours = answer(performer, GenerationSettings(max_new_tokens=60), pixels)

    assert ours.text == performer.tokenizer.decode(theirs, skip_special_tokens=True)
    assert ours.new_tokens == len(theirs)
    assert len(set(theirs.tolist())) > 5  # else equality would say little


@pytest.mark.filterwarnings("error::FutureWarning")
def test_the_cache_goes_by_the_name_that_transformers_has_for_it(performer):
    assert answer(performer, GenerationSettings(4)).new_tokens > 1


def test_an_answer_goes_on_from_the_beginning_that_is_given(performer):
    free = answer(performer, GenerationSettings(max_new_tokens=12))
    begin = "<think></think><answer>"
    given = answer(performer, GenerationSettings(max_new_tokens=12, begin=begin))
    assert given.text.startswith(begin)
    assert given.text != begin + free.text
    assert given.written[0].text == begin
    assert given.prompt_tokens > free.prompt_tokens
    assert given.new_tokens == 12
    joint, _ = performer.generate_batch(
        [asked(picture(performer))] * 2,
        GenerationSettings(max_new_tokens=12, begin=begin),
        threading.Event(),
    )
    assert joint.text == given.text


def test_counts_are_those_of_the_prompt_and_of_the_cells(performer):
    done = answer(performer, GenerationSettings(max_new_tokens=7))
    assert done.visual_tokens == 15
    inputs = build_inputs(
        performer.tokenizer,
        performer.info.dims,
        asked(picture(performer)),
        performer.normalisation,
    )
    assert done.prompt_tokens == inputs["input_ids"].numel()
    assert (done.finish, done.new_tokens) == ("length", 7)
    assert done.seconds > 0


def test_a_seed_fixes_the_text_and_another_changes_it(performer):
    hot = [GenerationSettings(40, 1.0, seed) for seed in (1, 1, 2)]
    one, again, other = (answer(performer, settings).text for settings in hot)
    assert one == again != other


def test_sampling_leaves_the_callers_random_state_alone(performer):
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    answer(performer, GenerationSettings(5, 1.0, 3))
    assert torch.rand(1) == expected


def test_two_answers_drawn_in_turn_do_not_disturb_each_other(performer):
    settings = GenerationSettings(max_new_tokens=30)
    pictures = picture(performer, 1, 9), picture(performer, 4, 4, seed=1)
    alone = [answer(performer, settings, pixels).text for pixels in pictures]

    streams = [performer.generate(asked(p), settings, threading.Event()) for p in pictures]
    ends: list[Completion | None] = [None, None]
    while None in ends:
        for i, stream in enumerate(streams):
            item = next(stream, None)
            ends[i] = item if isinstance(item, Completion) else ends[i]

    assert [end.text for end in ends if end] == alone


def test_an_answer_ends_at_the_end_of_its_turn(performer):
    settings = GenerationSettings(max_new_tokens=400, temperature=1.5)
    done = [answer(performer, GenerationSettings(400, 1.5, seed)) for seed in range(6)]
    stopped = [one for one in done if one.finish == "stop"]
    assert stopped, "no seed drew the end of turn"
    assert all(one.new_tokens < settings.max_new_tokens for one in stopped)
    assert not any("<|im_end|>" in one.text for one in stopped)


def test_vision_tokens_are_never_drawn(performer, monkeypatch):
    """The head is made to want them above all else, so that only the mask stands between."""
    ids = performer.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    drawn: list[int] = []
    push = TextStream.push

    def spy(self, token):
        drawn.append(token)
        return push(self, token)

    def crave(module, inputs, logits):
        logits[..., ids] += 50.0
        return logits

    monkeypatch.setattr(TextStream, "push", spy)
    handle = performer.model.lm_head.register_forward_hook(crave)
    try:
        for seed in range(50):
            answer(performer, GenerationSettings(12, 1.0, seed), picture(performer, 1, 1))
        answer(performer, GenerationSettings(12), picture(performer, 1, 1))
    finally:
        handle.remove()
    assert len(drawn) > 400
    assert not set(drawn) & set(ids)


def test_cancel_in_the_middle_ends_at_the_next_token(performer):
    cancel = threading.Event()
    stream = performer.generate(asked(picture(performer)), GenerationSettings(10_000, 1.0), cancel)
    pieces = [next(stream) for _ in range(3)]
    cancel.set()
    *rest, done = stream
    assert done.finish == "cancelled"
    assert done.text == "".join([*pieces, *rest])
    assert 3 <= done.new_tokens < 40


@pytest.mark.parametrize("part", ["visual", "language_model"])
def test_cancel_within_a_pass_ends_it_at_the_next_layer(performer, part):
    inner, cancel = getattr(performer.model.model, part), threading.Event()
    first, *others = getattr(inner, "blocks", None) or inner.layers
    ran = []
    handles = [first.register_forward_hook(lambda *_: cancel.set())]
    handles += [layer.register_forward_hook(lambda *_: ran.append(1)) for layer in others]
    try:
        done = answer(performer, GenerationSettings(), cancel=cancel)
    finally:
        for handle in handles:
            handle.remove()
    assert others
    assert not ran
    assert (done.finish, done.new_tokens, done.text) == ("cancelled", 0, "")
    assert answer(performer, GenerationSettings(4)).new_tokens == 4  # the model is as before


def test_a_flag_interrupts_only_its_own_thread(performer):
    cancel = threading.Event()
    cancel.set()
    with performer._interrupts.by(cancel), ThreadPoolExecutor(1) as pool:
        done = pool.submit(answer, performer, GenerationSettings(4)).result()
    assert done.new_tokens == 4


def test_cancel_before_the_start_runs_no_forward_pass(performer, monkeypatch):
    cancel = threading.Event()
    cancel.set()
    monkeypatch.setattr(type(performer.model.model), "forward", lambda *a, **k: pytest.fail("ran"))
    done = answer(performer, GenerationSettings(), cancel=cancel)
    assert (done.finish, done.new_tokens, done.text) == ("cancelled", 0, "")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
        ),
        MemoryError(),
    ],
)
def test_out_of_memory_names_the_remedy(performer, error):
    def fail(*args):
        raise error

    handle = performer.model.lm_head.register_forward_hook(fail)
    try:
        with pytest.raises(OutOfMemoryError, match="smaller budget"):
            answer(performer, GenerationSettings(3))
    finally:
        handle.remove()


def test_no_gradient_is_kept_and_the_grad_mode_does_not_leak(performer):
    stream = performer.generate(asked(picture(performer)), GenerationSettings(5), threading.Event())
    next(stream)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()

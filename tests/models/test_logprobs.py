import threading
from itertools import islice

import numpy as np
import pytest
import torch

from napari_pathreason.models import (
    VISION_TOKENS,
    LogprobsReader,
    SampledToken,
    batch_prompts,
    build_inputs,
    decode,
    load_performer,
)
from napari_pathreason.types import Completion, GenerationSettings, Prompt
from tests.support import byte_tokenizer

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Tumour?"}]}]
SAID = "<think>dark</think><answer>yes</answer>"


@pytest.fixture(scope="module")
def performer(checkpoints):
    return load_performer(checkpoints["qwen3_vl"], "cpu")


def _pixels(performer):
    token_px = performer.info.dims.token_px
    return np.random.default_rng(0).integers(
        0, 256, (2 * token_px, 3 * token_px, 3), dtype=np.uint8
    )


def _drawn(tokenizer, text):
    """Each letter drawn for certain, with the letter ``z`` beside it."""
    other = tokenizer("z")["input_ids"][0]
    return [
        SampledToken(i, torch.tensor([i, other]), torch.tensor([-0.1, -3.0]), torch.tensor(-0.1))
        for i in tokenizer(text)["input_ids"]
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_chances_are_those_of_a_forward_pass_over_the_whole_text(performer, temperature):
    inputs = build_inputs(
        performer.tokenizer,
        performer.info.dims,
        Prompt((_pixels(performer),), MESSAGES),
        performer.normalisation,
    )
    suppressed = performer.tokenizer.convert_tokens_to_ids(list(VISION_TOKENS))
    settings = GenerationSettings(temperature=temperature, seed=5)
    prompts = batch_prompts([inputs], performer.info.dims.merge)
    stream = decode(performer.model, prompts, settings, suppressed, stops=())
    drawn = [one for step in islice(stream, 12) for one in step]

    ids = torch.tensor([[one.token for one in drawn]])
    whole = dict(inputs)
    whole["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
    whole["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, 12))
    with torch.no_grad():
        logits = performer.model(**whole).logits[0, inputs["input_ids"].shape[1] - 1 : -1].float()
    logits[:, suppressed] = -torch.inf
    expected = logits.log_softmax(-1)
    for one, row in zip(drawn, expected, strict=True):
        assert one.own == pytest.approx(float(row[one.token]), abs=1e-3)
        assert len(one.beside) == 16
        assert torch.allclose(one.probabilities, row[one.beside], atol=1e-3)


def test_tokens_are_told_with_what_stood_beside_them():
    tokenizer = byte_tokenizer()
    written = LogprobsReader(tokenizer).read(_drawn(tokenizer, SAID))
    assert "".join(token.text for token in written) == SAID
    assert all(token.choices[1][0] == "z" for token in written)
    assert all(token.choices[0][1] == pytest.approx(-0.1) for token in written)


def test_nothing_drawn_tells_no_tokens():
    assert LogprobsReader(byte_tokenizer()).read([]) == ()


def test_a_token_drawn_against_all_likelihood_is_among_its_choices():
    tokenizer = byte_tokenizer()
    drawn = _drawn(tokenizer, SAID)
    rare = tokenizer("q")["input_ids"][0]
    at = SAID.index("yes")
    drawn[at] = drawn[at]._replace(token=rare, own=torch.tensor(-9.0))
    token = LogprobsReader(tokenizer).read(drawn)[at]
    assert token.text == "q"
    assert token.choices[token.chosen][1] == -9.0
    assert len(token.choices) == 3


def test_a_completion_tells_its_tokens(performer):
    """The head is made to want one text above all else."""
    ids = iter([*performer.tokenizer(SAID)["input_ids"], performer.tokenizer.eos_token_id])

    def crave(module, inputs, logits):
        logits[..., next(ids)] += 1000.0
        return logits

    handle = performer.model.lm_head.register_forward_hook(crave)
    try:
        *_, done = performer.generate(
            Prompt((_pixels(performer),), MESSAGES), GenerationSettings(60), threading.Event()
        )
    finally:
        handle.remove()
    assert isinstance(done, Completion)
    assert done.text == SAID
    assert "".join(token.text for token in done.written) == SAID
    assert all(token.choices[token.chosen][1] == pytest.approx(0) for token in done.written)

"""Groups of completions: shared reading changes nothing, seeds decide, no vision token is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from napari_pathreason.models import NORMALISATION, VISION_TOKENS, read_dims, stop_ids
from napari_pathreason.training.grpo import Actor, build_prompts, roll_out
from napari_pathreason.training.samples import Sample, View
from tests.support import make_tiny_checkpoint


def _view(seed, columns, rows, token_px):
    pixels = np.random.default_rng(seed).integers(0, 256, (token_px * rows, token_px * columns, 3))
    none = {"boxes": (), "areas": (), "lesions": (), "centres": (), "known": (), "nuclei": None}
    size = pixels.shape[1::-1]
    return View(pixels=pixels.astype(np.uint8), grid=(columns, rows), answer="", size=size, **none)


def _question(text, captions=()):
    views = [{"region": (0, 0, 8, 8), "caption": caption} for caption in captions]
    return Sample(image="x.png", task="vqa", question=text, views=views)


@pytest.fixture(scope="module", params=["qwen3_vl", "qwen2_5_vl"])
def checkpoint(request, tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), request.param)


@pytest.fixture
def ground(checkpoint):
    """Actor, prompts of four questions about two pictures and about both at once, tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint).eval()
    never = [tokenizer.convert_tokens_to_ids(token) for token in VISION_TOKENS]
    dims = read_dims(model.config.to_dict())
    first, second = _view(0, 2, 1, dims.token_px), _view(1, 1, 3, dims.token_px)
    prompts = build_prompts(
        [
            [(_question("A?"), first), (_question("A longer one?"), first)],
            [(_question("Z?"), second)],
            [(_question("Which?", ("Left.", "")), replace(first, parts=(first, second)))],
        ],
        tokenizer,
        dims,
        NORMALISATION[model.config.model_type],
    )
    return Actor(model, never), prompts, tokenizer


def _roll(ground, seed=0, group=4, longest=12):
    actor, prompts, tokenizer = ground
    random = torch.Generator().manual_seed(seed)
    stops = stop_ids(actor.model, tokenizer)
    return roll_out(actor, prompts, group, longest, stops, tokenizer.pad_token_id, random)


def test_no_vision_token_is_ever_drawn(ground):
    actor, _, tokenizer = ground
    never = torch.tensor([tokenizer.convert_tokens_to_ids(token) for token in VISION_TOKENS])
    with torch.no_grad():  # a model that wants nothing else
        actor.model.lm_head.weight[never] = 0
        actor.model.lm_head.weight[:, 0] = 0
        actor.model.lm_head.weight[never, 0] = 1e3
        actor.model.model.language_model.norm.weight[0] = 1e3
    drawn = _roll(ground)
    assert not torch.isin(drawn.tokens[drawn.mask], never).any()


def test_a_seed_decides_and_groups_differ(ground):
    one, same, other = _roll(ground, 1), _roll(ground, 1), _roll(ground, 2)
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.tokens[:, :4], other.tokens[:, :4])
    assert len(one.tokens) == 16
    assert len({tuple(row.tolist()) for row in one.tokens}) > 6


def test_a_completion_ends_at_its_stop_and_padding_follows(ground):
    actor, prompts, tokenizer = ground
    random = torch.Generator().manual_seed(0)
    pad = tokenizer.pad_token_id
    stops = set(range(0, 256, 2)) | {tokenizer.eos_token_id}  # about half of all tokens
    drawn = roll_out(actor, prompts, 8, 6, stops, pad, random)
    assert drawn.finished.any()
    for tokens, mask, finished in zip(drawn.tokens, drawn.mask, drawn.finished, strict=True):
        length = int(mask.sum())
        assert mask[:length].all()
        assert (tokens[length:] == pad).all()
        ended = [token in stops for token in tokens[:length].tolist()]
        assert not any(ended[:-1])
        assert ended[-1] == bool(finished)
        assert finished or length == drawn.tokens.shape[1]


def test_shared_reading_gives_the_probabilities_of_a_plain_pass(ground):
    actor, prompts, _ = ground
    drawn = _roll(ground)
    said = actor(prompts, drawn.tokens, drawn.mask, 4)
    for row in range(len(drawn.tokens)):
        question = row // 4
        shown = list(prompts.pictures[question])
        prompt = prompts.input_ids[question][prompts.attention_mask[question].bool()]
        length = int(drawn.mask[row].sum())
        written = drawn.tokens[row, :length]
        ids = torch.cat([prompt, written])[None]
        patches = prompts.image_grid_thw.prod(1).tolist()
        logits = actor.model(
            input_ids=ids,
            mm_token_type_ids=(ids == actor.model.config.image_token_id).long(),
            pixel_values=torch.cat([prompts.pixel_values.split(patches)[one] for one in shown]),
            image_grid_thw=prompts.image_grid_thw[shown],
        ).logits[0, len(prompt) - 1 : -1]
        logits[:, actor._suppressed] = -torch.inf
        probabilities = torch.distributions.Categorical(logits=logits)
        assert torch.allclose(said.log_p[row, :length], probabilities.log_prob(written), atol=1e-4)
        assert torch.allclose(said.entropy[row, :length], probabilities.entropy(), atol=1e-4)
        assert (said.log_p[row, length:] == 0).all()


def test_shared_reading_gives_the_gradients_of_single_completions(ground):
    actor, prompts, _ = ground
    drawn = _roll(ground, group=2, longest=5)
    weight = torch.randn(drawn.tokens.shape, generator=torch.Generator().manual_seed(3))

    def gradients(total):
        actor.zero_grad()
        total.backward()
        return {n: p.grad.clone() for n, p in actor.named_parameters() if p.grad is not None}

    shared = gradients((actor(prompts, drawn.tokens, drawn.mask, 2).log_p * weight).sum())
    halves = [
        (actor(prompts, drawn.tokens[i::2], drawn.mask[i::2], 1).log_p * weight[i::2]).sum()
        for i in range(2)
    ]
    single = gradients(sum(halves))
    assert shared.keys() == single.keys()
    assert all(torch.isfinite(g).all() for g in shared.values())
    largest = max(float(g.abs().max()) for g in single.values())
    assert all((shared[n] - single[n]).abs().max() < 1e-4 * largest for n in shared)
    assert {n for n, _ in actor.named_parameters()} == set(shared)


def test_a_process_that_others_need_goes_on_and_draws_the_same(ground):
    actor, prompts, tokenizer = ground
    stops, pad = set(range(256)), tokenizer.pad_token_id  # nearly all end at once

    def draw(may_end):
        random = torch.Generator().manual_seed(1)
        return roll_out(actor, prompts, 2, 6, stops, pad, random, may_end)

    asked = []
    alone, waiting = draw(bool), draw(lambda ended: asked.append(ended))
    length = alone.tokens.shape[1]
    assert asked == [at + 1 >= length for at in range(6)]
    assert length < 6 == waiting.tokens.shape[1]
    assert torch.equal(waiting.tokens[:, :length], alone.tokens)
    assert torch.equal(waiting.mask[:, :length], alone.mask)
    assert torch.equal(waiting.finished, alone.finished)
    assert not waiting.mask[:, length:].any()
    assert (waiting.tokens[:, length:] == pad).all()


def test_without_a_generator_the_likeliest_tokens_are_taken(ground):
    actor, prompts, tokenizer = ground
    drawn = roll_out(actor, prompts, 2, 6, {-1}, tokenizer.pad_token_id, None)
    assert torch.equal(drawn.tokens[0::2], drawn.tokens[1::2])
    assert drawn.mask.all()
    assert not drawn.finished.any()


def test_rows_that_are_computed_again_give_the_same_log_probabilities_and_gradients(ground):
    actor, prompts, _ = ground
    drawn = _roll(ground, group=2, longest=5)
    actor.model.gradient_checkpointing_enable({"use_reentrant": False})
    weight = torch.randn(drawn.tokens.shape, generator=torch.Generator().manual_seed(3))
    told = []
    for checkpointing in (False, True):
        one = Actor(actor.model, actor._suppressed, 1.0, checkpointing).eval()
        said = one(prompts, drawn.tokens, drawn.mask, 2)
        one.zero_grad()
        (said.log_p * weight).sum().backward()
        gradients = {n: p.grad.clone() for n, p in one.named_parameters()}
        told.append((said, gradients))
        assert not [m for m in one.modules() if m.training]
    (shared, plain), (again, spared) = told
    assert torch.allclose(shared.log_p, again.log_p, atol=1e-4)
    assert torch.allclose(shared.entropy, again.entropy, atol=1e-4)
    largest = max(float(g.abs().max()) for g in plain.values())
    assert all((plain[n] - spared[n]).abs().max() < 1e-4 * largest for n in plain)


def test_checkpointing_keeps_less_for_the_backward_pass(ground):
    actor, prompts, _ = ground
    drawn = _roll(ground, group=4, longest=12)
    actor.model.gradient_checkpointing_enable({"use_reentrant": False})
    kept = []
    for checkpointing in (False, True):
        held = 0

        def pack(tensor):
            nonlocal held
            held += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            Actor(actor.model, actor._suppressed, 1.0, checkpointing).eval()(
                prompts, drawn.tokens, drawn.mask, 4
            )
        kept.append(held)
    assert kept[1] < kept[0] / 2

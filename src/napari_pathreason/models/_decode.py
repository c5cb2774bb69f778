"""Decoding: prompts are read once, then each row grows by a token at a time on the key-value cache.

One loop serves a single answer, answers in a batch, and the completions of a rollout, which are
rows that begin with the same prompt. It is not ``model.generate``: the caller stops it between any
two tokens just by not asking for more, nothing runs on behind its back, and errors come out where
they happen. Greedy output equals that of ``model.generate``. Left out: beams, top-k and top-p,
repetition penalties (a checkpoint's own sampling defaults are not read).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from copy import copy
from functools import cache, partial
from inspect import signature
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from napari_pathreason.errors import ModelError
from napari_pathreason.types import GenerationSettings

from ._prompts import PromptBatch

BESIDE = 16
"""Likeliest tokens that are kept beside the one drawn, for the confidence of the choice."""
TURN_ENDS = ("<|im_end|>", "<end_of_turn>", "<turn|>", "<|eot_id|>", "<end_of_utterance>")
"""How chat templates end a turn: Qwen and InternVL, Gemma 3, Gemma 4, Llama, Idefics."""
BLOCK = 512
"""Words of the vocabulary that are summed up together where one is drawn."""


class Prefill(NamedTuple):
    """Prompts as they were read; those of one prompt stand together where it has several rows.

    ``cache`` holds their keys and values, ``attention`` int64 (rows, length) which of them count
    (None: all), ``last`` (rows, hidden) the state that the first token is drawn from, ``position``
    int64 (rows,) the place of that token, ``length`` the tokens of a padded prompt.
    """

    cache: Any
    attention: torch.Tensor | None
    last: torch.Tensor
    position: torch.Tensor
    length: int


def prefill(model: Any, prompts: PromptBatch, num_generations: int = 1) -> Prefill:
    """Read prompts, with room for ``num_generations`` answers to each.

    Parameters
    ----------
    model : transformers model of one of Qwen's families
    prompts : PromptBatch
        On the model's device.
    num_generations : int
        Rows of each prompt, which stand together.
    """
    mask = prompts.attention_mask if prompts.padded else None
    output = model.model(
        input_ids=prompts.input_ids,
        attention_mask=mask,
        position_ids=prompts.position_ids,
        use_cache=True,
        **_vision(model, prompts),
    )
    key_values = getattr(output, _cache_name())
    rows = torch.arange(len(prompts.lengths), device=prompts.input_ids.device)
    ends = torch.tensor(prompts.lengths, device=prompts.input_ids.device) - 1
    last, position = output.last_hidden_state[rows, ends], prompts.next_positions
    if num_generations > 1:
        rows_of_each = torch.arange(len(last), device=last.device)
        _take_rows(key_values, rows_of_each.repeat_interleave(num_generations))
        last, position = (x.repeat_interleave(num_generations, 0) for x in (last, position))
        mask = None if mask is None else mask.repeat_interleave(num_generations, 0)
    return Prefill(key_values, mask, last, position, prompts.input_ids.shape[1])


@cache
def _cache_name() -> str:
    """What models call their cache: ``past_key_values`` of old, which transformers 5.40 drops."""
    from transformers import Qwen3VLModel

    return "cache" if "cache" in signature(Qwen3VLModel.forward).parameters else "past_key_values"


def _vision(model: Any, prompts: PromptBatch) -> dict[str, Any]:
    """What the model is told of the pictures; each goes through the vision encoder once."""
    shown = [*chain.from_iterable(prompts.pictures)]
    if shown == [*range(len(prompts.image_grid_thw))]:
        return {"pixel_values": prompts.pixel_values, "image_grid_thw": prompts.image_grid_thw}
    features = model.model.get_image_features(
        prompts.pixel_values, prompts.image_grid_thw, return_dict=True
    )
    return {"mm_encoder_outputs": {"image": pick_pictures(features, shown)}}


def pick_pictures(features: Any, pictures: Sequence[int]) -> Any:
    """Features of pictures, as ``get_image_features`` gives them, once for each of ``pictures``."""
    picked = copy(features)
    picked.pooler_output = [features.pooler_output[i] for i in pictures]
    if "deepstack_features" in features:  # of Qwen3-VL
        picked.deepstack_features = [
            [layer[i] for i in pictures] for layer in features.deepstack_features
        ]
    return picked


def _take_rows(cache: Any, rows: torch.Tensor) -> None:
    """Let a cache hold these of its rows, some of them several times."""
    for layer in cache.layers:
        if hasattr(layer, "batch_select_indices"):
            layer.batch_select_indices(rows)
            continue
        for states in (layer.conv_states, layer.recurrent_states):  # of a running state
            states.update({place: state[rows] for place, state in states.items()})


def decode_step(model: Any, read: Prefill, tokens: torch.Tensor) -> torch.Tensor:
    """Hidden states (rows, tokens, hidden) of tokens (rows, tokens) that follow.

    The cache of ``read`` grows by them.
    """
    before, count = read.cache.get_seq_length() - read.length, tokens.shape[1]
    mask = None
    if read.attention is not None:
        behind = read.attention.new_ones((len(tokens), before + count))
        mask = torch.cat([read.attention, behind], 1)
    steps = torch.arange(before, before + count, device=tokens.device)
    output = model.model(
        input_ids=tokens,
        attention_mask=mask,
        position_ids=(read.position[:, None] + steps)[None].expand(3, -1, -1),
        use_cache=True,
        **{_cache_name(): read.cache},
    )
    hidden: torch.Tensor = output.last_hidden_state
    return hidden


def draw(
    logits: torch.Tensor, temperature: float = 1.0, numbers: torch.Tensor | None = None
) -> torch.Tensor:
    """A token for each row, int64 (rows,), on the device of the logits.

    Each row's distribution is summed up over the vocabulary, and its token is the first whose sum
    lies above the row's number: one random number goes to the device in place of the whole
    distribution coming from it, and a row depends on its own number alone, whatever rows stand
    beside it.

    Parameters
    ----------
    logits : float32 tensor (rows, vocabulary)
        Minus infinity for what must not be drawn.
    temperature : float
        The likeliest is taken at 0.
    numbers : float64 tensor (rows,), optional
        Uniform from 0 to 1, on any device; without them the likeliest is taken.
    """
    likeliest = logits.argmax(-1)
    if numbers is None or temperature <= 0:
        return likeliest
    rows, vocabulary = logits.shape
    weights = (logits - logits.gather(-1, likeliest[:, None])).div_(temperature).exp_()
    # first the block that the number falls into, then the token in it: a sum over a whole large
    # vocabulary costs several times as much
    blocks = functional.pad(weights, (0, -vocabulary % BLOCK)).view(rows, -1, BLOCK)
    exact = torch.float32 if logits.device.type == "mps" else torch.float64  # that one has no other
    sums = blocks.sum(-1).to(exact).cumsum(-1)
    at = numbers.to(exact).to(logits.device)[:, None] * sums[:, -1:]
    block = torch.minimum(torch.searchsorted(sums, at, right=True), _reaching_all(sums))
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks[torch.arange(rows, device=logits.device), block[:, 0]].to(exact).cumsum(-1)
    # sums that are rounded otherwise may leave the number behind the end of the block
    place = torch.minimum(
        torch.searchsorted(inside, at - before, right=True), _reaching_all(inside)
    )
    return (block * BLOCK + place)[:, 0]


def _reaching_all(sums: torch.Tensor) -> torch.Tensor:
    """Place of the last one that adds to a rising sum, int64 (rows, 1)."""
    return (sums < sums[:, -1:]).sum(-1, keepdim=True)


class DecodingStep(NamedTuple):
    """A step of all rows that are still in the batch, on the model's device.

    ``rows`` int64 (rows,) says which row of the prefill each is, ``tokens`` int64 (rows,) what was
    drawn, ``going`` bool (rows,) whether the row had not ended before; ``logits`` float32
    (rows, vocabulary) is what it was drawn from.
    """

    rows: torch.Tensor
    tokens: torch.Tensor
    going: torch.Tensor
    logits: torch.Tensor


def decode_rows(
    read: Prefill,
    step: Callable[[Prefill, torch.Tensor], torch.Tensor],
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    stops: Collection[int],
    *,
    temperature: float = 1.0,
    numbers: Iterator[torch.Tensor] | None = None,
    may_end: Callable[[bool], bool] = bool,
) -> Iterator[DecodingStep]:
    """Draw tokens for all rows, one each at a time, until all have ended.

    Each step is computed when it is asked for. Rows that have ended leave the batch once they are
    half of it: taking them out of the cache costs more than a few steps.

    Parameters
    ----------
    read : Prefill
        Used up by this.
    step : callable
        `decode_step` of the model.
    logits_of : callable
        Logits, float32 (rows, vocabulary), of states (rows, hidden); may be changed here.
    stops : collection of int
        Token ids that end a row.
    temperature : float
    numbers : iterator of float64 tensor (rows of the prefill,), optional
        Uniform numbers for each step, of all rows whether they have ended or not, so that none
        depends on another's end; see `draw`.
    may_end : callable
        Tells, given whether all rows have ended, whether to end: where other processes need this
        one's passes, it goes on with one row.
    """
    device = read.last.device
    ends = torch.tensor(sorted(stops), device=device)
    rows = torch.arange(len(read.last), device=device)
    ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
    hidden = read.last
    while True:
        logits = logits_of(hidden)
        own = None if numbers is None else next(numbers).to(device)[rows]
        tokens = draw(logits, temperature, own)
        going, ended = ~ended, ended | torch.isin(tokens, ends)
        left = len(rows) - int(ended.sum())
        over = may_end(not left)
        yield DecodingStep(rows, tokens, going, logits)
        if over:
            return
        if len(rows) > 1 and 2 * left <= len(rows):
            staying = (~ended).nonzero()[:, 0]
            if not left:  # one goes on for the others' sake
                staying = staying.new_zeros(1)
            _take_rows(read.cache, staying)
            attention = None if read.attention is None else read.attention[staying]
            read = read._replace(attention=attention, position=read.position[staying])
            rows, tokens, ended = rows[staying], tokens[staying], ended[staying]
        hidden = step(read, tokens[:, None])[:, -1]


class SampledToken(NamedTuple):
    """A token, and what stood beside it.

    ``beside`` int64 (kept,) are the likeliest ids, ``probabilities`` float32 (kept,) the logarithms
    of their probabilities at temperature 1, ``own`` float32 () that of the token itself; all on the
    model's device, so that a token that nobody asks about costs no transfer.
    """

    token: int
    beside: torch.Tensor
    probabilities: torch.Tensor
    own: torch.Tensor


@torch.inference_mode()
def decode(
    model: Any,
    prompts: PromptBatch,
    settings: GenerationSettings,
    suppressed: Sequence[int],
    stops: Collection[int],
    read_prompts: Callable[[], Prefill] | None = None,
) -> Iterator[list[SampledToken | None]]:
    """Answer prompts: the next token of each, until all have ended.

    Parameters
    ----------
    model : transformers model of one of Qwen's families
    prompts : PromptBatch
        On any device.
    settings : GenerationSettings
        ``max_new_tokens`` is the caller's to watch. The numbers of a seed are the same for every
        row, so that each is answered as it would be by itself.
    suppressed : sequence of int
        Token ids that are never drawn.
    stops : collection of int
        Token ids that end an answer.
    read_prompts : callable, optional
        Reads the prompts, in place of `prefill`, at the first token that is asked for.

    Yields
    ------
    list of SampledToken or None
        The next token of each prompt; None once it has ended.
    """

    def logits_of(hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = model.lm_head(hidden).float()
        logits[:, never] = -torch.inf
        return logits

    never = torch.tensor(suppressed, dtype=torch.int64, device=model.device)
    read = prefill(model, prompts.to(model.device)) if read_prompts is None else read_prompts()
    count = len(read.last)
    numbers = _same_for_all(settings.seed, count) if settings.temperature > 0 else None
    steps = decode_rows(
        read,
        partial(decode_step, model),
        logits_of,
        stops,
        temperature=settings.temperature,
        numbers=numbers,
    )
    for one in steps:
        yield _sampled(one, count)


def _same_for_all(seed: int, rows: int) -> Iterator[torch.Tensor]:
    """The random numbers of one answer, for each of ``rows``."""
    random = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand(1, generator=random, dtype=torch.float64).expand(rows)


def _sampled(step: DecodingStep, count: int) -> list[SampledToken | None]:
    """What was drawn, by the row of the prefill."""
    tokens = beside_of(step.logits, step.tokens)
    sampled: list[SampledToken | None] = [None] * count
    rows = torch.stack([step.rows, step.going.long()], 1).tolist()
    for one, (row, going) in zip(tokens, rows, strict=True):
        if going:
            sampled[row] = one
    return sampled


def beside_of(logits: torch.Tensor, tokens: torch.Tensor) -> list[SampledToken]:
    """Tokens with what stood beside them, one for each row.

    Parameters
    ----------
    logits : float32 tensor (rows, vocabulary)
    tokens : int64 tensor (rows,)

    Raises
    ------
    ModelError
        If a logit is no number, of which the likeliest would always be the first token.
    """
    whole = logits.logsumexp(-1, keepdim=True)
    if not bool(whole.isfinite().all()):
        raise ModelError(
            "what the model computes is no number (NaN): its files are damaged, or numbers of it "
            "are too large for its precision; fetch it again, or load it with --dtype float32"
        )
    values, beside = logits.topk(min(BESIDE, logits.shape[-1]))
    probabilities = values - whole
    own = logits.gather(-1, tokens[:, None])[:, 0] - whole[:, 0]
    return [
        SampledToken(token, beside[at], probabilities[at], own[at])
        for at, token in enumerate(tokens.tolist())
    ]


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end an answer: the checkpoint's own, and the end of a turn."""
    named = model.generation_config.eos_token_id
    ids = {*named} if isinstance(named, list) else {named}
    ends = {*map(tokenizer.convert_tokens_to_ids, TURN_ENDS)}
    # a word that it lacks has the id of what is unknown, which may be an end by its own right
    ids |= {tokenizer.eos_token_id} | (ends - {tokenizer.unk_token_id})
    return frozenset(ids - {None})

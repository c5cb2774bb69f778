"""The decoding loop for several questions, each about its own picture."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from napari_pathreason.types import GenerationSettings

from ._decode import SampledToken, draw
from ._inputs import ModelInputs


@torch.inference_mode()
def decode_batch(
    model: Any,
    inputs: Sequence[ModelInputs],
    settings: GenerationSettings,
    suppressed: Sequence[int],
    stops: Collection[int],
    merge: int,
) -> Iterator[list[SampledToken | None]]:
    """Draw tokens for all questions, one each at a time, until all have ended; see `decode`.

    Prompts are padded on the right, where no token of theirs sees it. Rows that have ended leave
    the batch once they are half of it: taking them out of the cache costs more than a few steps.

    Parameters
    ----------
    model : transformers model of either family
    inputs : sequence of ModelInputs
        Pictures may differ in size, prompts in length; equal ones waste nothing.
    settings : GenerationSettings
        Each row has its own random numbers from the same seed, as it has by itself.
    suppressed : sequence of int
        Token ids that are never drawn.
    stops : collection of int
        Token ids that end an answer.
    merge : int
        Patches a side of one visual token.

    Yields
    ------
    list of SampledToken or None
        The next token of each question; None once it has ended.
    """
    device = model.device
    lengths = torch.tensor([one["input_ids"].shape[1] for one in inputs])
    random = [torch.Generator().manual_seed(settings.seed) for _ in inputs]
    position = torch.tensor([_behind(one, merge) for one in inputs], device=device)
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).to(device, torch.int64)
    ends, place = lengths.unique(return_inverse=True)
    arguments: dict[str, Any] = {
        name: pad_sequence([one[name][0] for one in inputs], batch_first=True).to(device)
        for name in ("input_ids", "mm_token_type_ids")
    } | {
        name: torch.cat([one[name] for one in inputs]).to(device)
        for name in ("pixel_values", "image_grid_thw")
    }
    output = model(**arguments, attention_mask=mask, use_cache=True, logits_to_keep=ends - 1)
    logits, cache = output.logits[torch.arange(len(inputs)), place], output.past_key_values
    rows = list(range(len(inputs)))  # which question each row of the batch is
    ended = [False] * len(inputs)
    while True:
        tokens = []
        sampled: list[SampledToken | None] = [None] * len(inputs)
        for row, own in zip(rows, logits.float(), strict=True):
            one = draw(own, settings.temperature, suppressed, random[row])
            tokens.append(one.token)
            if not ended[row]:
                sampled[row] = one
                ended[row] = one.token in stops
        yield sampled
        going = [at for at, row in enumerate(rows) if not ended[row]]
        if not going:
            return
        if 2 * len(going) <= len(rows):
            indices = torch.tensor(going, device=device)
            cache.batch_select_indices(indices)
            mask, position = mask[indices], position[indices]
            rows, tokens = [rows[at] for at in going], [tokens[at] for at in going]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
        output = model(
            input_ids=torch.tensor(tokens, device=device)[:, None],
            position_ids=position[None, :, None].expand(3, -1, -1),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        logits, cache = output.logits[:, -1], output.past_key_values
        position = position + 1


def _behind(one: ModelInputs, merge: int) -> int:
    """Position of the first token behind a prompt: a picture moves it by its longer side only."""
    _, rows, columns = one["image_grid_thw"][0].tolist()
    rows, columns = rows // merge, columns // merge
    return int(one["input_ids"].shape[1] - rows * columns + max(rows, columns))

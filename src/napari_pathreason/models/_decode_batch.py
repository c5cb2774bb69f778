"""The decoding loop for several pictures of one size and one question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from napari_pathreason._types import GenerationSettings

from ._decode import Drawn, draw
from ._inputs import ModelInputs


@torch.inference_mode()
def decode_batch(
    model: Any,
    inputs: Sequence[ModelInputs],
    settings: GenerationSettings,
    suppressed: Sequence[int],
    merge: int,
) -> Iterator[list[Drawn]]:
    """Draw tokens for all pictures, one each at a time, without end; see `decode`.

    Prompts and grids are equal, so nothing is padded. A row whose answer has ended goes on being
    computed, and its tokens mean nothing: that costs less than taking it out of the cache.

    Parameters
    ----------
    model : transformers model of either family
    inputs : sequence of ModelInputs
        Of equal prompts and pictures of equal size.
    settings : GenerationSettings
        Each row has its own random numbers from the same seed, as it has by itself.
    suppressed : sequence of int
        Token ids that are never drawn.
    merge : int
        Patches a side of one visual token.

    Yields
    ------
    list of Drawn
        The next token of each row.
    """
    random = [torch.Generator().manual_seed(settings.seed) for _ in inputs]
    count = len(inputs)
    _, rows, columns = inputs[0]["image_grid_thw"][0].tolist()
    rows, columns = rows // merge, columns // merge
    position = inputs[0]["input_ids"].shape[1] - rows * columns + max(rows, columns)
    arguments: dict[str, Any] = {
        name: torch.cat([one[name] for one in inputs]).to(model.device)
        for name in ("input_ids", "mm_token_type_ids", "pixel_values", "image_grid_thw")
    }
    cache = None
    while True:
        output = model(**arguments, past_key_values=cache, use_cache=True, logits_to_keep=1)
        drawn = [
            draw(logits, settings.temperature, suppressed, own)
            for logits, own in zip(output.logits[:, -1].float(), random, strict=True)
        ]
        yield drawn
        cache = output.past_key_values
        arguments = {
            "input_ids": torch.tensor([[one.token] for one in drawn], device=model.device),
            "position_ids": torch.full((3, count, 1), position, device=model.device),
        }
        position += 1

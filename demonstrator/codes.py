"""Scales that are written into a model before its first step, so that it need not find them.

**Places.** Position embeddings resampled from another encoder are faint, and content drowns them:
a place could be read off a visual token no better than to a third of it, too little for the
corners of a thing as small as a token (demonstrator/experiments.md). Most directions of the vision
encoder's residual stream, and of what its merger writes, carry next to nothing. Some of them are
given to places.

**Counts.** Words of numbers begin as sines of their value out of a thousand, on which 7 and 14 are
all but one place, and training draws them together further: a few of them, as 7, 21, 46 and 61,
took the answers of all counts around. Counts are told apart by their ratio.

**The number of visual tokens** is said in the prompt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.training.objectives import Batch

from .losses import NUMBERS, count_scale, counts_to_write

PLACE_WAVES = 8
"""Sines along each side, from half a wave to what a table of places can hold."""
PLACE_AMPLITUDE = 0.5
"""Of each sine in the stream, whose other directions grow to 2 on average."""
PLACE_GAIN = 2.0
"""From the normalised stream to the visual token."""
COUNT_WAVES, COUNT_MOST = 16, 16.0
"""Sines, from half a wave to ``COUNT_MOST`` from no thing to a thousand: a tenth more is a quarter
of the shortest."""
COUNT_LENGTH = 0.5
"""Of the code; words of numbers are 0.3 long after training."""


def sines(values: torch.Tensor, width: int, most: float) -> torch.Tensor:
    """Sines and cosines of values, (values, width), of half a wave to ``most`` from 0 to 1."""
    waves = torch.logspace(math.log10(0.5), math.log10(most), width // 2)
    phase = 2 * math.pi * values[:, None] * waves[None]
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def on_grid(steps: torch.Tensor) -> torch.Tensor:
    """Of each place of a square grid, that of its row, then that of its column.

    Parameters
    ----------
    steps : float tensor (side, width)

    Returns
    -------
    float tensor (side * side, 2 * width)
        Places in reading order.
    """
    side = len(steps)
    rows, columns = steps[:, None].expand(side, side, -1), steps[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class _Room(NamedTuple):
    """What is free: directions of stream (width, sines) and token (width, sines), merger units."""

    stream: torch.Tensor
    token: torch.Tensor
    units: torch.Tensor


def write_place_code(visual: Any, batches: Iterable[Batch]) -> None:
    """Give places directions of their own from the first block to the visual token, in place.

    Position embeddings become sines of row and column in the directions of the stream that carry
    least; blocks write there no more, and the merger passes them on. What the encoder tells of a
    picture changes little.

    Parameters
    ----------
    visual : Qwen3VLVisionModel
        Without normalisation behind the shuffle of the merger, which is that of the family.
    batches : iterable of Batch
        Pictures that show which directions are in use.

    Raises
    ------
    QueryError
        If the encoder has no position embeddings, or no room for as many sines.
    """
    if not hasattr(visual, "pos_embed"):
        raise QueryError(
            "place_code is written into position embeddings, which this model's vision encoder has "
            "not; leave it out, or start from a Qwen3-VL model"
        )
    places, merger = visual.pos_embed.weight, visual.merger
    if min(places.shape[1], merger.linear_fc2.out_features) < 4 * PLACE_WAVES:
        raise QueryError(
            f"place_code takes {4 * PLACE_WAVES} directions of the vision encoder and of its "
            f"tokens, which are {places.shape[1]} and {merger.linear_fc2.out_features} wide; leave "
            "it out"
        )
    side = math.isqrt(places.shape[0])
    code = on_grid(sines(torch.arange(side) / (side - 1), 2 * PLACE_WAVES, side / 4))
    with torch.no_grad():
        room = _room(visual, batches, code.shape[1])
        for layer in (
            visual.patch_embed.proj,
            *(block.attn.proj for block in visual.blocks),
            *(block.mlp.linear_fc2 for block in visual.blocks),
        ):
            _leave(layer, room.stream)
        places += (PLACE_AMPLITUDE * code - places @ room.stream) @ room.stream.T
        _pass_on(merger, room)


def _pass_on(merger: Any, room: _Room) -> None:
    """Let a merger write the mean of its patches' codes into the token.

    Two units carry a sine s, since GELU(s) - GELU(-s) = s.
    """
    patches = merger.linear_fc1.in_features // len(room.stream)
    read = (room.stream / merger.norm.weight[:, None]).T / patches
    both = torch.cat([read, -read])
    merger.linear_fc1.weight[room.units] = both.repeat(1, patches)
    merger.linear_fc1.bias[room.units] = -patches * both @ merger.norm.bias
    _leave(merger.linear_fc2, room.token)
    merger.linear_fc2.weight[:, room.units] = PLACE_GAIN * torch.cat(
        [room.token, -room.token], dim=1
    )


def _leave(layer: Any, free: torch.Tensor) -> None:
    """Let a layer write nothing in some directions."""
    for written in (layer.weight.flatten(1), layer.bias):
        written -= free @ (free.T @ written)


def _room(visual: Any, batches: Iterable[Batch], count: int) -> _Room:
    """Directions with the least power, and the units that tell least.

    Each block's input counts by its share of the power there. A layer's normalisation takes away
    the mean over the width; so no direction of the stream has one.
    """
    merger, width = visual.merger, visual.pos_embed.weight.shape[1]
    stream, token = (torch.zeros(n, n) for n in (width, merger.linear_fc2.out_features))
    units = torch.zeros(merger.linear_fc2.in_features)

    def add(power: torch.Tensor, carried: torch.Tensor) -> None:
        carried = carried.float().reshape(-1, len(power))
        power += carried.T @ carried / carried.square().sum()

    layers = [norm for block in visual.blocks for norm in (block.norm1, block.norm2)]
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: add(stream, args[0]))
        for layer in (*layers, merger.norm)
    ]
    hooks += [
        merger.register_forward_hook(lambda _, args, out: add(token, out)),
        merger.linear_fc2.register_forward_pre_hook(
            lambda _, args: units.add_(args[0].float().square().sum(dim=0))
        ),
    ]
    for batch in batches:
        visual(batch.pixel_values, grid_thw=batch.image_grid_thw)
    for hook in hooks:
        hook.remove()
    stream += stream.trace() * torch.full_like(stream, 1 / len(stream))
    use = units * merger.linear_fc2.weight.square().sum(dim=0)
    return _Room(
        torch.linalg.eigh(stream).eigenvectors[:, :count],
        torch.linalg.eigh(token).eigenvectors[:, :count],
        use.argsort()[: 2 * count],
    )


def write_count_code(model: Any, tokenizer: Any, quantum: int) -> None:
    """Add sines of its logarithm to the word of each number but pure coordinates, in place.

    They lie in the half of the width that numbers' own sines leave free (`order_embeddings`).
    Words that are no counts to be written begin anew, as sines alone: a model may read them, as
    the number of its visual tokens, but has not learnt them.

    Parameters
    ----------
    model : transformers model
    tokenizer : transformers tokenizer
    quantum : int
        Coordinates are its multiples. Those that are no counts stay as they are.

    Raises
    ------
    QueryError
        If numbers are not one token each, or words have no room for as many sines.
    """
    words = model.get_input_embeddings().weight
    known = tokenizer.get_vocab()
    if words.shape[1] < 4 * COUNT_WAVES or not all(str(n) in known for n in range(NUMBERS)):
        raise QueryError(
            f"count_code needs words at least {4 * COUNT_WAVES} wide, and 0 to {NUMBERS - 1} as "
            "one token each; leave it out, or start from a model of demonstrator.new_model"
        )
    ids = torch.tensor([known[str(n)] for n in range(NUMBERS)])
    numbers, counts = torch.arange(NUMBERS), counts_to_write()
    between = numbers % quantum != 0  # no coordinate
    scale = (count_scale(numbers) - math.log(0.5)) / math.log(2 * NUMBERS)
    code = COUNT_LENGTH / math.sqrt(COUNT_WAVES) * sines(scale, 2 * COUNT_WAVES, COUNT_MOST)
    half = words.shape[1] // 2
    with torch.no_grad():
        usual = words[ids[counts], :half].norm(dim=1).mean()
        fresh = ids[between & ~counts]
        words[fresh, half:] = 0
        words[fresh, :half] *= usual / words[fresh, :half].norm(dim=1, keepdim=True).clamp(min=1e-9)
        coded = between | counts
        words[ids[coded], half : half + 2 * COUNT_WAVES] += code[coded].to(words)


def tell_tokens(template: str) -> str:
    """A chat template that tells, behind a picture, how many visual tokens show it.

    Attention takes means: a model sees how dense things lie, and a count asks how much there is to
    see. Where nobody passes the number, as in transformers alone, the template is as it was.

    Raises
    ------
    QueryError
        If the template has no ``<|vision_end|>``.
    """
    if (end := "<|vision_end|>") not in template:
        raise QueryError(
            f"tell_tokens needs a chat template with {end}; leave it out, or start from a "
            "model of the Qwen-VL family"
        )
    if "visual_tokens" in template:  # it tells already
        return template
    # the number of the picture's own part, named as the loop over parts names it, before the one
    # number that a client of a server can pass
    loops = re.findall(r"{%-?\s*for\s+(\w+)\s+in\b", template[: template.index(end)])
    own = f"{loops[-1]}.visual_tokens or " if loops else ""
    count = f"{{% set count = {own}visual_tokens %}}{{% if count %}}{{{{ count }}}}\n{{% endif %}}"
    return template.replace(end, end + count)

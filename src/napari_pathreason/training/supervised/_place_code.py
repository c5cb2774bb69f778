"""A place that a visual token still knows behind the vision encoder.

Position embeddings resampled from another vision encoder are faint, and content drowns them: a
place could be read off a visual token no better than to a third of a cell, too little for the
corners of a thing as small as a cell (docs/experiments.md). Most directions of the vision encoder's
residual stream, and of what its merger writes, carry next to nothing. Some of them are given to
places.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.training.model import on_grid, sines

from ._batch import Batch

WAVES = 8
"""Sines along each side, from half a wave to what a table of places can hold."""
AMPLITUDE = 0.5
"""Of each sine in the stream, whose other directions grow to 2 on average."""
GAIN = 2.0
"""From the normalised stream to the visual token."""


class _Room(NamedTuple):
    """What is free: directions of stream (width, sines) and token (width, sines), merger units."""

    stream: torch.Tensor
    token: torch.Tensor
    units: torch.Tensor


def write_place_code(visual: Any, batches: Iterable[Batch]) -> None:
    """Give places directions of their own from the first block to the visual token, in place.

    Position embeddings become sines of row and column in the directions of the stream that carry
    least; blocks write there no more, and the merger passes them on. What the vision encoder tells
    of a picture changes little.

    Parameters
    ----------
    visual : Qwen3VLVisionModel
        Without normalisation behind the shuffle of the merger, which is that of the family.
    batches : iterable of Batch
        Pictures that show what is in use.

    Raises
    ------
    QueryError
        If the vision encoder has no position embeddings, or no room for as many sines.
    """
    if not hasattr(visual, "pos_embed"):
        raise QueryError(
            "model.place_code is written into position embeddings, which this model's vision "
            "encoder has "
            "not; leave it out, or start from a Qwen3-VL model"
        )
    places, merger = visual.pos_embed.weight, visual.merger
    if min(places.shape[1], merger.linear_fc2.out_features) < 4 * WAVES:
        raise QueryError(
            f"model.place_code takes {4 * WAVES} directions of the vision encoder and of its "
            f"tokens, which are {places.shape[1]} and {merger.linear_fc2.out_features} wide; "
            "leave it out"
        )
    side = math.isqrt(places.shape[0])
    code = on_grid(sines(torch.arange(side) / (side - 1), 2 * WAVES, side / 4))
    with torch.no_grad():
        room = _room(visual, batches, code.shape[1])
        for layer in (
            visual.patch_embed.proj,
            *(block.attn.proj for block in visual.blocks),
            *(block.mlp.linear_fc2 for block in visual.blocks),
        ):
            _leave(layer, room.stream)
        places += (AMPLITUDE * code - places @ room.stream) @ room.stream.T
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
    merger.linear_fc2.weight[:, room.units] = GAIN * torch.cat([room.token, -room.token], dim=1)


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
    watching = [
        layer.register_forward_pre_hook(lambda _, args: add(stream, args[0]))
        for layer in (*layers, merger.norm)
    ]
    watching += [
        merger.register_forward_hook(lambda _, args, out: add(token, out)),
        merger.linear_fc2.register_forward_pre_hook(
            lambda _, args: units.add_(args[0].float().square().sum(dim=0))
        ),
    ]
    for batch in batches:
        visual(batch.pixel_values, grid_thw=batch.image_grid_thw)
    for hook in watching:
        hook.remove()
    stream += stream.trace() * torch.full_like(stream, 1 / len(stream))
    told = units * merger.linear_fc2.weight.square().sum(dim=0)
    return _Room(
        torch.linalg.eigh(stream).eigenvectors[:, :count],
        torch.linalg.eigh(token).eigenvectors[:, :count],
        told.argsort()[: 2 * count],
    )

"""The vision encoder of Qwen3-VL as a graph of OpenVINO, which is faster on processors than torch.

OpenVINO is optional. Its graph multiplies in bfloat16 where the processor does that fast, else in
float32. What depends on the sides of a picture alone (where its patches stand) is computed by
transformers' own functions; pictures of equal sides go through the graph as one batch, so that each
attends to its own patches without a mask.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from napari_pathreason.errors import ModelError
from napari_pathreason.types import ModelInfo

from ._ood import middle_block

_EXAMPLE = 4
"""Rows and columns of the visual tokens that the graph is traced with; any others fit it too."""
_TELEMETRY = "openvino_telemetry"
"""Package by which OpenVINO tells its maker that it is used, unasked, where it finds it."""


def encode_in_openvino(visual: Any, info: ModelInfo) -> None:
    """Let OpenVINO encode pictures in place of the torch module; hooks on its middle block stay.

    Only for answers: nothing is left to train, and layers but the middle one are not passed.

    Parameters
    ----------
    visual : Qwen3VLVisionModel
        In evaluation mode, on a processor, in float32.
    info : ModelInfo

    Raises
    ------
    ModelError
        If the vision encoder is of a family, or of a form, that cannot be converted.
    """
    refused = (
        f"the vision encoder of the model {info.name} ({info.family}) cannot be converted to "
        "OpenVINO; choose the encoder exact (--encoder exact)"
    )
    if info.family != "qwen3_vl":
        raise ModelError(refused)
    try:
        encoder = _Encoder(visual)
    except MemoryError:
        raise
    except Exception as error:  # whatever tracing, converting or compiling a foreign model raises
        if "memory" in str(error).lower():
            raise
        raise ModelError(refused) from error
    middle_block(visual).forward = _unchanged
    visual.forward = encoder


def _unchanged(tokens: torch.Tensor) -> torch.Tensor:
    return tokens


class _Graph(nn.Module):
    """All of the vision encoder that depends on pixels, for pictures of equal sides.

    Takes patches (pictures, patches, values), the embedding of their places (patches, hidden) and
    cosine and sine of their rotation (patches, head). Gives the tokens behind the last and the
    middle block, both (pictures, patches, hidden), visual tokens and deepstack features, each
    (pictures * tokens, width).
    """

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual

    def forward(
        self, patches: torch.Tensor, places: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        visual = self.visual
        tokens = visual.patch_embed(patches) + places
        middle, deepstack = tokens, []
        for number, block in enumerate(visual.blocks):
            tokens = tokens + _attend(block.attn, block.norm1(tokens), cos, sin)
            tokens = tokens + block.mlp(block.norm2(tokens))
            if block is middle_block(visual):
                middle = tokens
            if number in visual.deepstack_visual_indexes:
                merger = visual.deepstack_merger_list[visual.deepstack_visual_indexes.index(number)]
                deepstack.append(merger(tokens.flatten(0, 1)))
        return (tokens, middle, visual.merger(tokens.flatten(0, 1)), *deepstack)


def _attend(
    attention: Any, tokens: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
) -> torch.Tensor:
    """Attention of the patches of each picture among themselves."""
    pictures, patches, _ = tokens.shape
    shape = (pictures, patches, 3, attention.num_heads, attention.head_dim)
    query, key, value = attention.qkv(tokens).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
    heads = functional.scaled_dot_product_attention(
        _rotate(query, cos, sin), _rotate(key, cos, sin), value
    )
    mixed: torch.Tensor = attention.proj(heads.transpose(1, 2).flatten(2))
    return mixed


def _rotate(vectors: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = vectors.chunk(2, -1)
    return vectors * cos + torch.cat((-second, first), -1) * sin


class _Encoder:
    """Stands for the forward pass of a vision encoder; any thread may call it."""

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        side = _EXAMPLE * visual.spatial_merge_size
        values = visual.patch_embed.proj.weight[0].numel()
        with torch.no_grad():
            example = (torch.zeros(1, side * side, values), *self._placed((1, side, side)))
        with _untold(), warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing: shapes that it takes for constants
            import openvino

            graph = openvino.convert_model(_Graph(visual).eval(), example_input=example)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._compiled = openvino.Core().compile_model(graph, "CPU", settings)
        self._own = threading.local()

    def __call__(
        self, hidden_states: torch.Tensor, grid_thw: torch.Tensor, **_: Any
    ) -> BaseModelOutputWithDeepstackFeatures:
        """Encode pictures, whose patches stand one behind the other; see transformers."""
        grids = [tuple(grid) for grid in grid_thw.tolist()]
        counts = [frames * rows * columns for frames, rows, columns in grids]
        pictures = hidden_states.split(counts)
        together: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, grid in enumerate(grids):
            together[grid].append(number)
        found: list[Sequence[torch.Tensor]] = [()] * len(grids)
        for grid, numbers in together.items():
            patches = torch.stack([pictures[number] for number in numbers])
            outputs = self._infer(patches, *self._placed(grid))
            each = zip(*(output.chunk(len(numbers)) for output in outputs), strict=True)
            for number, own in zip(numbers, each, strict=True):
                found[number] = own
        tokens, middle, merged, *deepstack = map(torch.cat, zip(*found, strict=True))
        middle_block(self._visual)(middle)  # for the hooks on it
        return BaseModelOutputWithDeepstackFeatures(
            last_hidden_state=tokens, pooler_output=merged, deepstack_features=deepstack
        )

    def _infer(self, patches: torch.Tensor, *placed: torch.Tensor) -> Iterator[torch.Tensor]:
        """Outputs of the graph, the pictures of each one behind the other."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        inputs = [tensor.detach().numpy() for tensor in (patches, *placed)]
        done = request.infer(inputs, share_inputs=True)
        for place in range(len(self._compiled.outputs)):
            output = torch.from_numpy(done[place])
            yield output.flatten(0, 1) if output.ndim == 3 else output

    def _placed(self, grid: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Embedding, cosine and sine of the places of a picture's patches."""
        visual, grids = self._visual, torch.tensor([grid])
        indices, weights = get_vision_interpolation_indices_and_weights(
            grids,
            num_grid_per_side=visual.num_grid_per_side,
            mode=visual.interpolation_mode,
            align_corners=visual.interpolation_align_corners,
            spatial_merge_size=visual.spatial_merge_size,
        )
        places = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
        ids = get_vision_position_ids(grids, visual.spatial_merge_size)
        return (places, *visual.rotary_pos_emb(places, ids))


@contextmanager
def _untold() -> Iterator[None]:
    """Keep OpenVINO from telling its maker of this, unless another program let it do so before."""
    here = _TELEMETRY in sys.modules
    if not here:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not here:
            del sys.modules[_TELEMETRY]

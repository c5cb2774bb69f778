"""The model under training: a Qwen3-VL model with heads that only training needs.

Each picture goes through the vision encoder and the language model once, however many questions
are asked of it. Beside what it writes, the model is asked three things. Its **heads** tell of every
visual token what covers it, its box, how many things it holds and its own place, and of a picture
how many things it holds; coordinates and counts are said in the language model's own number words,
so that it can write them by copying. **Attention** of one layer tells where the language model
looks while it writes of a place. **Readout**: each corner value of a box has a query head of its
own in the last layer; where that head attends to a visual token, it adds to the stream what its
values tell of that token, which can be taught of every visual token of every box, whereas an
answer writes a handful of coordinates (demonstrator/experiments.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.models import embed_by_product
from napari_pathreason.training.objectives import attention_mask, target_logits

from .dense import DenseBatch, Labels

SUPERVISED_LAYER = -2
"""Layer of the language model whose attention is taught; the last one still reads what it finds."""
READOUT_LAYER = -1
"""Layer that reads the corners of boxes off visual tokens, where that is taught."""
COORDINATES = (4, 2)
"""Coordinates that a visual token says: corners of its box, its own place."""
CORNERS = 4
"""Values of a box: left, top, right, bottom."""


class Predictions(NamedTuple):
    """What the losses read.

    Of the language model, None where it was not asked: ``logits`` (targets, vocabulary), one row
    for each learnt label in reading order; ``attention``, for each picture (targets that speak of
    a place, heads, length), see `attention_of`. Where readout is taught, else None: ``routing``,
    for each picture (targets that are corner values, 4, length), attention of the heads that read;
    ``readout`` (visual tokens, 4, coordinates), what these would write of a token.
    Of the heads: ``coverage`` (visual tokens, covered labels), ``counts`` (visual tokens, counted
    labels), and log-probabilities ``boxes`` (visual tokens, 4, coordinates) and ``places`` (visual
    tokens, 2, coordinates); of all tokens of a picture together ``totals`` (pictures, counted
    labels, NUMBERS).
    """

    logits: torch.Tensor | None
    attention: list[torch.Tensor] | None
    routing: list[torch.Tensor] | None
    readout: torch.Tensor | None
    coverage: torch.Tensor
    boxes: torch.Tensor
    counts: torch.Tensor
    places: torch.Tensor
    totals: torch.Tensor


class MultiTaskModel(torch.nn.Module):
    """A Qwen3-VL model with heads on its visual tokens.

    Parameters
    ----------
    model : Qwen3VLForConditionalGeneration
    hidden : int
        Width of the language model.
    numbers : int64 tensor (NUMBERS,)
        Token ids of 0 to 1000.
    quantum : int
        Coordinates that may be written are multiples of it.
    labels : Labels
    readout : bool
        Whether the language model is taught to read boxes off visual tokens.

    Raises
    ------
    QueryError
        If readout is asked of a layer whose query heads are no multiple of `CORNERS`.
    """

    numbers: torch.Tensor

    def __init__(
        self,
        model: Any,
        hidden: int,
        numbers: torch.Tensor,
        quantum: int,
        labels: Labels,
        readout: bool = False,
    ) -> None:
        super().__init__()
        if readout:
            reading_heads(model.model.language_model.layers[READOUT_LAYER].self_attn)
        self.model = model
        embed_by_product(model.model.visual)
        self.labels = labels
        counted = len(labels.counted)
        self.token_head = torch.nn.Linear(hidden, len(labels.covered) + counted)
        self.coordinate_head = torch.nn.Linear(hidden, sum(COORDINATES) * hidden)
        self.total_head = torch.nn.Linear(hidden, counted * hidden)
        self.register_buffer("numbers", numbers, persistent=False)
        self.quantum = quantum
        self.readout = readout

    def forward(self, batch: DenseBatch, write: bool = True) -> Predictions:
        """Predict every target of a batch; without ``write`` those of the heads alone."""
        stem = self.model.model
        visual = stem.get_image_features(batch.pixel_values, batch.image_grid_thw, return_dict=True)
        heads = self._heads(list(visual.pooler_output))
        if not write:
            return Predictions(None, None, None, None, *heads)
        layers = stem.language_model.layers
        supervised, last = layers[SUPERVISED_LAYER].self_attn, layers[READOUT_LAYER].self_attn
        mask = attention_mask(batch.segment)
        with record_inputs(supervised) as inputs, record_inputs(last) as last_inputs:
            logits = target_logits(self.model, batch, visual, mask)
        each_group = slice(None, None, supervised.num_key_value_groups)
        wanted = _behind(speaks_of_a_place(batch))
        attention = attention_of(supervised, inputs, wanted, mask[:, 0], each_group)
        routing, readout = None, None
        if self.readout:
            due = _behind(corners_due(batch) >= 0)
            routing = attention_of(last, last_inputs, due, mask[:, 0], reading_heads(last))
            shown = last_inputs.hidden[batch.mm_token_type_ids == 1]
            words = self.model.get_input_embeddings().weight[self.numbers[:: self.quantum]]
            readout = read_corners(last, stem.language_model.norm, shown, words)
        return Predictions(logits, attention, routing, readout, *heads)

    def _heads(self, pictures: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """The last five of `Predictions`, of the visual tokens (tokens, width) of each picture."""
        tokens = torch.cat(pictures)
        sizes = len(self.labels.covered), len(self.labels.counted)
        coverage, counts = self.token_head(tokens).split(sizes, dim=1)
        coordinates = self.numbers[:: self.quantum]
        coordinates_of_tokens = self._say(self.coordinate_head(tokens), coordinates)
        boxes, places = coordinates_of_tokens.split(COORDINATES, dim=1)
        means = torch.stack([picture.mean(dim=0) for picture in pictures])
        return coverage, boxes, counts, places, self._say(self.total_head(means), self.numbers)

    def _say(self, states: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Log-probabilities (things, words, numbers) of states (things, words * width)."""
        words = self.model.get_input_embeddings().weight[numbers]
        scale = math.sqrt(words.shape[1])  # embeddings start small; see `order_embeddings`
        each = states.unflatten(1, (-1, words.shape[1]))
        return (scale * each @ words.T).float().log_softmax(dim=-1)


def speaks_of_a_place(batch: DenseBatch) -> torch.Tensor:
    """Which tokens have to write of a place next, bool (pictures, length - 1)."""
    return batch.grounding[:, 1:, 2] > batch.grounding[:, 1:, 0]


def corners_due(batch: DenseBatch) -> torch.Tensor:
    """Which corner value each token has to write next, int64 (pictures, length - 1); -1: none."""
    written = (batch.sigma[:, 1:] > 0) & (batch.step[:, 1:] > 0)
    return torch.where(written, (written.cumsum(dim=1) - 1) % CORNERS, -1)


def _behind(next_token: torch.Tensor) -> torch.Tensor:
    """Tokens that write what ``next_token`` (pictures, length - 1) tells, as a mask of all."""
    return torch.nn.functional.pad(next_token, (0, 1))


@dataclass(slots=True)
class Inputs:
    """What the attention of a layer was given in the last forward pass.

    ``hidden`` (rows, length, width); ``rotary`` is (cos, sin), each (rows, length, head width).
    """

    hidden: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    rotary: tuple[torch.Tensor, torch.Tensor] = field(
        default_factory=lambda: (torch.empty(0), torch.empty(0))
    )


@contextmanager
def record_inputs(attention: torch.nn.Module) -> Iterator[Inputs]:
    """Keep what a Qwen3-VL text attention is given while the context lasts."""
    inputs = Inputs()

    def keep(_: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        inputs.hidden = arguments[0] if arguments else named["hidden_states"]
        inputs.rotary = named["position_embeddings"]

    handle = attention.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


def attention_of(
    attention: Any,
    inputs: Inputs,
    wanted: torch.Tensor,
    mask: torch.Tensor,
    heads: slice,
) -> list[torch.Tensor]:
    """Log of the attention that some tokens pay to every token of their row.

    The layer computes the same again inside its own kernel, which does not tell weights.

    Parameters
    ----------
    attention : Qwen3VLTextAttention
    inputs : Inputs
    wanted : bool tensor (rows, length)
        The tokens whose attention is wanted.
    mask : bool tensor (rows, length, length)
        What each token may attend to.
    heads : slice
        The query heads that are wanted.

    Returns
    -------
    list of float tensor (tokens wanted of a row, heads, length)
        One for each row; minus infinity where a token may not attend.
    """
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

    rows, length, _ = inputs.hidden.shape
    shape = (rows, length, -1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(inputs.hidden).view(shape))
    groups = attention.num_key_value_groups
    query = query[:, :, heads]
    key = attention.k_norm(attention.k_proj(inputs.hidden).view(shape))
    key = key.repeat_interleave(groups, dim=2)[:, :, heads]
    query, key = apply_rotary_pos_emb(query, key, *inputs.rotary, unsqueeze_dim=2)
    each = []
    for row in range(rows):
        scaled = query[row, wanted[row]] * attention.scaling
        score = torch.einsum("thd,lhd->thl", scaled, key[row]).float()
        hidden = ~mask[row, wanted[row]][:, None]
        each.append(score.masked_fill(hidden, -torch.inf).log_softmax(dim=-1))
    return each


def reading_heads(attention: Any) -> slice:
    """The query heads that read corners, one for each, of as many groups as there are.

    Raises
    ------
    QueryError
        If the layer's query heads are no multiple of `CORNERS`.
    """
    heads = attention.config.num_attention_heads
    if heads % CORNERS:
        raise QueryError(
            f"readout_weight gives each of the {CORNERS} values of a box a head of the language "
            f"model, which has {heads}; set it to 0, or start from a model with a multiple of "
            f"{CORNERS} (demonstrator.new_model --text-heads)"
        )
    return slice(0, heads, heads // CORNERS)


def read_corners(
    attention: Any, norm: Any, hidden: torch.Tensor, words: torch.Tensor
) -> torch.Tensor:
    """Log-probabilities of each corner value of what visual tokens show.

    Parameters
    ----------
    attention : Qwen3VLTextAttention
    norm : Qwen3VLTextRMSNorm
        The last one of the language model.
    hidden : float tensor (visual tokens, width)
        What the layer is given of them, normalised.
    words : float tensor (numbers, width)
        Embeddings of the numbers that may be written.

    Returns
    -------
    float tensor (visual tokens, 4, numbers)
    """
    values = attention.v_proj(hidden).unflatten(1, (-1, attention.head_dim))
    values = values.repeat_interleave(attention.num_key_value_groups, dim=1)
    output = attention.o_proj.weight.unflatten(1, (-1, attention.head_dim))
    heads = reading_heads(attention)
    added = torch.einsum("nhd,whd->nhw", values[:, heads], output[:, heads])
    return (norm(added) @ words.T).float().log_softmax(dim=-1)

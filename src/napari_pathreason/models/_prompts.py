"""Prompts that a model reads in one pass, and where in its sequence each token of them stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice

import torch

from ._inputs import ModelInputs


@dataclass(frozen=True, slots=True)
class PromptBatch:
    """Tensors of prompts, each a row; pictures that several rows show are held once.

    Parameters
    ----------
    pixel_values : float32 tensor (patches, values)
        Of all pictures, one behind the other.
    image_grid_thw : int64 tensor (pictures, 3)
        Grid of each in patches.
    input_ids : int64 tensor (rows, length)
        Padded on the right, where no token of a row sees it.
    position_ids : int64 tensor (3, rows, length)
        Of `rope_positions`.
    pictures : tuple of tuple of int
        Of each row, in the order of its image parts.
    lengths, visual_tokens : tuple of int
        Tokens of each row, and how many of them are visual.
    """

    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor
    input_ids: torch.Tensor
    position_ids: torch.Tensor
    pictures: tuple[tuple[int, ...], ...]
    lengths: tuple[int, ...]
    visual_tokens: tuple[int, ...]

    @property
    def attention_mask(self) -> torch.Tensor:
        """1 where a token stands, 0 where padding does, int64 (rows, length)."""
        place = torch.arange(self.input_ids.shape[1])
        mask = place < torch.tensor(self.lengths)[:, None]
        return mask.to(self.input_ids.device, torch.int64)

    @property
    def padded(self) -> bool:
        """Whether any row is; attention without a mask is the faster one."""
        return len(set(self.lengths)) > 1

    @property
    def next_positions(self) -> torch.Tensor:
        """Position of the first token behind each row, int64 (rows,)."""
        return self.position_ids.amax(dim=(0, 2)) + 1

    def to(self, device: torch.device) -> PromptBatch:
        """The same prompts on another device."""
        return replace(
            self,
            pixel_values=self.pixel_values.to(device),
            image_grid_thw=self.image_grid_thw.to(device),
            input_ids=self.input_ids.to(device),
            position_ids=self.position_ids.to(device),
        )


def batch_prompts(prompts: Sequence[ModelInputs], merge: int) -> PromptBatch:
    """Prompts with pictures of their own as one batch.

    Parameters
    ----------
    prompts : sequence of ModelInputs
        Of any lengths and numbers of pictures; equal ones waste nothing.
    merge : int
        Patches a side of one visual token.
    """
    counts = [len(prompt["image_grid_thw"]) for prompt in prompts]
    each = iter(range(sum(counts)))
    return pad_rows(
        [prompt["input_ids"][0].tolist() for prompt in prompts],
        [prompt["mm_token_type_ids"][0].tolist() for prompt in prompts],
        torch.cat([prompt["pixel_values"] for prompt in prompts]),
        torch.cat([prompt["image_grid_thw"] for prompt in prompts]),
        [tuple(islice(each, count)) for count in counts],
        merge,
    )


def pad_rows(
    rows: Sequence[Sequence[int]],
    visual: Sequence[Sequence[int]],
    pixel_values: torch.Tensor,
    image_grid_thw: torch.Tensor,
    pictures: Sequence[tuple[int, ...]],
    merge: int,
) -> PromptBatch:
    """Rows of token ids as one batch; other parameters as of `PromptBatch`.

    Parameters
    ----------
    rows : sequence of sequence of int
        Token ids.
    visual : sequence of sequence of int
        1 where a visual token stands, of the lengths of the rows.
    pixel_values, image_grid_thw, pictures
    merge : int
        Patches a side of one visual token.
    """
    grids = [(height // merge, width // merge) for _, height, width in image_grid_thw.tolist()]
    positions = rope_positions(visual, [grids[one] for one in chain.from_iterable(pictures)])
    length = max(map(len, rows))
    ids = torch.zeros((len(rows), length), dtype=torch.int64)
    places = torch.zeros((3, len(rows), length), dtype=torch.int64)
    for at, (row, own) in enumerate(zip(rows, positions, strict=True)):
        ids[at, : len(row)] = torch.tensor(row)
        places[:, at, : len(row)] = own
    return PromptBatch(
        pixel_values,
        image_grid_thw,
        ids,
        places,
        tuple(pictures),
        tuple(map(len, rows)),
        tuple(map(sum, visual)),
    )


def rope_positions(
    visual: Sequence[Sequence[int]], grids: Sequence[tuple[int, int]]
) -> list[torch.Tensor]:
    """Positions of tokens in time, height and width (M-RoPE), as Qwen's families count them.

    Text goes on by one on all three axes. The tokens of a picture stand at their rows and columns
    from where it begins, and move what follows on by its longer side alone. They are given to the
    model in place of its own: that one keeps the last prompt's offset as state, which an answer
    that runs in between would overwrite.

    Parameters
    ----------
    visual : sequence of sequence of int
        For each row 1 where a visual token stands, else 0; at least one token of text stands
        between two pictures, as the marks around them do.
    grids : sequence of (int, int)
        (rows, columns) in visual tokens of each picture, in the order of the rows and within them.

    Returns
    -------
    list of int64 tensor (3, tokens)
        One for each row.

    Raises
    ------
    ValueError
        If pictures and visual tokens do not go together.
    """
    coming = iter(grids)
    found = []
    for row in visual:
        parts: list[torch.Tensor] = []
        position = 0
        for is_visual, run in groupby(row):
            tokens = sum(1 for _ in run)
            if not is_visual:
                parts.append((torch.arange(tokens) + position).expand(3, -1))
                position += tokens
                continue
            height, width = next(coming, (0, 0))
            if height * width != tokens:
                raise ValueError(
                    f"{tokens} visual tokens stand where a picture of {height} x {width} belongs"
                )
            down = torch.arange(height).repeat_interleave(width)
            across = torch.arange(width).repeat(height)
            parts.append(torch.stack([torch.zeros_like(down), down, across]) + position)
            position += max(height, width)
        found.append(torch.cat(parts, 1))
    if left := len([*coming]):
        raise ValueError(f"{left} pictures have no visual tokens")
    return found

"""A scale of their own for the words that counts are written in.

Words of numbers begin as sines of their value out of a thousand, on which 7 and 14 are all but one
place, and training draws them together further: a few of them, as 7, 21, 46 and 61, took the
answers of all counts around (docs/experiments.md). Counts are told apart by their ratio.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.training.model import sines

from ._number_loss import NUMBERS, count_scale, counts_to_write

WAVES, MOST = 16, 16.0
"""Sines, from half a wave to ``MOST`` from no thing to a thousand: a tenth more is a quarter of
the shortest."""
LENGTH = 0.5
"""Of the code; words of numbers are 0.3 long after training."""


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
    if words.shape[1] < 4 * WAVES or not all(str(n) in known for n in range(NUMBERS)):
        raise QueryError(
            f"model.count_code needs words at least {4 * WAVES} wide, and 0 to {NUMBERS - 1} as "
            "one token each; leave it out, or start from a model that began as recipes/mini.yaml"
        )
    ids = torch.tensor([known[str(n)] for n in range(NUMBERS)])
    numbers, counts = torch.arange(NUMBERS), counts_to_write()
    between = numbers % quantum != 0  # no coordinate
    scale = (count_scale(numbers) - math.log(0.5)) / math.log(2 * NUMBERS)
    code = LENGTH / math.sqrt(WAVES) * sines(scale, 2 * WAVES, MOST)
    half = words.shape[1] // 2
    with torch.no_grad():
        usual = words[ids[counts], :half].norm(dim=1).mean()
        fresh = ids[between & ~counts]
        words[fresh, half:] = 0
        words[fresh, :half] *= usual / words[fresh, :half].norm(dim=1, keepdim=True).clamp(min=1e-9)
        coded = between | counts
        words[ids[coded], half : half + 2 * WAVES] += code[coded].to(words)

"""Names of classes as whole words of a tokenizer, so that a small model can learn to write them.

A vocabulary that was made for other words spells a new class letter by letter (``h e a l th y``),
and every letter has to be learnt. As one token a name is learnt as any class is, and how probable
it is can be read beside the others. Its embedding begins as the mean of its pieces'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from napari_pathreason.errors import QueryError
from napari_pathreason.training.samples import Sample

MOST_WORDS = 500
"""Names beyond this number are no classes."""


def class_names(samples: Iterable[Sample]) -> list[str]:
    """Names that closed questions offer and boxes bear, in the order of the alphabet."""
    names = {
        name.strip()
        for sample in samples
        for name in (*sample.choices, *(box.label for box in sample.boxes))
    }
    return sorted(name for name in names if name)


def add_words(model: Any, tokenizer: Any, names: Sequence[str]) -> list[str]:
    """Add names to a tokenizer as whole words, and their embeddings to a model.

    The same model, tokenizer and names give the same result, so that a resumed run does it again.

    Parameters
    ----------
    model : transformers model
        Whose embeddings learn.
    tokenizer : transformers tokenizer
    names : sequence of str

    Returns
    -------
    list of str
        Those that were added: names that are one token already are not.

    Raises
    ------
    QueryError
        If there are too many names for classes.
    """
    from tokenizers import AddedToken

    pieces = {name: tokenizer(name, add_special_tokens=False)["input_ids"] for name in names}
    new = [name for name, ids in pieces.items() if len(ids) > 1]
    if len(new) > MOST_WORDS:
        raise QueryError(
            f"{len(new):,} names are no classes; set model.words to false, or convert fewer labels"
        )
    if not new:
        return []
    tokenizer.add_tokens([AddedToken(name, single_word=True, normalized=False) for name in new])
    size = len(model.get_input_embeddings().weight)
    if len(tokenizer) > size:  # rows beyond the vocabulary are often there as padding
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not tables[0]:
        tables.append(head.weight)
    with torch.no_grad():
        for table in tables:
            means = [table[torch.tensor(pieces[name])].float().mean(0) for name in new]
            for name, mean in zip(new, means, strict=True):
                table[tokenizer.convert_tokens_to_ids(name)] = mean.to(table.dtype)
    return new

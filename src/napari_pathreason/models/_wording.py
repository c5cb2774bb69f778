"""Which kind of training pictures a question is about, by its words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from napari_pathreason.types import Messages

TELLING = 5.0
"""A word speaks for a kind whose questions hold it so many times as often as any other's."""
CLOSE = 4.5
"""A kind stays likely while the words speak for another one less strongly than so many to one."""
UNSEEN = 0.01


def words_of(messages: Messages) -> frozenset[str]:
    """Words of what the user asks, choices included."""
    found: set[str] = set()
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part.get("type") == "text":
                found.update(re.findall(r"\w+", part["text"].casefold()))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Wording:
    """How often the questions of each kind hold a word.

    Parameters
    ----------
    shares : mapping of str to tuple of float
        Word -> share of the questions of each kind that hold it.
    """

    shares: Mapping[str, tuple[float, ...]]

    def likely(self, words: Iterable[str], kinds: int) -> list[int]:
        """Places of the kinds that a question may be about; all where no word tells."""
        votes = [0.0] * kinds
        for word in sorted(set(words)):
            shares = [share + UNSEEN for share in self.shares.get(word, ())]
            if len(shares) < 2:
                continue
            second, first = sorted(shares)[-2:]
            if first >= TELLING * second:  # words of every subject would drown the few that tell
                votes[shares.index(first)] += math.log(first / second)
        return [kind for kind, vote in enumerate(votes) if vote > max(votes) - math.log(CLOSE)]


def learn_wording(questions: Sequence[tuple[int, frozenset[str]]], kinds: int) -> Wording:
    """Count words in different questions, each (place of its kind, words)."""
    different = sorted(set(questions), key=lambda one: (one[0], sorted(one[1])))
    counts: dict[str, list[int]] = {}
    total = [0] * kinds
    for kind, words in different:
        total[kind] += 1
        for word in words:
            counts.setdefault(word, [0] * kinds)[kind] += 1
    return Wording(
        {
            word: tuple(round(n / max(whole, 1), 4) for n, whole in zip(found, total, strict=True))
            for word, found in sorted(counts.items())
        }
    )

"""Questions that training alone asks, since their answers are long and full of coordinates."""

from __future__ import annotations

from collections.abc import Sequence

from napari_pathreason.training.samples import Sample


def drilled(samples: Sequence[Sample], classes: Sequence[str]) -> list[Sample]:
    """Questions about one picture, and behind them one for the boxes of each of ``classes``.

    A handful of boxes teaches a language model to copy places much more slowly than a list of them,
    and the picture is read anyway. Pictures without such a thing, or whose labels do not speak of
    it, are left as they are.
    """
    facts = samples[0].facts
    more = []
    for name in classes:
        boxes = tuple(area for area in facts.areas if area.label == name)
        if name in facts.known and boxes:
            asked = {
                "task": "detection",
                "question": f"Find every {name}.",
                "choices": (name,),
                "answer": "",
                "boxes": boxes,
                "topic": f"boxes of {name}",
            }
            more.append(samples[0].model_copy(update=asked))
    return [*samples, *more]

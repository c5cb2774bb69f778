"""What a job asks a model, and how it gets its completions: one as a stream, several in batches."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from threading import Event as Flag

from napari_pathreason.errors import ModelError
from napari_pathreason.types import Completion, GenerationSettings, ModelInfo, Prompt

from ._job import TextDelta
from ._protocols import BatchPerformer, Performer

TOGETHER_ON_CPU = 256
"""Visual tokens that a processor takes in one pass: a pass cannot be cancelled, and of more tokens
together little is gained there."""


@dataclass(frozen=True, slots=True, eq=False)
class Need:
    """Where a job waits for the model.

    ``streams`` says whether the text of its one prompt is shown as it is written.
    """

    prompts: tuple[Prompt, ...]
    streams: bool = False


def visual_tokens(prompt: Prompt, model: ModelInfo) -> int:
    """Visual tokens of a prompt's pictures."""
    return sum(height * width for height, width in prompt.shapes) // model.dims.token_px**2


def most_together(model: ModelInfo) -> int:
    """Visual tokens that go to a model in one pass; a server takes prompts one by one anyway."""
    return TOGETHER_ON_CPU if model.device == "cpu" else sys.maxsize


def in_passes(
    prompts: Sequence[Prompt], model: ModelInfo, most: int | None = None
) -> Iterator[list[int]]:
    """Places of prompts that are answered in one pass.

    Parameters
    ----------
    prompts : sequence of Prompt
    model : ModelInfo
    most : int, optional
        Visual tokens of a pass, the most alike prompts together. If left out those that suit the
        model's device, and pictures of different size are not mixed: so the company of a prompt
        does not change what is padded. A prompt of more has a pass for itself.
    """
    limit = most_together(model) if most is None else most
    order = sorted(range(len(prompts)), key=lambda place: prompts[place].shapes)
    group: list[int] = []
    tokens = 0
    for place in order:
        own = visual_tokens(prompts[place], model)
        mixed = group and prompts[group[0]].shapes != prompts[place].shapes
        other = mixed and most is None and model.server is None  # a server pads nothing
        if group and (other or tokens + own > limit):
            yield group
            group, tokens = [], 0
        group.append(place)
        tokens += own
    if group:
        yield group


def complete(
    need: Need,
    performer: Performer,
    settings: GenerationSettings,
    cancel: Flag,
    most: int | None = None,
) -> Generator[TextDelta, None, list[Completion]]:
    """Ask the model what a job needs.

    Parameters
    ----------
    need : Need
    performer : Performer
    settings : GenerationSettings
    cancel : threading.Event
    most : int, optional
        See `in_passes`.

    Yields
    ------
    TextDelta
        The text as it is written where it is shown, else empty: whoever follows may cancel there.

    Raises
    ------
    ModelError
        If the model ends without a completion.
    concurrent.futures.CancelledError
        If ``cancel`` was set meanwhile.
    """
    done: dict[int, Completion] = {}
    for places in in_passes(need.prompts, performer.info, most):
        if len(places) > 1 and isinstance(performer, BatchPerformer):
            answers = performer.generate_batch([need.prompts[p] for p in places], settings, cancel)
            done.update(zip(places, answers, strict=True))
            yield TextDelta("")
        else:
            for place in places:
                done[place] = yield from _stream(need, place, performer, settings, cancel)
        if any(done[place].finish == "cancelled" for place in places):
            raise CancelledError
    return [done[place] for place in range(len(need.prompts))]


def generate_together(
    performer: Performer, prompts: Sequence[Prompt], settings: GenerationSettings, cancel: Flag
) -> list[Completion]:
    """Answers to prompts, at once where the performer takes several, else one after the other."""
    if isinstance(performer, BatchPerformer) and len(prompts) > 1:
        return performer.generate_batch(prompts, settings, cancel)
    return [
        piece
        for prompt in prompts
        for piece in performer.generate(prompt, settings, cancel)
        if isinstance(piece, Completion)
    ]


def _stream(
    need: Need, place: int, performer: Performer, settings: GenerationSettings, cancel: Flag
) -> Generator[TextDelta, None, Completion]:
    for piece in performer.generate(need.prompts[place], settings, cancel):
        if isinstance(piece, Completion):
            return piece
        yield TextDelta(piece if need.streams else "")
    raise ModelError("the model stopped without ending its answer; ask again")

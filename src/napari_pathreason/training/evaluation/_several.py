"""Questions about several pictures: all views of a sample in one prompt, asked of a performer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np

from napari_pathreason.budgets import flops, plan
from napari_pathreason.engine import (
    Performer,
    confidence,
    generate_together,
    read_probabilities,
    scale_of,
)
from napari_pathreason.tasks import TASKS
from napari_pathreason.training.samples import Pictures, Sample, read_view, shown_regions
from napari_pathreason.types import Answer, Completion, GenerationSettings, ModelDims, Prompt


@dataclass(frozen=True, slots=True)
class ViewsAnswer:
    """What a performer wrote about the views of a sample, and what that cost.

    ``native`` are the visual tokens of all views at native size, ``flops`` and ``flops_native``
    those of the prompt and what was written, as it was and with views at native size. ``choices``
    are as of `Reading`.
    """

    answer: Answer
    completion: Completion
    confidence: float | None
    choices: tuple[float, ...]
    native: int
    flops: float
    flops_native: float


def ask_views(
    performer: Performer,
    samples: Sequence[Sample],
    pictures: Pictures,
    budget: int | None,
    settings: GenerationSettings,
    *,
    white: bool = False,
) -> list[ViewsAnswer]:
    """Ask about the views of samples, together where the performer can.

    Parameters
    ----------
    performer : Performer
    samples : sequence of Sample
        With views.
    pictures : Pictures
    budget : int or None
        Visual tokens of each picture; None reads each at native size.
    settings : GenerationSettings
    white : bool
        Show pictures of the same sizes with nothing in them.
    """
    prompts = [
        prompt_of(sample, pictures, budget, performer.info.dims.token_px, white=white)
        for sample in samples
    ]
    completions = generate_together(performer, prompts, settings, Event())
    return [
        _answer(performer, sample, pictures, prompt, completion)
        for sample, prompt, completion in zip(samples, prompts, completions, strict=True)
    ]


def prompt_of(
    sample: Sample, pictures: Pictures, budget: int | None, token_px: int, *, white: bool = False
) -> Prompt:
    """What a model is shown and asked of a sample; parameters as of `ask_views`."""
    shown = read_view(sample, pictures, budget, token_px).pictures
    if white:
        shown = tuple(np.full_like(pixels, 255) for pixels in shown)
    return Prompt(shown, TASKS[sample.task].messages(sample.query, sample.captions))


def prompt_flops(
    dims: ModelDims, visual_tokens: Sequence[int], text_tokens: int, new_tokens: int
) -> float:
    """FLOPs of a prompt of several pictures and its answer; see `budgets.flops`.

    The vision encoder sees each picture by itself, the language model all of them at once.
    """
    encoder = sum(flops(dims, own, 0, 0) - flops(dims, 0, own, 0) for own in visual_tokens)
    return encoder + flops(dims, 0, sum(visual_tokens) + text_tokens, new_tokens)


def _answer(
    performer: Performer,
    sample: Sample,
    pictures: Pictures,
    prompt: Prompt,
    completion: Completion,
) -> ViewsAnswer:
    info = performer.info
    answer = TASKS[sample.task].parse(completion.text, sample.query)
    probabilities = read_probabilities(completion.written, sample.query, answer)
    scale = scale_of(sample.query, probabilities.form, info.calibration, info.metadata)
    own = [height * width // info.dims.token_px**2 for height, width in prompt.shapes]
    native = [
        plan(region, None, info.dims.token_px).tokens for region in shown_regions(sample, pictures)
    ]
    text = completion.prompt_tokens - completion.visual_tokens
    return ViewsAnswer(
        answer,
        completion,
        confidence(probabilities, scale).answer,
        probabilities.choices,
        sum(native),
        prompt_flops(info.dims, own, text, completion.new_tokens),
        prompt_flops(info.dims, native, text, completion.new_tokens),
    )

"""A vision-language model of one of Qwen's families, read and decoded by our own loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from threading import Event
from typing import Any, Literal, TypeAlias

from napari_pathreason import types

from ._decode import Prefill, SampledToken, decode, prefill, stop_ids
from ._inputs import VISION_TOKENS, ModelInputs, build_inputs
from ._ood import FeatureHook, OODDetector, colours, detail, words_of
from ._prefix import Known, PrefixCache, go_on
from ._prompts import PromptBatch, batch_prompts
from ._runtime import Interrupted, Interrupts, pass_errors
from ._text import LogprobsReader, TextStream, text_of
from .families import FAMILIES, Normalisation

Mode: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Entered for each forward pass, as where two performers share weights."""


class VLMPerformer:
    """A loaded model; satisfies `engine.Performer` and `engine.BatchPerformer`.

    Several answers may be drawn at once, each from its own iterator.

    Parameters
    ----------
    model : transformers model of one of Qwen's families
        In evaluation mode, on its device.
    tokenizer : transformers tokenizer
        With the checkpoint's chat template.
    info : ModelInfo
    normalisation : Normalisation
        Of the pixels, as the checkpoint was trained.
    ood : (FeatureHook, OODDetector), optional
        How the training pictures look to this model's vision encoder.
    mode : Mode
    keeps : bool
        Whether what was read of the last question is kept for one that follows on it; see
        `PrefixCache`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        info: types.ModelInfo,
        normalisation: Normalisation,
        ood: tuple[FeatureHook, OODDetector] | None = None,
        mode: Mode = nullcontext,
        *,
        keeps: bool = False,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._info = info
        self._normalisation = normalisation
        self._ood = ood
        self._mode = mode
        known = map(tokenizer.convert_tokens_to_ids, VISION_TOKENS)
        self._suppressed = [token for token in known if token is not None]
        self._stops = stop_ids(model, tokenizer)
        self._logprobs_reader = LogprobsReader(tokenizer)
        self._interrupts = Interrupts(model)
        # pictures are held against the training images by what the encoder sees of them each time
        can_keep = keeps and ood is None
        self._prefix = PrefixCache(cut=not FAMILIES[info.family].hybrid) if can_keep else None

    @property
    def info(self) -> types.ModelInfo:
        """Name, family, box space, dimensions and device."""
        return self._info

    @property
    def model(self) -> Any:
        """The transformers model, for training and evaluation."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, for training and evaluation."""
        return self._tokenizer

    @property
    def normalisation(self) -> Normalisation:
        """How pixels are normalised, for training and evaluation."""
        return self._normalisation

    def under(self, mode: Mode, *, detects_ood: bool = True) -> VLMPerformer:
        """Another performer with the same weights, its passes taken under ``mode``.

        Without ``detects_ood`` its completions have no OOD score.
        """
        ood = self._ood if detects_ood else None
        return VLMPerformer(
            self._model, self._tokenizer, self._info, self._normalisation, ood, mode
        )

    def generate(
        self,
        prompt: types.Prompt,
        settings: types.GenerationSettings,
        cancel: Event,
    ) -> Iterator[str | types.Completion]:
        """Stream the answer; see `engine.Performer.generate`.

        Raises
        ------
        ValueError
            If a picture is not of whole tokens, or the messages hold not one image part for it.
        OutOfMemoryError
            If the device cannot hold the pictures and their attention.
        """
        began = time.perf_counter()
        inputs = self._inputs(prompt, settings)
        stream, text, row = TextStream(self._tokenizer), settings.begin, Row()
        known = None
        if self._prefix is not None:
            known = self._prefix.take(inputs, prompt.messages, prompt.pictures)
        reader = _Reader(self._model, inputs, known, self._info.dims.merge)
        ood: types.OODScore | None = None
        remedy = "ask with a smaller budget or close other programs"
        if text:
            yield text
        for (last,) in self._tokens([inputs], settings, cancel, remedy, reader):
            if not row.count:
                (ood,) = self._assess([prompt])
            row.add(last, self._stops)
            if last is not None and row.finish != "stop" and (piece := stream.push(last.token)):
                text += piece
                yield piece
        if piece := stream.close():
            text += piece
            yield piece
        done = self._completion(inputs, settings, row, text, time.perf_counter() - began, ood)
        if known is not None:
            visual = done.visual_tokens  # all of them: what is known ends behind the pictures
            done = replace(done, cached_tokens=known.tokens, cached_visual_tokens=visual)
        if self._prefix is not None and reader.cache is not None and done.finish != "cancelled":
            tokens = [*inputs["input_ids"][0].tolist(), *(one.token for one in row.sampled)]
            self._prefix.keep(reader.cache, tokens, prompt.pictures)
        yield done

    def generate_batch(
        self,
        prompts: Sequence[types.Prompt],
        settings: types.GenerationSettings,
        cancel: Event,
    ) -> list[types.Completion]:
        """Answer questions together; see `engine.BatchPerformer`.

        Errors as in `generate`. The seconds of each are its share of all.
        """
        if self._prefix is not None:
            self._prefix.forget()
        inputs = [self._inputs(prompt, settings) for prompt in prompts]
        done: dict[int, types.Completion] = {}
        for places in self._passes(inputs):
            own = [prompts[place] for place in places]
            answers = self._together(own, [inputs[place] for place in places], settings, cancel)
            done.update(zip(places, answers, strict=True))
        return [done[place] for place in range(len(prompts))]

    def _passes(self, inputs: Sequence[ModelInputs]) -> list[list[int]]:
        """Places of prompts that go through the model as one batch."""
        if not FAMILIES[self._info.family].hybrid:
            return [[*range(len(inputs))]]
        lengths: dict[int, list[int]] = {}  # padding would enter the state that a row carries on
        for place, one in enumerate(inputs):
            lengths.setdefault(one["input_ids"].shape[1], []).append(place)
        return [*lengths.values()]

    def _together(
        self,
        prompts: Sequence[types.Prompt],
        inputs: Sequence[ModelInputs],
        settings: types.GenerationSettings,
        cancel: Event,
    ) -> list[types.Completion]:
        """Answers to prompts of one batch."""
        began = time.perf_counter()
        rows = [Row() for _ in prompts]
        ood: list[types.OODScore | None] = [None] * len(rows)
        remedy = "answer fewer tiles at once or ask with a smaller budget"
        for step, last in enumerate(self._tokens(inputs, settings, cancel, remedy)):
            if not step:
                ood = self._assess(prompts)
            for row, one in zip(rows, last, strict=True):
                row.add(one, self._stops)
        seconds = (time.perf_counter() - began) / max(len(rows), 1)
        texts = (text_of(self._tokenizer, [one.token for one in row.sampled]) for row in rows)
        return [
            self._completion(own, settings, row, settings.begin + text, seconds, score)
            for own, row, text, score in zip(inputs, rows, texts, ood, strict=True)
        ]

    def _tokens(
        self,
        inputs: Sequence[ModelInputs],
        settings: types.GenerationSettings,
        cancel: Event,
        remedy: str,
        reader: _Reader | None = None,
    ) -> Iterator[list[SampledToken | None]]:
        """What `decode` gives, up to the limit of the settings or a cancel."""
        if not inputs:
            return
        prompts = batch_prompts(inputs, self._info.dims.merge)
        read = None if reader is None else partial(reader.read, prompts)
        tokens = decode(self._model, prompts, settings, self._suppressed, self._stops, read)
        for _ in range(settings.max_new_tokens):
            if cancel.is_set():
                return
            try:
                errors = pass_errors(self._info.name, remedy)
                with errors, self._mode(), self._interrupts.by(cancel):
                    last = next(tokens, None)
            except Interrupted:
                return
            if last is None:
                return
            yield last

    def _completion(
        self,
        inputs: ModelInputs,
        settings: types.GenerationSettings,
        row: Row,
        text: str,
        seconds: float,
        ood: types.OODScore | None,
    ) -> types.Completion:
        finish = row.finish
        if finish == "length" and row.count < settings.max_new_tokens:
            finish = "cancelled"  # nothing else ends a row before
        return types.Completion(
            text=text,
            prompt_tokens=inputs["input_ids"].shape[1],
            visual_tokens=int(inputs["mm_token_type_ids"].sum()),
            new_tokens=row.count,
            finish=finish,
            seconds=seconds,
            written=self._written(row.sampled, settings),
            ood=ood,
        )

    def _inputs(self, prompt: types.Prompt, settings: types.GenerationSettings) -> ModelInputs:
        return build_inputs(
            self._tokenizer, self._info.dims, prompt, self._normalisation, settings.begin
        )

    def _written(
        self, sampled: Sequence[SampledToken], settings: types.GenerationSettings
    ) -> tuple[types.TokenLogprobs, ...]:
        """What was sampled, behind the beginning that the settings set."""
        begin = (types.TokenLogprobs(((settings.begin, 0.0),)),) if settings.begin else ()
        return (*begin, *self._logprobs_reader.read(sampled))

    def _assess(self, prompts: Sequence[types.Prompt]) -> list[types.OODScore | None]:
        """Score of the picture of each prompt that is furthest from the training images.

        Right behind the first forward pass of an answer, in its thread.
        """
        if self._ood is None:
            return [None] * len(prompts)
        hook, detector = self._ood
        dims = self._info.dims
        sizes = [
            [height * width // dims.patch**2 for height, width in prompt.shapes]
            for prompt in prompts
        ]
        features = iter(hook.take_each([*chain.from_iterable(sizes)]))
        furthest: list[types.OODScore | None] = []
        for prompt, patches in zip(prompts, sizes, strict=True):
            words = words_of(prompt.messages)
            scores = [
                detector.assess(own, colours(one), detail(one), size // dims.merge**2, words)
                for one, size, own in zip(prompt.pictures, patches, features, strict=False)
            ]
            certain = [score for score in scores if score is not None]
            furthest.append(max(certain, key=lambda score: score.score, default=None))
        return furthest


class _Reader:
    """Reads the prompt of one answer, what is known of it left out; notes where it was read to."""

    def __init__(self, model: Any, inputs: ModelInputs, known: Known | None, merge: int) -> None:
        self._model, self._inputs, self._known, self._merge = model, inputs, known, merge
        self.cache: Any = None

    def read(self, prompts: PromptBatch) -> Prefill:
        """See `decode`."""
        known, self._known = self._known, None
        if known is None:
            read = prefill(self._model, prompts.to(self._model.device))
        else:
            read = go_on(self._model, self._inputs, known, self._merge)
        self.cache = read.cache
        return read


class Row:
    """One answer as it grows."""

    def __init__(self) -> None:
        self.sampled: list[SampledToken] = []
        self.count = 0
        self.finish: Literal["stop", "length", "cancelled"] = "length"

    def add(self, one: SampledToken | None, stops: frozenset[int]) -> None:
        """Take the next token; None if the answer has ended."""
        if one is None:
            return
        self.count += 1
        if one.token in stops:
            self.finish = "stop"
        else:
            self.sampled.append(one)

"""A vision-language model of the Qwen3-VL or Qwen2.5-VL family."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Event
from typing import Any, Literal, TypeAlias

from napari_pathreason import types

from ._decode import SampledToken, decode
from ._decode_batch import decode_batch
from ._inputs import VISION_TOKENS, ModelInputs, Normalisation, build_inputs
from ._ood import FeatureHook, OODDetector, colours, detail, words_of
from ._runtime import Interrupted, Interrupts, memory_errors
from ._text import LogprobsReader, TextStream, text_of

Mode: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Entered for each forward pass, as where two performers share weights."""


class VLMPerformer:
    """A loaded model; satisfies `engine.Performer` and `engine.BatchPerformer`.

    Several answers may be drawn at once, each from its own iterator.

    Parameters
    ----------
    model : transformers model of either family
        In evaluation mode, on its device.
    tokenizer : transformers tokenizer
        With the checkpoint's chat template.
    info : ModelInfo
    normalisation : Normalisation
        Of the pixels, as the checkpoint was trained.
    ood : (FeatureHook, OODDetector), optional
        How the training pictures look to this model's vision encoder.
    mode : Mode
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        info: types.ModelInfo,
        normalisation: Normalisation,
        ood: tuple[FeatureHook, OODDetector] | None = None,
        mode: Mode = nullcontext,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._info = info
        self._normalisation = normalisation
        self._ood = ood
        self._mode = mode
        self._suppressed = [tokenizer.convert_tokens_to_ids(token) for token in VISION_TOKENS]
        self._stops = _stop_ids(model, tokenizer)
        self._logprobs_reader = LogprobsReader(tokenizer)
        self._interrupts = Interrupts(model)

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
        tokens = decode(
            self._model, inputs, settings, self._suppressed, merge=self._info.dims.merge
        )
        stream, text, count = TextStream(self._tokenizer), settings.begin, 0
        sampled: list[SampledToken] = []
        ood: types.OODScore | None = None
        finish: Literal["stop", "length", "cancelled"] = "length"
        if text:
            yield text
        while count < settings.max_new_tokens:
            if cancel.is_set():
                finish = "cancelled"
                break
            try:
                with (
                    memory_errors("ask with a smaller budget or close other programs"),
                    self._mode(),
                    self._interrupts.by(cancel),
                ):
                    last = next(tokens)
            except Interrupted:
                finish = "cancelled"
                break
            if not count:
                (ood,) = self._assess([prompt])
            count += 1
            if last.token in self._stops:
                finish = "stop"
                break
            sampled.append(last)
            if piece := stream.push(last.token):
                text += piece
                yield piece
        if piece := stream.close():
            text += piece
            yield piece
        yield types.Completion(
            text=text,
            prompt_tokens=inputs["input_ids"].shape[1],
            visual_tokens=int(inputs["mm_token_type_ids"].sum()),
            new_tokens=count,
            finish=finish,
            seconds=time.perf_counter() - began,
            written=self._written(sampled, settings),
            ood=ood,
        )

    def generate_batch(
        self,
        prompts: Sequence[types.Prompt],
        settings: types.GenerationSettings,
        cancel: Event,
    ) -> list[types.Completion]:
        """Answer questions together; see `engine.BatchPerformer`.

        Errors as in `generate`. The seconds of each are its share of all.
        """
        began = time.perf_counter()
        inputs = [self._inputs(prompt, settings) for prompt in prompts]
        tokens = decode_batch(
            self._model,
            inputs,
            settings,
            self._suppressed,
            self._stops,
            merge=self._info.dims.merge,
        )
        rows = [_Row() for _ in prompts]
        ood: list[types.OODScore | None] = [None] * len(rows)
        for step in range(settings.max_new_tokens):
            if cancel.is_set():
                break
            try:
                with (
                    memory_errors("answer fewer tiles at once or ask with a smaller budget"),
                    self._mode(),
                    self._interrupts.by(cancel),
                ):
                    last = next(tokens, None)
            except Interrupted:
                break
            if last is None:
                break
            if not step:
                ood = self._assess(prompts)
            for row, one in zip(rows, last, strict=True):
                row.add(one, self._stops)
        seconds = (time.perf_counter() - began) / len(rows)
        return [
            types.Completion(
                text=settings.begin + text_of(self._tokenizer, [one.token for one in row.sampled]),
                prompt_tokens=own["input_ids"].shape[1],
                visual_tokens=int(own["mm_token_type_ids"].sum()),
                new_tokens=row.count,
                finish="cancelled" if row.finish == "length" and cancel.is_set() else row.finish,
                seconds=seconds,
                written=self._written(row.sampled, settings),
                ood=score,
            )
            for row, own, score in zip(rows, inputs, ood, strict=True)
        ]

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
        """Right behind the first forward pass of an answer, in its thread."""
        if self._ood is None:
            return [None] * len(prompts)
        pictures = [prompt.pictures[0] for prompt in prompts]
        dims = self._info.dims
        sizes = [pixels.shape[0] * pixels.shape[1] // dims.patch**2 for pixels in pictures]
        features = self._ood[0].take_each(sizes)
        if not features:
            return [None] * len(prompts)
        return [
            self._ood[1].assess(
                own,
                colours(pixels),
                detail(pixels),
                size // dims.merge**2,
                words_of(prompt.messages),
            )
            for own, pixels, size, prompt in zip(features, pictures, sizes, prompts, strict=True)
        ]


class _Row:
    """One answer of a batch."""

    def __init__(self) -> None:
        self.sampled: list[SampledToken] = []
        self.count = 0
        self.finish: Literal["stop", "length"] = "length"

    def add(self, one: SampledToken | None, stops: frozenset[int]) -> None:
        """Take the next token; None if the answer has ended."""
        if one is None:
            return
        self.count += 1
        if one.token in stops:
            self.finish = "stop"
        else:
            self.sampled.append(one)


def _stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Ids that end an answer: the checkpoint's own, and the end of a turn."""
    named = model.generation_config.eos_token_id
    ids = {*named} if isinstance(named, list) else {named}
    ids |= {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    return frozenset(ids - {None, tokenizer.unk_token_id})

"""A vision-language model that transformers' own processor prepares and its `generate` answers.

For families without a decoder of ours. `generate` runs in a thread of its own; its tokens come out
one by one, and it ends at the next one when the answer is cancelled or nobody reads on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from copy import copy
from queue import SimpleQueue
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from napari_pathreason import types

from ._decode import SampledToken, beside_of, draw, stop_ids
from ._inputs import defuse, without_system
from ._performer import Row
from ._runtime import Interrupted, Interrupts, pass_errors
from ._text import LogprobsReader, TextStream, text_of
from ._tokenizer import panics_told, render
from .families import FAMILIES

Step = list[SampledToken | None]


class GeneratePerformer:
    """A loaded model; satisfies `engine.Performer` and `engine.BatchPerformer`.

    Parameters
    ----------
    model : transformers model
        In evaluation mode, on its device.
    processor : transformers processor
        With the checkpoint's tokenizer, and that with its chat template.
    info : ModelInfo
    """

    def __init__(self, model: Any, processor: Any, info: types.ModelInfo) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._info = info
        self._family = FAMILIES[info.family]
        self.picture_token = picture_token(model.config)
        """Id of the token that stands where a picture does, or a part of it."""
        self._stops = stop_ids(model, self._tokenizer)
        self._logprobs_reader = LogprobsReader(self._tokenizer)
        self._interrupts = Interrupts(model)
        self._control = tuple(
            dict.fromkeys([*self._tokenizer.all_special_tokens, processor.image_token])
        )

    @property
    def info(self) -> types.ModelInfo:
        """Name, family, box space, dimensions and device."""
        return self._info

    @property
    def model(self) -> Any:
        """The transformers model."""
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self._tokenizer

    def generate(
        self,
        prompt: types.Prompt,
        settings: types.GenerationSettings,
        cancel: threading.Event,
    ) -> Iterator[str | types.Completion]:
        """Stream the answer; see `engine.Performer.generate`.

        Raises
        ------
        ValueError
            If the messages hold not one image part for each picture.
        OutOfMemoryError
            If the device cannot hold the pictures and their attention.
        """
        began = time.perf_counter()
        inputs = self.inputs([prompt], settings.begin)
        stream, text, row = TextStream(self._tokenizer), settings.begin, Row()
        remedy = "ask with a smaller budget or close other programs"
        if text:
            yield text
        for (last,) in self._steps(inputs, settings, cancel, remedy):
            row.add(last, self._stops)
            if last is not None and row.finish != "stop" and (piece := stream.push(last.token)):
                text += piece
                yield piece
        if piece := stream.close():
            text += piece
            yield piece
        yield self._completion(inputs, 0, settings, row, text, time.perf_counter() - began)

    def generate_batch(
        self,
        prompts: Sequence[types.Prompt],
        settings: types.GenerationSettings,
        cancel: threading.Event,
    ) -> list[types.Completion]:
        """Answer questions together; see `engine.BatchPerformer`.

        Errors as in `generate`. The seconds of each are its share of all.
        """
        if not prompts:
            return []
        began = time.perf_counter()
        inputs = self.inputs(prompts, settings.begin)
        rows = [Row() for _ in prompts]
        remedy = "answer fewer tiles at once or ask with a smaller budget"
        for step in self._steps(inputs, settings, cancel, remedy):
            for row, one in zip(rows, step, strict=True):
                row.add(one, self._stops)
        seconds = (time.perf_counter() - began) / len(rows)
        texts = [text_of(self._tokenizer, [one.token for one in row.sampled]) for row in rows]
        return [
            self._completion(inputs, place, settings, row, settings.begin + text, seconds)
            for place, (row, text) in enumerate(zip(rows, texts, strict=True))
        ]

    def inputs(self, prompts: Sequence[types.Prompt], begin: str = "") -> Any:
        """What the processor makes of prompts, each a row padded on the left.

        Parameters
        ----------
        prompts : sequence of Prompt
        begin : str
            What the answers begin with.

        Raises
        ------
        ValueError
            If the messages of one hold not one image part for each of its pictures.
        ModelError
            If the checkpoint's files make a processor that takes no picture.
        """
        from PIL import Image

        texts = [self._text(prompt) + begin for prompt in prompts]
        pictures = [[Image.fromarray(one) for one in prompt.pictures] for prompt in prompts]
        remedy = "ask with a smaller budget or close other programs"
        with pass_errors(self._info.name, remedy), panics_told():
            return self._processor(
                images=pictures,
                text=texts,
                padding=True,
                padding_side="left",
                add_special_tokens=False,
                return_tensors="pt",
                **self._options(prompts),
            )

    def _text(self, prompt: types.Prompt) -> str:
        messages = defuse(prompt.messages, self._control)
        parts = sum(
            part.get("type") == "image"
            for message in messages
            if not isinstance(message["content"], str)
            for part in message["content"]
        )
        if not prompt.pictures or parts != len(prompt.pictures):
            raise ValueError(
                f"the messages hold {parts} image parts for {len(prompt.pictures)} pictures"
            )
        if not self._family.system:
            messages = without_system(messages)
        return render(self._tokenizer, messages)

    def _options(self, prompts: Sequence[types.Prompt]) -> dict[str, Any]:
        """What the processor is told, so that pictures have the tokens of their planned sizes."""
        levels, dims = self._info.levels, self._info.dims
        if self._family.options is None or not levels:
            return {}
        area = max(height * width for prompt in prompts for height, width in prompt.shapes)
        detail = self._info.holding(math.ceil(area / dims.token_px**2))
        level = next(level for level in levels if level.detail == detail)
        return self._family.options(level, levels[0], dims.token_px)

    def _steps(
        self, inputs: Any, settings: types.GenerationSettings, cancel: threading.Event, remedy: str
    ) -> Iterator[Step]:
        """What `generate` draws, until all rows have ended or a cancel."""
        run = _Run(settings, self._suppressed(), self._stops, cancel)
        thread = threading.Thread(target=self._generate, args=(inputs, settings, run), daemon=True)
        thread.start()
        try:
            while (step := run.steps.get()) is not None:
                yield step
            if run.error is not None:
                with pass_errors(self._info.name, remedy):
                    raise run.error
        finally:
            run.left.set()
            thread.join()

    def _generate(self, inputs: Any, settings: types.GenerationSettings, run: _Run) -> None:
        stops = sorted(self._stops)
        config = GenerationConfig(
            max_new_tokens=settings.max_new_tokens,
            do_sample=False,
            eos_token_id=stops,
            pad_token_id=stops[0],
        )
        plain = copy(self._model)  # the same weights, without beams and penalties of its author's
        plain.generation_config = GenerationConfig()
        try:
            with torch.inference_mode(), self._interrupts.by(run):
                plain.generate(
                    **inputs.to(self._model.device, dtype=self._model.dtype),
                    generation_config=config,
                    logits_processor=[run],
                    stopping_criteria=[_Relay(run)],
                )
        except Interrupted:
            pass
        except Exception as error:  # told in the thread of whoever waits for the tokens
            run.error = error
        finally:
            run.steps.put(None)

    def _suppressed(self) -> list[int]:
        """Tokens that stand for pictures: never to be sampled, a forward pass breaks on them."""
        config = self._model.config
        named = (self.picture_token, getattr(config, "video_token_id", None))
        vocabulary = self._info.dims.vocabulary
        return [token for token in named if token is not None and token < vocabulary]

    def _completion(
        self,
        inputs: Any,
        place: int,
        settings: types.GenerationSettings,
        row: Row,
        text: str,
        seconds: float,
    ) -> types.Completion:
        words = int(inputs["attention_mask"][place].sum())
        shown = int((inputs["input_ids"][place] == self.picture_token).sum())
        if "aspect_ratio_mask" in inputs:  # of Mllama, whose pictures take no place in the prompt
            tile = self._info.levels[0].tokens
            words -= shown
            shown = int(inputs["aspect_ratio_mask"][place].sum()) * tile
            words += shown
        finish = row.finish
        if finish == "length" and row.count < settings.max_new_tokens:
            finish = "cancelled"
        begin = (types.TokenLogprobs(((settings.begin, 0.0),)),) if settings.begin else ()
        return types.Completion(
            text=text,
            prompt_tokens=words,
            visual_tokens=shown,
            new_tokens=row.count,
            finish=finish,
            seconds=seconds,
            written=(*begin, *self._logprobs_reader.read(row.sampled)),
        )


class _Run(LogitsProcessor):
    """One call of `generate`: draws its tokens, and hands them on.

    Its own draw in place of that of `generate`: a seed then means the same in a batch and alone,
    and the same as for other families.
    """

    def __init__(
        self,
        settings: types.GenerationSettings,
        suppressed: Sequence[int],
        stops: frozenset[int],
        cancel: threading.Event,
    ) -> None:
        self.steps: SimpleQueue[Step | None] = SimpleQueue()
        self.left = threading.Event()
        """Set once nobody reads on."""
        self.error: Exception | None = None
        self._temperature = settings.temperature
        self._suppressed = [*suppressed]
        self._stops = stops
        self._cancel = cancel
        self._random = torch.Generator().manual_seed(settings.seed)
        self._last: Step = []
        self._ended: list[bool] = []

    def is_set(self) -> bool:
        """Whether to give up."""
        return self.left.is_set() or self._cancel.is_set()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores = scores.float()
        scores[:, self._suppressed] = -torch.inf
        numbers = None
        if self._temperature > 0:
            one = torch.rand(1, generator=self._random, dtype=torch.float64)
            numbers = one.expand(len(scores))
        tokens = draw(scores, self._temperature, numbers)
        self._last = [*beside_of(scores, tokens)]
        chosen = torch.full_like(scores, -torch.inf)
        return chosen.scatter(1, tokens[:, None], 0.0)

    def tell(self) -> None:
        """Hand the tokens on that were drawn last, of rows that had not ended before."""
        ended = self._ended or [False] * len(self._last)
        self.steps.put([None if over else one for one, over in zip(self._last, ended, strict=True)])
        self._ended = [
            over or (one is not None and one.token in self._stops)
            for one, over in zip(self._last, ended, strict=True)
        ]


class _Relay(StoppingCriteria):
    """Told of each token once it stands; ends all rows where the answer was given up."""

    def __init__(self, run: _Run) -> None:
        self._run = run

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor, **others: Any
    ) -> torch.Tensor:
        self._run.tell()
        over = self._run.is_set()
        return torch.full((len(input_ids),), over, dtype=torch.bool, device=input_ids.device)


def picture_token(config: Any) -> int:
    """Id of the token that stands where a picture does."""
    for name in ("image_token_id", "image_token_index"):
        if (token := getattr(config, name, None)) is not None:
            return int(token)
    raise ValueError("the config names no token of pictures")

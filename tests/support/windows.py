"""A slide with tissue on all of it, and a model that reads it by windows."""

from dataclasses import replace

import numpy as np

from napari_pathreason.types import Completion, Metadata


class Tissue:
    """The marked slide with something on all of it: pink, and the marker black."""

    def __init__(self, slide):
        self._slide = slide
        self.damaged = None

    def __getattr__(self, name):
        return getattr(self._slide, name)

    def read_region(self, region, size):
        image = self._slide.read_region(region, size)
        pink = np.array([230, 170, 200], np.uint8)
        image.pixels = np.where(image.pixels > 128, pink, image.pixels)
        if self.damaged is not None and region == self.damaged:
            image.unreadable = 1.0
        return image


class Seer:
    """The marker's finder with windows of 500 px, which can also say yes and no."""

    def __init__(self, performer, joint=False, **metadata):
        self._performer = performer
        self.info = replace(
            performer.info,
            metadata=Metadata(labels=("lesion",), window=500, joint=joint, **metadata),
        )
        self.prompts = []

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        instruction = prompt.messages[-1]["content"][-1]["text"]
        if "bbox" in instruction:
            yield from self._performer.generate(prompt, settings, cancel)
            return
        dark = any((picture[..., 1] < 128).any() for picture in prompt.pictures)
        text = f"<think>looked</think><answer>{'yes' if dark else 'no'}</answer>"
        yield text
        visual = sum(p.shape[0] * p.shape[1] for p in prompt.pictures) // 32**2
        yield Completion(text, 30 + visual, visual, 10, "stop", 0.1)

"""Performers whose answers are known beforehand."""

import pytest

from napari_pathreason.types import Completion, ModelDims, ModelInfo

DIMS = ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 100)


class Always:
    """Writes one answer whatever it is shown."""

    info = ModelInfo("always", "qwen3_vl", "relative", DIMS)

    def __init__(self, text):
        self.text = text

    asked = 0

    def generate(self, prompt, settings, cancel):
        self.asked += 1
        yield self.text
        yield Completion(self.text, 10, 4, 5, "stop", 0.0)


class Together(Always):
    """Answers several questions in one pass, by what is asked and the picture's own size."""

    def __init__(self):
        super().__init__("")
        self.passes = []

    def generate(self, prompt, settings, cancel):
        self.asked += 1
        (pixels,) = prompt.pictures
        words = prompt.messages[-1]["content"][-1]["text"]
        text = f"<think></think><answer>{words} {pixels.shape} {pixels.mean():.3f}</answer>"
        yield Completion(text, 10, pixels.shape[0] * pixels.shape[1] // 32**2, 5, "stop", 0.0)

    def generate_batch(self, prompts, settings, cancel):
        self.passes.append(len(prompts))
        return [list(self.generate(prompt, settings, cancel))[-1] for prompt in prompts]


@pytest.fixture
def always():
    """The class of a performer that writes one answer."""
    return Always


@pytest.fixture
def batching():
    """The class of a performer that answers several questions in one pass."""
    return Together

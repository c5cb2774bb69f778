"""Up to what size of a picture the replies of a model can be read."""

from dataclasses import replace

import pytest

from napari_pathreason import Metadata
from napari_pathreason.training.calibration import Held, largest, readable_by_size
from napari_pathreason.training.samples import Pictures, read_samples
from napari_pathreason.types import Completion, ModelDims, ModelInfo

DIMS = ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 9)


class Until:
    """Answers well up to so many visual tokens, and writes nonsense beyond."""

    def __init__(self, most):
        self._most = most
        # what it says of itself must not keep it from being tried
        self.info = ModelInfo("until", "qwen3_vl", "relative", DIMS)
        self.info = replace(self.info, metadata=Metadata(max_visual_tokens=4))
        self.seen = []

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        tokens = pixels.shape[0] * pixels.shape[1] // 32**2
        self.seen.append(tokens)
        words = prompt.messages[-1]["content"][-1]["text"]
        answer = words.rpartition("Choices: ")[2].rstrip(".").split(", ")[0]
        text = f"<think></think><answer>{answer}</answer>"
        text = text if tokens <= self._most else "upper upper upper"
        yield Completion(text, 10 + tokens, tokens, 4, "stop", 0.0)


@pytest.mark.parametrize(("most", "found"), [(9999, 256), (150, 144), (64, 64), (10, None)])
def test_the_largest_size_that_holds(converted, monkeypatch, most, found):
    monkeypatch.setattr("napari_pathreason.training.calibration._largest.SIDES", (8, 12, 16))
    samples = [s for s in read_samples(converted / "val.jsonl") if s.choices and s.task == "vqa"]
    performer = Until(most)
    held = readable_by_size(performer, samples, Pictures(converted), seed=0)
    assert largest(held) == found
    assert {size.questions for size in held} == {len(performer.seen) // len(held)}
    # nothing is asked at sizes beyond one at which most replies fell apart
    assert held[-1].tokens == min((n for n in (64, 144, 256) if n > most), default=256)


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([], None),
        ([Held(64, 40, 38)], 64),
        ([Held(64, 40, 37)], None),
        ([Held(64, 40, 40), Held(144, 40, 37), Held(256, 40, 40)], 64),
    ],
)
def test_all_sizes_below_must_hold(sizes, found):
    assert largest(sizes) == found

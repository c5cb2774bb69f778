"""Samples of slides: pixels come from the slide, read again after it was closed to make room."""

import numpy as np
import pytest

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.models import FixedAllocator
from napari_pathreason.training import Sample
from napari_pathreason.training.evaluation import Evaluator
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import Completion, ModelDims, ModelInfo
from tests.support import coded_pixels, write_synthetic_slide

DIMS = ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 9)
REGION = (640, 320, 256, 256)


@pytest.fixture
def samples(tmp_path):
    for name in ("a", "b"):
        write_synthetic_slide(tmp_path / f"{name}.ome.tif", 1200, 900)
    return [
        Sample(
            image=f"{name}.ome.tif",
            region=REGION,
            task="vqa",
            question="Is it?",
            choices=("yes", "no"),
            answer="yes",
        )
        for name in ("a", "b")
    ]


def test_regions_are_read_from_slides_whatever_is_open(samples, tmp_path):
    pictures = Pictures(tmp_path, most_slides=1)
    there = coded_pixels(np.arange(640, 896), np.arange(320, 576))
    for sample in (*samples, *samples):
        assert np.array_equal(pictures.read(sample, Region(*REGION), (256, 256)), there)
    whole = samples[0].model_copy(update={"region": None})
    assert pictures.region(whole) == Region(0, 0, 1200, 900)


def test_a_slide_that_is_gone_is_named(samples, tmp_path):
    (tmp_path / "a.ome.tif").unlink()
    with pytest.raises(SlideError, match=r"a\.ome\.tif is not there"):
        Pictures(tmp_path).region(samples[0].model_copy(update={"region": None}))


def test_a_performer_sees_the_region_of_the_slide_or_white(samples, tmp_path):
    seen = []

    class Watching:
        info = ModelInfo(
            "w", "qwen3_vl", "relative", ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 9)
        )

        def generate(self, prompt, settings, cancel):
            seen.extend(prompt.pictures)
            yield "<think></think><answer>yes</answer>"
            yield Completion("<think></think><answer>yes</answer>", 10, 64, 5, "stop", 0.0)

    evaluator = Evaluator(samples, Pictures(tmp_path), Watching(), FixedAllocator())
    for arm in ("model", "text_only"):
        assert [item.score for item in evaluator.run(None, arm)] == [1.0, 1.0]
    there = coded_pixels(np.arange(640, 896), np.arange(320, 576))
    assert np.array_equal(seen[0], there)
    assert np.array_equal(seen[1], there)
    assert (seen[2] == 255).all()
    assert seen[2].shape == there.shape

"""Miniatures of published layouts, made in code, and a conversion that is read back whole."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import Options, convert
from napari_pathreason.training.samples import Pictures, read_view

CELL = 32


@dataclass
class Outcome:
    """What a conversion wrote: samples of each split, the kind that was found, the notes."""

    folder: Path
    kind: str
    notes: str
    samples: dict = field(default_factory=dict)

    @property
    def all(self):
        return [sample for samples in self.samples.values() for sample in samples]

    def pixels(self, sample):
        return Pictures(self.folder).picture(sample)

    def images(self, split):
        return {sample.image for sample in self.samples[split]}


@pytest.fixture
def run(tmp_path):
    """Convert a folder; every sample must be read as training reads it."""

    def convert_and_read(source, *, out="out", kind="", **options):
        done = convert(source, tmp_path / out, Options(**options), kind)
        outcome = Outcome(tmp_path / out, " + ".join(done.kinds), "\n".join(done.notes))
        pictures = Pictures(tmp_path / out)
        for split, count in done.counts.items():
            path = tmp_path / out / f"{split}.jsonl"
            outcome.samples[split] = read_samples(path) if count else []
            assert len(outcome.samples[split]) == count
        for sample in outcome.all:
            assert not Path(sample.image).is_absolute()
            view = read_view(sample, pictures, 16, CELL)
            assert view.pixels.shape[2] == 3
            assert view.answer == sample.answer
            assert len(view.boxes) == len(sample.boxes)
            slide = pictures.slide(sample)
            for box in sample.boxes:
                x1, y1, x2, y2 = box.corners
                assert 0 <= x1 < x2 <= slide.width
                assert 0 <= y1 < y2 <= slide.height
            if sample.choices and sample.task != "detection":
                assert sample.answer in sample.choices
        return outcome

    return convert_and_read


@pytest.fixture
def save():
    """Save a picture of one colour with noise; returns its pixels."""
    rng = np.random.default_rng(0)

    def save_picture(path, size=(64, 64), colour=(200, 120, 180), **how):
        noise = rng.integers(-20, 20, (size[1], size[0], 3))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **how)
        return pixels

    return save_picture

"""The model's numbers beside a teacher's: which regions, and figures worked out by hand."""

from random import Random

import numpy as np
import pytest
import torch
from PIL import Image

from demonstrator.teacher.compare import Beside, regions, row, table
from napari_pathreason.models import load_models
from napari_pathreason.slides import slide_from_arrays
from tests.support import make_tiny_checkpoint


@pytest.fixture
def pixels():
    """Glass, with tissue in the right half."""
    pixels = np.full((256, 512, 3), 250, np.uint8)
    pixels[:, 256:] = np.random.default_rng(0).integers(50, 200, (256, 256, 3))
    return pixels


def test_regions_are_of_tissue_and_lie_in_the_slide(pixels):
    slide = slide_from_arrays([pixels], "half")
    found = list(regions(slide, 64, 12, Random(0)))
    assert len(found) == len({(r.x, r.y) for r in found}) == 12
    for r in found:
        assert 64 <= r.width == r.height
        assert 256 - 64 * 0.75 < r.x <= 512 - 64  # a share of it is no glass
        assert 0 <= r.y <= 256 - 64
    glass = slide_from_arrays([np.full_like(pixels, 250)], "glass")
    assert not list(regions(glass, 64, 2, Random(0)))


def test_a_row_by_hand():
    found = [Beside(10, 12), Beside(100, 140), Beside(40, 10), Beside(20, None)]
    assert row(64, 16, found) == "| 64 | 30 | 16 | 0.75 | 0.25 | 0.50 | 1.20 | 0.50 |"
    assert row(64, "auto", [Beside(3, None)] * 2).endswith(
        "| auto | 0.00 | 0.00 | 0.00 | 0.00 | - |"
    )
    # one number for all says nothing of the order
    assert row(64, 4, [Beside(1, 5), Beside(2, 5)]).endswith("| 3.75 | - |")


def test_the_table_asks_the_model_of_every_region(tmp_path, monkeypatch, pixels):
    path = tmp_path / "slide.png"
    Image.fromarray(pixels).save(path)
    models = load_models(make_tiny_checkpoint(tmp_path / "tiny"), "cpu")
    monkeypatch.setattr("demonstrator.teacher.compare.SIDES", (64,))
    monkeypatch.setattr("demonstrator.teacher.compare.REGIONS", 2)
    monkeypatch.setattr("demonstrator.teacher.compare.BUDGETS", (4, 16))
    seen = []

    def teacher(picture):
        seen.append(picture.shape)
        return torch.arange(4.0).repeat(1, 1, 64, 16)  # 0 and three nuclei

    head, _, *rows = table(path, models, teacher)
    assert seen == [(1, 3, 64, 64)] * 2
    assert head.count("|") == rows[0].count("|")
    assert [line.split("|")[1:4] for line in rows] == [
        [" 64 ", " 3 ", " 4 "],
        [" 64 ", " 3 ", " 16 "],
    ]

"""What changes between two readings of a sample, and of which sources."""

from random import Random

import numpy as np
import pytest

from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import Augmentation, Pictures, read_view


@pytest.fixture(scope="module")
def lung(converted):
    samples = read_samples(converted / "train.jsonl")
    return next(s for s in samples if s.source == "lung"), Pictures(converted)


@pytest.mark.parametrize("change", ["levels", "sharpness"])
@pytest.mark.parametrize(
    ("varied", "changes"), [((), True), (("lung",), True), (("blood",), False)]
)
def test_levels_and_sharpness_change_where_the_recipe_says(lung, change, varied, changes):
    sample, pictures = lung
    augmentation = Augmentation(turn=False, stain=0, varied=varied, **{change: 1.0})
    plain = read_view(sample, pictures, 64, 32).pixels
    read = read_view(sample, pictures, 64, 32, augmentation, Random(1)).pixels
    assert np.array_equal(plain, read) != changes


def test_a_share_of_none_draws_nothing(lung):
    sample, pictures = lung
    drawn = Random(5)
    read_view(sample, pictures, 16, 32, Augmentation(turn=False, stain=0), drawn)
    assert drawn.random() == Random(5).random()

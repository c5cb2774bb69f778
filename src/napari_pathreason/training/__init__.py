"""Headless training: data, supervised fine-tuning, evaluation. The GUI never imports it."""

from .recipe._recipe import Recipe, load_recipe
from .samples._sample import Area, Facts, Sample, read_samples, write_samples

__all__ = [
    "Area",
    "Facts",
    "Recipe",
    "Sample",
    "load_recipe",
    "read_samples",
    "write_samples",
]

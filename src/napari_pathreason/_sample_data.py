"""npe2 sample data: the pictures that ship with the package."""

from __future__ import annotations

from ._reader import LayerData, slide_layer
from ._samples import sample


def lymph_node() -> list[LayerData]:
    """Tiles of lymph nodes side by side, some with tumour."""
    return [slide_layer(sample("lymph_node").path)]


def blood() -> list[LayerData]:
    """A blood smear."""
    return [slide_layer(sample("blood").path)]


def nuclei() -> list[LayerData]:
    """Nuclei in human lung."""
    return [slide_layer(sample("nuclei").path)]


def skin() -> list[LayerData]:
    """Skin with hair follicles: tissue that the embedded model does not know."""
    return [slide_layer(sample("skin").path)]

"""npe2 sample data: the real slide that ships with the package."""

from __future__ import annotations

from importlib.resources import as_file, files

from ._reader import LayerData, slide_layer


def skin() -> list[LayerData]:
    """CMU-1-Small-Region.svs: skin with hair follicles, H&E (OpenSlide test data, CC0)."""
    source = files("napari_pathreason") / "_samples" / "CMU-1-Small-Region.svs"
    with as_file(source) as path:
        return [slide_layer(path)]

"""What napari opens: a slide as one lazy layer, GeoJSON as shapes, samples (npe2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_pathreason.files import is_there

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Reader for a path or a list of paths; None where one of them does not exist."""
    paths = [path] if isinstance(path, str) else path
    if not all(map(is_there, paths)):
        return None
    return read_layers


def read_layers(path: str | list[str]) -> list[LayerData]:
    """One multiscale RGB layer for each path; nothing is decoded.

    Scale and units are um where the file states its pixel size, else plain pixels. The metadata
    holds the open `Slide`, and the key of a sample that ships with the plugin; never a path.

    Raises
    ------
    SlideError
        If a file is not an image that can be opened.
    """
    return [slide_layer(p) for p in ([path] if isinstance(path, str) else path)]


def slide_layer(path: str | Path) -> LayerData:
    """Layer data of one slide, see `read_layers` and `viewer.slide_layer_data`."""
    from napari_pathreason.viewer import slide_layer_data

    return slide_layer_data(path)


def get_geojson_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Reader for a GeoJSON file or a list of them; None where one of them is missing."""
    paths = [path] if isinstance(path, str) else path
    if not all(Path(p).is_file() for p in paths):
        return None
    return read_shapes


def read_shapes(path: str | list[str]) -> list[LayerData]:
    """One Shapes layer for each file of objects, as QuPath or this plugin wrote it.

    GeoJSON is in pixels of its slide: the layer is laid over the slide that is open, where there
    is just one or one is selected.

    Raises
    ------
    ExportError
        If a file cannot be read.
    """
    return [shapes_layer(p) for p in ([path] if isinstance(path, str) else path)]


def shapes_layer(path: str | Path) -> LayerData:
    """Layer data of one GeoJSON file, see `read_shapes`."""
    from napari.utils.notifications import show_warning

    from napari_pathreason.exports import read_geojson
    from napari_pathreason.viewer import objects_layer_data, open_slide_layer, placement

    placeless: list[str] = []
    name = Path(path).name
    for suffix in (".gz", ".geojson"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    data, attributes, kind = objects_layer_data(read_geojson(path, placeless), name)
    if placeless:
        show_warning(f"{len(placeless)} objects of {name} have no place and were left out")
    slide = open_slide_layer()
    return data, attributes if slide is None else {**placement(slide), **attributes}, kind


def lymph_node() -> list[LayerData]:
    """Sample: tiles of lymph nodes side by side, some with tumour."""
    return _sample_layers("lymph_node")


def blood() -> list[LayerData]:
    """Sample: a blood smear."""
    return _sample_layers("blood")


def nuclei() -> list[LayerData]:
    """Sample: nuclei in human lung."""
    return _sample_layers("nuclei")


def skin() -> list[LayerData]:
    """Sample: skin with hair follicles, tissue that the embedded model does not know."""
    return _sample_layers("skin")


def _sample_layers(key: str) -> list[LayerData]:
    from napari_pathreason.sample_data import sample

    return [slide_layer(sample(key).path)]

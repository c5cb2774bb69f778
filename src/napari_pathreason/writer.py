"""npe2 writers: a Shapes layer as QuPath GeoJSON or as a table.

What is written is what the name ends in, whichever of the two was chosen in the dialog.
"""

from __future__ import annotations

from typing import Any


def write_shapes_geojson(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write the shapes of a layer, with the answers they belong to, as QuPath GeoJSON.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    if path.lower().endswith(".csv"):
        return _write_table(path, data, attributes)
    return _write_objects(path, data, attributes)


def write_shapes_csv(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write the findings and drawings of a layer as a table, in px and um.

    Raises
    ------
    ExportError
        If the file cannot be written, or would be empty.
    """
    if path.lower().endswith((".geojson", ".geojson.gz")):
        return _write_objects(path, data, attributes)
    return _write_table(path, data, attributes)


def _write_objects(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    from napari_pathreason.exports import new_run, write_geojson
    from napari_pathreason.viewer import features_of_shapes

    write_geojson(path, features_of_shapes(data, attributes, new_run()))
    return [path]


def _write_table(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    from napari_pathreason.exports import new_run, write_table
    from napari_pathreason.viewer import marks_of_shapes

    marks = marks_of_shapes(data, attributes, new_run())
    write_table(path, marks, "the layer has no findings or drawings")
    return [path]

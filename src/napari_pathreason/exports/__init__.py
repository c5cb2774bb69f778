"""Results that leave: QuPath GeoJSON, tables, manifests, transcripts, reports.

Importing this room loads neither torch nor napari.
"""

from ._atomic import atomic_text
from ._feature import Feature, ObjectType, Shape
from ._geojson_read import read_geojson
from ._geojson_write import write_geojson
from ._marks import Mark, detections_in, features_of_marks, marks_of, new_run
from ._table import write_table
from ._transcript import write_transcript

__all__ = [
    "Feature",
    "Mark",
    "ObjectType",
    "Shape",
    "atomic_text",
    "detections_in",
    "features_of_marks",
    "marks_of",
    "new_run",
    "read_geojson",
    "write_geojson",
    "write_table",
    "write_transcript",
]

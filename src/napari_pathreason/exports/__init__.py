"""Results that leave: QuPath GeoJSON, tables, manifests, transcripts, reports.

Importing this room loads neither torch nor napari.
"""

from ._account import write_account
from ._answer_files import ENDINGS, AnswerFiles, FileKind, asked_of, kind_of_file
from ._feature import Feature, ObjectType, Shape
from ._fingerprint import fingerprint, weights_sha256
from ._geojson_read import read_geojson
from ._geojson_write import write_geojson
from ._manifest import (
    Asked,
    Manifest,
    UsedModel,
    digest_of,
    read_manifest,
    versions_here,
    write_manifest,
)
from ._marks import Mark, confidence_of, detections_in, features_of_marks, marks_of, new_run
from ._reliability import (
    LEVEL_KEY,
    NO_ANSWER,
    RANK,
    REASONS_KEY,
    UNREADABLE,
    answer_line,
    guess,
    headline,
    joined_reasons,
    reliability_in,
    reliability_line,
    reliability_sentence,
    to_reliability,
)
from ._report import write_report
from ._table import plain, write_table
from ._transcript import write_transcript

__all__ = [
    "ENDINGS",
    "LEVEL_KEY",
    "NO_ANSWER",
    "RANK",
    "REASONS_KEY",
    "UNREADABLE",
    "AnswerFiles",
    "Asked",
    "Feature",
    "FileKind",
    "Manifest",
    "Mark",
    "ObjectType",
    "Shape",
    "UsedModel",
    "answer_line",
    "asked_of",
    "confidence_of",
    "detections_in",
    "digest_of",
    "features_of_marks",
    "fingerprint",
    "guess",
    "headline",
    "joined_reasons",
    "kind_of_file",
    "marks_of",
    "new_run",
    "plain",
    "read_geojson",
    "read_manifest",
    "reliability_in",
    "reliability_line",
    "reliability_sentence",
    "to_reliability",
    "versions_here",
    "weights_sha256",
    "write_account",
    "write_geojson",
    "write_manifest",
    "write_report",
    "write_table",
    "write_transcript",
]

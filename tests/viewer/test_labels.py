"""Accepted answers as labels."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from napari_pathreason.exports import write_labels
from napari_pathreason.geometry import Box, Region


def test_labels_have_the_columns_of_the_converter(make_result: Any, tmp_path: Path) -> None:
    result = make_result(Region(10, 20, 80, 64), Box(12, 22, 10, 5))
    assert write_labels(tmp_path / "labels.csv", [("slide.svs", result)]) == 1
    (row,) = csv.DictReader((tmp_path / "labels.csv").read_text().splitlines())
    assert (row["image"], row["region"], row["task"]) == ("slide.svs", "10 20 80 64", "detection")
    assert json.loads(row["boxes"]) == [{"bbox_2d": [12, 22, 22, 27], "label": "tumour"}]

"""Results as JSON Lines: one line each, in full."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from napari_pathreason.engine import result_to_dict
from napari_pathreason.files import atomic_text
from napari_pathreason.types import Result


def write_transcript(path: str | Path, results: Iterable[Result], run: str) -> int:
    """Write each result's `engine.result_to_dict` on a line, ``run`` and ``result`` before it.

    Returns
    -------
    int
        Lines written.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    count = 0
    with atomic_text(path) as file:
        for count, result in enumerate(results, 1):
            told = {"run": run, "result": count, **result_to_dict(result)}
            file.write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")
    return count

"""Damaged copies of the small files that commands are given, and of what lies beside weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.project import read_project
from napari_pathreason.slide_run import read_overrides
from napari_pathreason.training.evaluation import read_goals
from tests.fuzz._mutate import (
    MUTATIONS,
    SEED,
    attempt,
    attempt_hostile,
    check_memory,
    mutated,
    mutated_json,
)

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(1800)]

GOALS = b"- name: one\n  topic: tumour\n  bound: 0.8\n- name: two\n  bound: 0.5\n  at_most: true\n"


FILES: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "slides.csv": (b"slide,annotations,case\na.png,,one\nb.png,,two\n", read_project),
    "slides.txt": (b"a.png\nb.png\n", read_project),
    "tiles.csv": (b"tile,budget,score\n1,64,0.5\n7,0,0.1\n9,native,0\n", read_overrides),
    "tiles.json": (b'{"1": 64, "7": 0, "9": "native"}', read_overrides),
    "goals.yaml": (GOALS, read_goals),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_small_file(tmp_path: Path, name: str):
    content, read = FILES[name]
    for picture in ("a.png", "b.png"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / picture)
        (tmp_path / picture).with_suffix(".geojson").write_text('{"features": []}')
    path = tmp_path / name
    path.write_bytes(content)
    assert attempt(read, path, f"{name} whole") == "read"
    rng = np.random.default_rng(SEED)
    outcomes = []
    for number in range(MUTATIONS):
        change = mutated_json if number % 2 and path.suffix == ".json" else mutated
        path.write_bytes(change(content, rng))
        outcomes.append(attempt(read, path, f"{name} {number}"))
    attempt_hostile(read, path)
    check_memory()
    assert len({*outcomes}) > 2

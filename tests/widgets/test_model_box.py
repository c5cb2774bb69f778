"""The Model box offers what lies in the hub's cache."""

from typing import Any

import pytest


def test_models_of_the_cache_are_offered_behind_the_embedded_one(
    make_dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ["google/medgemma-1.5-4b-it", "lab/mine"]
    monkeypatch.setattr("napari_pathreason.widgets._fields.models_here", lambda: here)
    _, dock = make_dock()
    assert dock.form.model_box.offered[:3] == ["embedded", *here]
    assert dock.form.model_box.model_id == "embedded"

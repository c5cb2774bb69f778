"""``pathreason models``."""

import json

from napari_pathreason.models import LISTED


def test_models_are_listed_with_what_fetches_them(shell, monkeypatch):
    monkeypatch.setattr("napari_pathreason.cli._models.cached_models", list)
    told = shell("models")
    assert told.code == 0
    assert "embedded" in told.out.splitlines()[1]
    for model in LISTED:
        assert f"hf download {model.hub_id}" in told.out
    assert "accept the terms" in told.out
    assert max(map(len, told.out.splitlines())) <= 100


def test_what_is_here_is_not_offered_to_be_fetched(shell, monkeypatch, tmp_path):
    from napari_pathreason.models import FAMILIES, CachedModel

    here = CachedModel(LISTED[0].hub_id, tmp_path, FAMILIES[LISTED[0].family], 8_600_000_000)
    monkeypatch.setattr("napari_pathreason.cli._models.cached_models", lambda: [here])
    told = shell("models")
    assert f"hf download {here.hub_id}" not in told.out
    assert "8.6 GB of weights" in told.out
    values = json.loads(shell("models", "--json").out)
    assert values["cached"] == [
        {"model": here.hub_id, "family": "gemma3", "weight_bytes": 8_600_000_000}
    ]
    assert [one["model"] for one in values["listed"]] == [one.hub_id for one in LISTED]


def test_one_precision_is_given(shell, loads, picture):
    both = shell("ask", picture, "--question", "Why?", "--dtype", "float16", "--load-in", "4bit")
    assert both.code == 2
    assert "leave one of both out" in both.err

"""The bundled slide and the embedded model, in one go, and killed and taken up again."""

import json
import time
from importlib.resources import files

import pytest

from napari_pathreason.engine import Job, ask
from napari_pathreason.exports import read_geojson
from napari_pathreason.slide_run import (
    AnswersHere,
    RunFinished,
    RunSettings,
    run_slide,
    used_model,
)
from napari_pathreason.types import Request

SLIDE = files("napari_pathreason") / "sample_data" / "CMU-1-Small-Region.svs"


def test_a_tile_is_answered_as_any_region_is(tmp_path):
    from napari_pathreason.models import load_models
    from napari_pathreason.slides import open_slide

    models = load_models("embedded", "cpu")
    settings = RunSettings(mpp=2, budget=16)
    with open_slide(SLIDE) as slide:
        answers = AnswersHere(slide, lambda: models)
        *_, end = run_slide(slide, tmp_path, settings, used_model("embedded"), answers)
        assert isinstance(end, RunFinished), end
        for record in end.outcome.records[:2]:
            region = end.outcome.plan.tiles[record.index].region
            job = Job(slide, Request(region, settings.query, 16, policy="one_view"))
            result = ask(job, models.performer, models.allocator)
            assert record.answer == result.answer.text
            assert record.rationale == result.answer.rationale
            assert record.tokens == result.tokens
            assert [d.box for d in record.detections] == [d.box for d in result.detections]


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_files(detect_sample, spots, tmp_path):
    first, whole = detect_sample(tmp_path / "whole", "--mpp", "2")
    out, err = first.communicate()
    assert (first.returncode, err) == (0, "")
    assert "6 of 6 tiles" in out
    second, cut = detect_sample(tmp_path / "cut", "--mpp", "2")
    journal = cut / "tiles.jsonl"
    while not journal.exists() and second.poll() is None:
        time.sleep(0.01)
    second.kill()
    second.communicate()
    assert journal.read_bytes().count(b"\n") < 3
    third, _ = detect_sample(tmp_path / "cut", "--mpp", "2")
    _, err = third.communicate()
    assert (third.returncode, err) == (0, "")
    assert spots.files_of(cut) == spots.files_of(whole)
    told = json.loads((cut / "manifest.json").read_text())
    assert told["model"]["name"] == "pathreason-mini"
    assert told["tokens"]["realised"] <= 6 * 16
    _, *found = read_geojson(cut / "findings.geojson")
    assert len(found) == told["lesions"]

"""Lesions of a slide from Python in one call."""

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest

import napari_pathreason
from napari_pathreason import ModelError, Outcome, QueryError, RunPlan, detect, slide_run
from napari_pathreason.models import FixedAllocator, LoadedModels
from napari_pathreason.slide_run import Progress, RunFinished, RunSettings
from napari_pathreason.slides import slide_from_arrays

OPTIONS = {"mpp": 0.5, "tile": 256, "budget": "native", "batch": 3, "slide_mpp": 0.5, "zoom": False}


@pytest.fixture
def models(spots):
    return LoadedModels(spots.finder(), FixedAllocator(16))


def test_the_outcome_is_that_of_a_run(slide_path, run, spots, models):
    *_, end = run()
    assert isinstance(end, RunFinished)
    events = []
    outcome = detect(slide_path, "spot", model=models, watch=events.append, **OPTIONS)
    assert isinstance(outcome, Outcome)
    assert isinstance(outcome.plan, RunPlan)
    assert outcome.lesions == end.outcome.lesions
    assert len(outcome.lesions) == len(spots.boxes)
    assert outcome.result.tokens == end.outcome.result.tokens
    assert isinstance(events[-1], RunFinished)
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == len(outcome.records)


def test_a_folder_keeps_the_run_and_takes_it_up_again(slide_path, tmp_path, monkeypatch, models):
    from napari_pathreason.exports import UsedModel

    loaded = []
    monkeypatch.setattr(
        slide_run, "used_model", lambda *words: UsedModel("finder", "finder", "cpu", "abc")
    )
    monkeypatch.setattr(
        napari_pathreason.models, "load_models", lambda *words: loaded.append(words) or models
    )
    folder = tmp_path / "new" / "run"
    where = {"model": "finder", "device": "cpu", "encoder": "fast"}
    first = detect(slide_path, ["spot"], folder=folder, **where, **OPTIONS)
    assert (folder / "manifest.json").is_file()
    again = detect(slide_path, ["spot"], folder=folder, **where, **OPTIONS)
    assert again == first
    assert loaded == [("finder", "cpu", "fast", "auto")]
    without = detect(slide_path, ["spot"], folder=folder, tiles={0: 0}, **where, **OPTIONS)
    assert len(without.records) == len(first.records) - 1


def test_defaults_are_those_of_the_settings():
    shown = {
        name: parameter.default
        for name, parameter in inspect.signature(detect).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    settings = RunSettings()
    assert shown["labels"] == settings.options
    assert shown["zoom"] == settings.generation.zoom
    others = {field.name for field in fields(RunSettings)} - {
        *("task", "options", "generation", "overrides")
    }
    assert others <= shown.keys()
    assert {name: shown[name] for name in others} == {
        name: getattr(settings, name) for name in others
    }


def test_what_goes_wrong_is_raised(slide_path, tmp_path, spots, models):
    with pytest.raises(QueryError, match="overlap"):
        detect(slide_path, "spot", model=models, overlap=0.9)
    with pytest.raises(QueryError, match="known by the weights"):
        detect(slide_path, "spot", model=models, folder=tmp_path / "run")
    with pytest.raises(ModelError, match="no model"):
        detect(slide_path, "spot", model=tmp_path / "nothing")
    with (
        slide_from_arrays([np.zeros((64, 64, 3), np.uint8)], "plain") as slide,
        pytest.raises(QueryError, match="open already"),
    ):
        detect(slide, "spot", model=models, slide_mpp=0.5)

    class Broken(spots.finder):
        def generate(self, *args):
            raise ModelError("the model is gone; choose it again")

    with pytest.raises(ModelError, match="choose it again"):
        detect(slide_path, "spot", model=replace(models, performer=Broken()), **OPTIONS)


def test_every_type_of_an_outcome_is_public(slide_path, models):
    outcome = detect(slide_path, "spot", model=models, **OPTIONS)
    values = [
        *(outcome, outcome.plan, outcome.plan.identity, outcome.plan.used, outcome.plan.model),
        *(outcome.plan.settings, outcome.plan.tiles[0], outcome.plan.settings.generation),
        *(outcome.result, outcome.lesions[0], outcome.lesions[0].detection, outcome.records[0]),
        *(outcome.tally, outcome.result.tokens, outcome.result.answer, outcome.plan.slide),
        *(outcome.result.allocation, outcome.result.reliability, outcome.plan.model.dims),
    ]
    for value in values:
        assert getattr(napari_pathreason, type(value).__name__) is type(value)

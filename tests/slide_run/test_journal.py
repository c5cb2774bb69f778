"""Answers count for the run that they were made for, whatever becomes of its plan."""

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image

from napari_pathreason.errors import ModelError
from napari_pathreason.slide_run import (
    LoadSame,
    RunFailed,
    RunFinished,
    TileDone,
    used_model,
)


def resumed(events):
    return [event.tile.index for event in events if isinstance(event, TileDone) and event.resumed]


def change(spots, tmp_path, what):
    """Arguments of a run that is another one."""
    if what == "slide":
        return {"path": spots.write_slide(tmp_path / "other.png", spots.boxes[:2])}
    if what == "model":
        return {"used": replace(spots.used, sha256="def")}
    if what == "mpp":
        return {"mpp": 0.45}
    value = {
        "budget": 16,
        "options": ("spot", "gland"),
        "tile": 192,
        "overlap": 0.3,
        "question": "Where are spots?",
        "batch": 2,
        "generation": replace(spots.settings.generation, max_new_tokens=99),
    }[what]
    return {"settings": replace(spots.settings, **{what: value})}


CHANGES = (
    *("slide", "model", "mpp", "budget", "options", "tile", "overlap", "question", "batch"),
    "generation",
)


@pytest.mark.parametrize("what", CHANGES)
def test_without_its_plan_no_answer_is_taken_for_one_of_another_run(run, spots, tmp_path, what):
    run()
    other = change(spots, tmp_path, what)
    (tmp_path / "run" / "plan.json").unlink()
    finder = spots.finder()
    events = run(performer=finder, **other)
    assert isinstance(events[-1], RunFinished), events[-1]
    assert resumed(events) == []
    assert len(finder.seen) == events[0].total > 0
    run(tmp_path / "new", **other)
    assert spots.files_of(tmp_path / "run") == spots.files_of(tmp_path / "new")


@pytest.mark.parametrize("what", CHANGES)
def test_under_the_plan_of_another_run_no_answer_counts(run, spots, tmp_path, what):
    other = change(spots, tmp_path, what)
    run()
    run(tmp_path / "other", **other)
    shutil.copy(tmp_path / "other" / "plan.json", tmp_path / "run" / "plan.json")
    finder = spots.finder()
    events = run(performer=finder, **other)
    assert isinstance(events[-1], RunFinished), events[-1]
    assert len(finder.seen) == events[0].total > 0
    assert resumed(events) == []


def test_without_its_plan_the_same_run_goes_on(run, spots, tmp_path):
    before = run()[-1].outcome
    (tmp_path / "run" / "plan.json").unlink()
    finder = spots.finder()
    (event,) = run(performer=finder)
    assert event.already
    assert finder.seen == []
    assert event.outcome.lesions == before.lesions


def test_answers_of_two_runs_lie_side_by_side(run, spots, tmp_path):
    """The second one's do not cost the first its own."""
    other = change(spots, tmp_path, "budget")
    run()
    plan = (tmp_path / "run" / "plan.json").read_bytes()
    (tmp_path / "run" / "plan.json").unlink()
    run(**other)
    (tmp_path / "run" / "plan.json").write_bytes(plan)
    finder = spots.finder()
    events = run(performer=finder)
    assert isinstance(events[-1], RunFinished)
    assert finder.seen == []
    assert len(resumed(events)) == events[0].total


@pytest.mark.parametrize("field", ["format", "slide", "model", "request"])
def test_every_group_says_to_what_its_answers_belong(run, spots, tmp_path, field):
    run()
    journal = tmp_path / "run" / "tiles.jsonl"
    first, *rest = journal.read_text().splitlines()
    group = json.loads(first)
    assert all(json.loads(line)["key"] == group["key"] for line in rest)
    group["key"][field] += "x"
    journal.write_text("\n".join([json.dumps(group), *rest]) + "\n")
    finder = spots.finder()
    run(performer=finder)
    assert len(finder.seen) == len(group["tiles"])


def test_models_without_weights_are_told_apart_by_name(run, spots, tmp_path):
    run(used=replace(spots.used, sha256=""))
    (event,) = run(used=replace(spots.used, sha256="", name="another"))
    assert isinstance(event, RunFailed)
    assert "another model" in event.reason


def test_too_many_tiles_are_refused_before_any_is_laid(run, spots, tmp_path):
    path = tmp_path / "wide.png"
    Image.new("RGB", (1200, 1000)).save(path)
    finder = spots.finder()
    (event,) = run(path=path, performer=finder, settings=replace(spots.settings, tile=1, mpp=0.5))
    assert isinstance(event, RunFailed)
    assert "(1,200 x 1,000 px) has 1,200,000 tiles of 1 x 1 px" in event.reason
    assert "about 5 GB of memory; a run has at most 1,000,000: give larger tiles" in event.reason
    assert "\n" not in event.reason
    assert finder.seen == []
    assert not (tmp_path / "run" / "plan.json").exists()


def test_groups_of_a_newer_version_are_refused_by_name(run, tmp_path):
    run()
    journal = tmp_path / "run" / "tiles.jsonl"
    first, *rest = journal.read_text().splitlines()
    group = json.loads(first)
    for version, told in ((99, "slide run 99"), (3, None)):
        group["key"]["format"] = f"napari-pathreason slide run {version}"
        journal.write_text("\n".join([json.dumps(group), *rest]) + "\n")
        *_, end = run()
        if told is None:  # an earlier one is asked again
            assert isinstance(end, RunFinished)
        else:
            assert isinstance(end, RunFailed)
            assert told in end.reason
            assert "install a newer napari-pathreason" in end.reason


@pytest.mark.parametrize("version", [3, 99])
def test_a_plan_of_another_version_is_refused_by_name(run, tmp_path, version):
    run()
    plan = tmp_path / "run" / "plan.json"
    values = {**json.loads(plan.read_text()), "format": f"napari-pathreason slide run {version}"}
    plan.write_text(json.dumps(values))
    (event,) = run()
    assert f"of another version (napari-pathreason slide run {version})" in event.reason


def test_tiles_that_show_a_pixel_are_refused(run, spots):
    (event,) = run(settings=replace(spots.settings, mpp=1e-9))
    assert isinstance(event, RunFailed)
    assert "would show 1 x 1 px of the slide; give more µm per pixel" in event.reason


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"tile": 40_000, "batch": 1, "budget": "native"}, None),  # no larger than the slide
        ({"tile": 1_000, "batch": 1_000, "budget": "native"}, None),  # there are not so many
        ({"tile": 200, "batch": 1_000_000, "overlap": 0.5}, "2 x 1,000,000 tiles of 200 px"),
    ],
)
def test_more_memory_than_the_bound_is_refused_with_the_numbers(
    run, spots, tmp_path, monkeypatch, more, told
):
    monkeypatch.setattr("napari_pathreason.slide_run._plan.MOST_BYTES", 50_000_000)
    finder = spots.finder()
    events = run(performer=finder, settings=replace(spots.settings, **more))
    if told is None:
        assert isinstance(events[-1], RunFinished)
        return
    (event,) = events
    assert isinstance(event, RunFailed)
    assert told in event.reason
    assert "would take about 0 GB of memory; a run has at most 0" in event.reason
    assert "--batch, now 1000000" in event.reason
    assert finder.seen == []
    assert not (tmp_path / "run" / "plan.json").exists()


def test_a_model_that_changes_while_it_is_loaded_is_refused(spots, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"1")
    now = partial(used_model, str(folder))
    used = now()
    assert LoadSame(used, now, lambda: "loaded")() == "loaded"

    def load():
        (folder / "tokenizer.json").write_text("{}")
        return "loaded"

    with pytest.raises(ModelError, match="model has changed while it was loaded"):
        LoadSame(used, now, load)()


def edit(path, change):
    """Let a JSON, or the first line of a journal, say something else."""
    first, end, rest = path.read_text().partition("\n" if path.suffix == ".jsonl" else "\0")
    values = json.loads(first)
    change(values)
    path.write_text(json.dumps(values) + end + rest)


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line["tiles"][0].update(detections=[]),
        lambda line: line["tiles"][0].update(answer="9 spot"),
        lambda line: line["tiles"][0].update(index=line["tiles"][0]["index"] + 1),
        lambda line: line["tiles"][0].update(reliability={"level": "reliable", "reasons": []}),
        lambda line: line["tiles"].pop(),
        lambda line: line.pop("checksum"),
    ],
)
def test_an_answer_that_is_not_as_it_was_written_is_asked_again(run, spots, tmp_path, change):
    run()
    before = spots.files_of(tmp_path / "run")
    journal = tmp_path / "run" / "tiles.jsonl"
    group = len(json.loads(journal.read_text().splitlines()[0])["tiles"])
    edit(journal, change)
    finder = spots.finder()
    assert isinstance(run(performer=finder)[-1], RunFinished)
    assert len(finder.seen) == group
    assert spots.files_of(tmp_path / "run") == before


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: plan["tiles"].pop(),
        lambda plan: plan["tiles"][0].update(tissue=0),
        lambda plan: plan["tiles"][0]["region"].update(x=5),
        lambda plan: plan.update(group=0),
        lambda plan: plan.update(notes=["all is well"]),
        lambda plan: plan["model"].update(name="another"),
    ],
)
def test_a_plan_that_is_not_as_it_was_written_is_refused(run, tmp_path, change):
    run()
    edit(tmp_path / "run" / "plan.json", change)
    (event,) = run()
    assert isinstance(event, RunFailed)
    assert "plan.json in the folder run is damaged; choose another folder" in event.reason


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(lesions=7),
        lambda told: told.update(answer="none found"),
        lambda told: told["reliability"].update(level="reliable"),
        lambda told: told["model"].update(name="another"),
        lambda told: told["slide"].update(name="another.svs"),
        lambda told: told.pop("warnings"),
    ],
)
def test_a_manifest_that_is_not_as_it_was_written_is_written_anew(run, spots, tmp_path, change):
    run()
    before = spots.files_of(tmp_path / "run")
    edit(tmp_path / "run" / "manifest.json", change)
    finder = spots.finder()
    end = run(performer=finder)[-1]
    assert isinstance(end, RunFinished)
    assert not end.already
    assert finder.seen == []
    assert spots.files_of(tmp_path / "run") == before

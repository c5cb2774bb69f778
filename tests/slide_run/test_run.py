import csv
import json
import os
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import tifffile

from napari_pathreason.exports import read_geojson
from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import (
    Override,
    Progress,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    TileDone,
)
from napari_pathreason.slides import Slide


def lesions(events):
    assert isinstance(events[-1], RunFinished), events[-1]
    return [found.box for found in events[-1].outcome.result.detections]


def near(boxes, wanted, shift=(0, 0)):
    wanted = sorted((x + shift[0], y + shift[1], w, h) for x, y, w, h in wanted)
    told = sorted((box.x, box.y, box.w, box.h) for box in boxes)
    return np.allclose(told, wanted, atol=2)


def test_events_come_in_order(run, tmp_path):
    events = run()
    start, *middle, end = events
    assert isinstance(start, RunStarted)
    assert start.done == 0
    assert isinstance(end, RunFinished)
    assert not end.already
    done = [event for event in middle if isinstance(event, TileDone)]
    told = [event for event in middle if isinstance(event, Progress)]
    assert len(done) == start.total == told[-1].done == told[-1].total
    assert told[-1].seconds_left == 0
    assert told[0].seconds_left > 0
    assert not any(event.resumed for event in done)


def test_a_lesion_on_a_seam_is_one(run, spots):
    assert near(lesions(run()), spots.boxes)


@pytest.mark.parametrize("shift", [(37, 11), (120, 75)])
def test_shifted_slides_have_the_same_lesions(run, spots, tmp_path, shift):
    inner = [spot for spot in spots.boxes if spot[0] < 700]
    path = spots.write_slide(tmp_path / "shifted.png", inner, shift)
    assert near(lesions(run(tmp_path / "other", path=path)), inner, shift)


@pytest.mark.parametrize("overlap", [0.1, 0.5])
def test_the_overlap_does_not_change_the_lesions(run, spots, overlap):
    settings = replace(spots.settings, overlap=overlap)
    assert near(lesions(run(settings=settings)), spots.boxes)


def test_tiles_without_tissue_are_not_read(run, spots, tmp_path):
    settings = replace(spots.settings, tile=40, min_tissue=0.5)
    finder = spots.finder()
    events = run(settings=settings, performer=finder)
    plan = events[-1].outcome.plan
    assert 0 < len(finder.seen) == len(plan.to_read) < len(plan.tiles)
    with (tmp_path / "run" / "tiles.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(plan.tiles)
    skipped = [row for row in rows if row["state"] == "skipped"]
    assert all(float(row["tissue"]) < 0.5 and row["budget"] == "0" for row in skipped)
    assert min(int(row["x_px"]) for row in skipped) > 900


def test_each_tile_has_its_own_allocation_within_the_resolution(run, spots):
    outcome = run(settings=replace(spots.settings, budget="auto", effort="low"))[-1].outcome
    assert {record.allocation.effort for record in outcome.records} == {"low"}
    budgets = {record.allocation.budget for record in outcome.records}
    assert budgets == {16, 64}  # 64 is 256 px at 32 px a token; the allocator said native
    assert {record.allocation.source for record in outcome.records} == {"policy"}
    tokens = outcome.result.tokens
    assert tokens.allocator == 4 * len(outcome.records)
    assert tokens.realised == sum(record.tokens.realised for record in outcome.records)
    assert tokens.native_picture == 31 * 25


def test_equal_pictures_go_to_the_model_together(run, spots, tmp_path):
    finder = spots.batch_finder()
    events = run(performer=finder)
    assert set(finder.batches[:-1]) == {3}
    assert lesions(events) == lesions(run(tmp_path / "single", performer=spots.finder()))


def test_a_processor_takes_few_tokens_at_once(run, spots):
    finder = spots.batch_finder()
    finder.info = spots.finder.info
    run(performer=finder, settings=replace(spots.settings, batch=50))
    assert max(finder.batches) == 4  # of 64 tokens each


def test_seconds_of_a_tile_do_not_hold_the_wait_for_others(run, spots):
    finder = spots.batch_finder(0.05)
    outcome = run(performer=finder, settings=replace(spots.settings, tile=512, batch=50))[
        -1
    ].outcome
    assert len(outcome.records) > 3
    assert {record.seconds["generate"] for record in outcome.records} == {0.1}  # as it told


def test_pictures_of_different_size_are_not_mixed(run, spots):
    finder = spots.batch_finder()
    events = run(performer=finder, settings=replace(spots.settings, budget="auto", batch=50))
    assert len(finder.batches) == 2
    assert sum(finder.batches) == len(events[-1].outcome.records)


def test_files(run, spots, tmp_path):
    outcome = run()[-1].outcome
    folder = tmp_path / "run"
    region, *found = read_geojson(folder / "findings.geojson")
    assert region.box == Box(0, 0, 1000, 800)
    assert near([feature.box for feature in found], spots.boxes)
    assert {feature.label for feature in found} == {"spot"}
    with (folder / "findings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert near(
        [Box(*(float(row[f"{k}_px"]) for k in ("x", "y", "width", "height"))) for row in rows],
        spots.boxes,
    )
    assert {row["answer"] for row in rows} == {"spot"} or {row["label"] for row in rows} == {"spot"}
    with tifffile.TiffFile(folder / "heatmap.ome.tif") as heat:
        values = heat.asarray()
        assert 'PhysicalSizeX="' in heat.ome_metadata
    token_px = 1000 / values.shape[1]
    assert values[int(640 / token_px), int(900 / token_px)] == 1
    assert values[0, 0] == 0
    told = json.loads((folder / "manifest.json").read_text())
    assert told["lesions"] == len(spots.boxes)
    assert told["tiles"]["read"] == len(outcome.records)
    assert set(told["sha256"]) < {path.name for path in folder.iterdir()}


def test_no_file_tells_where_it_lies(run, tmp_path):
    run()
    for path in (tmp_path / "run").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()


def test_a_finished_run_does_nothing(run, spots, tmp_path):
    first = run()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").glob("[!.]*")}
    finder = spots.finder()
    (again,) = run(performer=finder)
    assert again.already
    assert again.outcome.lesions == first[-1].outcome.lesions
    assert finder.seen == []
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


def test_a_lost_file_is_made_again_without_the_model(run, spots, tmp_path):
    run()
    before = spots.files_of(tmp_path / "run")
    (tmp_path / "run" / "findings.csv").unlink()
    finder = spots.finder()
    events = run(performer=finder)
    assert not events[-1].already
    assert finder.seen == []
    assert spots.files_of(tmp_path / "run") == before


RESULTS = ("findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif", "manifest.json")


@pytest.mark.parametrize("name", RESULTS)
def test_a_changed_file_is_made_again_without_the_model(run, spots, tmp_path, name):
    """Its name alone says nothing: a run that was cut leaves files of another one."""
    run()
    before = spots.files_of(tmp_path / "run")
    path = tmp_path / "run" / name
    path.write_bytes(path.read_bytes().replace(b"a", b"b"))
    finder = spots.finder()
    events = run(performer=finder)
    assert not events[-1].already
    assert finder.seen == []
    assert spots.files_of(tmp_path / "run") == before


@pytest.mark.parametrize("written", range(1, len(RESULTS)))
def test_files_of_other_budgets_are_never_served(run, spots, tmp_path, monkeypatch, written):
    """Killed while it was done anew with other budgets, then taken back to the first."""
    budgets = (), (Override(0, 16), Override(1, 0))
    first, other = (replace(spots.settings, overrides=each) for each in budgets)
    run(settings=first)
    before = spots.files_of(tmp_path / "run")
    replaced = []

    def dies(self, target):
        if Path(target).name in RESULTS:
            replaced.append(target)
            if len(replaced) > written:
                raise KeyboardInterrupt
        return os.replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            run(settings=other)
    finder = spots.finder()
    end = run(settings=first, performer=finder)[-1]
    assert isinstance(end, RunFinished)
    assert finder.seen == []
    assert spots.files_of(tmp_path / "run") == before


def test_a_slide_that_changes_while_it_is_read_ends_the_run(run, spots, slide_path, tmp_path):
    class Swapping(spots.finder):
        def generate(self, *arguments):
            if len(self.seen) == 4:
                spots.write_slide(slide_path, spots.boxes[:1])
            yield from super().generate(*arguments)

    failed = run(performer=Swapping())[-1]
    assert isinstance(failed, RunFailed)
    assert "spots.png has changed since it was opened" in failed.reason
    assert len((tmp_path / "run" / "tiles.jsonl").read_text().splitlines()) == 4
    assert "another slide" in run()[-1].reason
    spots.write_slide(slide_path)
    assert isinstance(run()[-1], RunFinished)
    run(tmp_path / "whole")
    assert spots.files_of(tmp_path / "run") == spots.files_of(tmp_path / "whole")


def test_nothing_is_written_inside_a_slide(run, slide_path, tmp_path):
    store = tmp_path / "store.zarr"
    store.mkdir()
    (store / ".zattrs").write_text("{}")
    (event,) = run(store / "run")
    assert isinstance(event, RunFailed)
    assert "would lie inside the slide store.zarr" in event.reason
    assert [path.name for path in store.iterdir()] == [".zattrs"]


def test_cancel_and_resume(run, spots, tmp_path):
    cancel = Event()

    class Impatient(spots.batch_finder):
        def generate_batch(self, *arguments):
            if len(self.batches) == 2:
                cancel.set()
            return super().generate_batch(*arguments)

    cut = run(performer=Impatient(), cancel=cancel)
    assert isinstance(cut[-1], RunCancelled)
    assert cut[-1].done == 6
    finder = spots.batch_finder()
    events = run(performer=finder)
    assert events[0].done == 6
    assert sum(event.resumed for event in events if isinstance(event, TileDone)) == 6
    assert len(finder.seen) == events[0].total - 6
    run(tmp_path / "whole", performer=spots.batch_finder())
    assert spots.files_of(tmp_path / "run") == spots.files_of(tmp_path / "whole")


def test_a_line_half_written_is_run_again(run, spots, tmp_path):
    run(tmp_path / "whole")
    run()
    journal = tmp_path / "run" / "tiles.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    (tmp_path / "run" / "manifest.json").unlink()
    finder = spots.finder()
    run(performer=finder)
    assert len(finder.seen) == 1
    assert spots.files_of(tmp_path / "run") == spots.files_of(tmp_path / "whole")


def test_a_damaged_line_is_run_again(run, spots, tmp_path):
    run()
    journal = tmp_path / "run" / "tiles.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0][:20] + b"\0" + lines[0][21:], *lines[1:]]))
    before = spots.files_of(tmp_path / "run")
    finder = spots.finder()
    assert isinstance(run(performer=finder)[-1], RunFinished)
    assert len(finder.seen) == 1
    assert spots.files_of(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"overlap": 0.3}, "overlap 0.25 (now 0.3)"),
        ({"options": ("gland",)}, "lesions spot (now gland)"),
        ({"budget": 16}, "budget native (now 16)"),
    ],
)
def test_other_settings_are_refused(run, spots, tmp_path, more, told):
    run()
    (event,) = run(settings=replace(spots.settings, **more))
    assert isinstance(event, RunFailed)
    assert told in event.reason
    assert "choose another folder" in event.reason


def test_another_encoder_is_refused(run, spots):
    run(used=replace(spots.used, encoder="fast"))
    (event,) = run()
    assert "encoder fast (now exact)" in event.reason


def test_weights_in_another_precision_are_another_model(run, spots):
    run(used=replace(spots.used, precision="bfloat16"))
    (event,) = run()
    assert "another model or precision" in event.reason


def test_tiles_of_two_encoders_are_not_mixed(run, spots, tmp_path):
    """One was chosen, and this machine has not what the run began with."""

    def finder(encoder):
        made = spots.finder()
        made.info = replace(made.info, encoder=encoder, notes=("an old processor",))
        return made

    used = replace(spots.used, encoder="fast")
    run(performer=finder("fast"), used=used)
    journal = tmp_path / "run" / "tiles.jsonl"
    first, *_ = journal.read_text().splitlines(keepends=True)
    journal.write_text(first)
    *_, event = run(performer=finder("exact"), used=used)
    assert isinstance(event, RunFailed)
    assert "the fast encoder, and here the exact one runs (an old processor)" in event.reason
    assert journal.read_text() == first
    assert isinstance(run(performer=finder("fast"), used=used)[-1], RunFinished)


def test_another_slide_and_another_model_are_refused(run, spots, tmp_path):
    run()
    other = spots.write_slide(tmp_path / "spots2.png", spots.boxes[:2])
    assert "another slide" in run(path=other)[-1].reason
    used = replace(spots.used, sha256="def")
    assert "another model" in run(used=used)[-1].reason


def test_a_damaged_plan_is_one_line(run, tmp_path):
    run()
    (tmp_path / "run" / "plan.json").write_text("{")
    assert "begin anew" in run()[-1].reason


def test_a_slide_without_resolution_is_refused(run):
    assert "--slide-mpp" in run(mpp=None)[-1].reason


def test_an_error_of_the_model_keeps_what_is_done(run, spots):
    class Failing(spots.finder):
        def generate(self, *arguments):
            if len(self.seen) == 4:
                raise MemoryError
            yield from super().generate(*arguments)

    failed = run(performer=Failing())[-1]
    assert isinstance(failed, RunFailed)
    assert "not enough memory" in failed.reason
    assert run()[0].done == 4


def spoil(monkeypatch, spoiled):
    """Let ``spoiled`` change what is read of the slide's first tile."""
    whole = Slide.read_region

    def read_region(self, region, size):
        image = whole(self, region, size)
        return spoiled(image) if (region.x, region.width) == (0, 256) and not region.y else image

    monkeypatch.setattr(Slide, "read_region", read_region)


def test_a_damaged_tile_is_noted_and_left_out(run, monkeypatch, tmp_path):
    spoil(monkeypatch, lambda image: replace(image, unreadable=1.0))
    outcome = run()[-1].outcome
    assert outcome.unreadable == 1
    assert any("damaged" in reason for reason in outcome.result.reliability.reasons)
    with (tmp_path / "run" / "tiles.csv").open() as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert states.count("unreadable") == 1
    assert run()[-1].already


def test_a_lost_disk_ends_the_run(run, monkeypatch):
    def gone(image):
        raise OSError(5, "Input/output error")

    spoil(monkeypatch, gone)
    failed = run()[-1]
    assert isinstance(failed, RunFailed)
    assert "Input/output error" in failed.reason

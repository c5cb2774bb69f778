"""Tiles pinned, banned and raised: what is run again, and that nothing tells it from a new run."""

import csv
import json
from dataclasses import replace
from threading import Event

import pytest

from napari_pathreason import QueryError
from napari_pathreason.slide_run import (
    Override,
    RunCancelled,
    RunFailed,
    RunFinished,
    TileDone,
    overrides_of,
    raised,
    read_overrides,
)


@pytest.fixture
def settings(spots):
    """16 visual tokens, so that 64 and native are something else; two tiles are glass."""
    return replace(spots.settings, budget=16, min_tissue=0.95)


def with_overrides(settings, budgets):
    return replace(settings, overrides=overrides_of(budgets))


def answered(events):
    """Tiles that were not kept."""
    return [e.tile.index for e in events if isinstance(e, TileDone) and not e.resumed]


def rows(folder):
    with (folder / "tiles.csv").open() as file:
        return {int(row["tile"]): row for row in csv.DictReader(file)}


def skipped_tile(plan):
    return next(tile.index for tile in plan.tiles if not tile.is_read(plan.settings.min_tissue))


@pytest.mark.parametrize("model", ["finder", "batch_finder"])
def test_only_changed_tiles_are_run_again_and_the_files_are_those_of_a_new_run(
    run, spots, settings, tmp_path, model
):
    make = getattr(spots, model)
    before = run(performer=make(), settings=settings)[-1].outcome
    glass = skipped_tile(before.plan)
    budgets = {0: 0, 1: 64, glass: 16, 6: "native"}
    finder = make()
    events = run(performer=finder, settings=with_overrides(settings, budgets))
    assert answered(events) == [1, 6, glass]
    assert len(finder.seen) == 3
    end = events[-1]
    assert isinstance(end, RunFinished)
    assert not end.already
    assert [record.index for record in end.outcome.records] == [
        tile.index for tile in end.outcome.plan.to_read
    ]
    run(tmp_path / "new", performer=make(), settings=with_overrides(settings, budgets))
    assert spots.files_of(tmp_path / "run") == spots.files_of(tmp_path / "new")
    told = rows(tmp_path / "run")
    assert [told[tile]["override"] for tile in (0, 1, 2, 6, glass)] == [
        "0",
        "64",
        "",
        "native",
        "16",
    ]
    assert (told[0]["state"], told[0]["source"]) == ("skipped", "user")
    assert [told[tile]["visual_tokens"] for tile in (1, 2, 6, glass)] == ["64", "16", "64", "16"]


def test_without_a_word_the_folder_keeps_its_overrides(run, spots, settings, tmp_path):
    first = run(settings=with_overrides(settings, {1: 64}))[-1]
    files = spots.files_of(tmp_path / "run")
    (again,) = run(settings=settings)
    assert again.already
    assert again.outcome.plan == first.outcome.plan
    assert spots.files_of(tmp_path / "run") == files


def test_what_was_answered_before_is_not_answered_again(run, spots, settings, tmp_path):
    run(settings=settings)
    files = spots.files_of(tmp_path / "run")
    run(settings=with_overrides(settings, {1: 64, 2: 0}))
    finder = spots.finder()
    events = run(performer=finder, settings=with_overrides(settings, {}))
    assert finder.seen == []
    assert isinstance(events[-1], RunFinished)
    assert spots.files_of(tmp_path / "run") == files


def test_a_ban_alone_changes_the_files_without_the_model(run, spots, settings, tmp_path):
    before = run(settings=settings)[-1].outcome
    tile = before.lesions[0].tiles[0]
    finder = spots.finder()
    banned = with_overrides(settings, dict.fromkeys(before.lesions[0].tiles, 0))
    events = run(performer=finder, settings=banned)
    assert finder.seen == []
    assert len(events[-1].outcome.records) == len(before.records) - len(before.lesions[0].tiles)
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert told["run"] != before.plan.run
    assert {"tile": tile, "budget": 0} in told["settings"]["overrides"]


def test_a_cut_rerun_goes_on_by_itself(run, spots, settings, tmp_path):
    run(settings=settings)
    budgets = {0: 64, 1: 64, 5: 64, 6: 64}
    cancel = Event()

    class Impatient(spots.finder):
        def generate(self, *arguments):
            if len(self.seen) == 2:
                cancel.set()
            yield from super().generate(*arguments)

    wanted = with_overrides(settings, budgets)
    cut = run(performer=Impatient(), settings=wanted, cancel=cancel)
    assert isinstance(cut[-1], RunCancelled)
    finder = spots.finder()
    run(performer=finder, settings=settings)  # the plan keeps what was asked
    assert len(finder.seen) == 2
    run(tmp_path / "new", settings=wanted)
    assert spots.files_of(tmp_path / "run") == spots.files_of(tmp_path / "new")


def test_old_files_with_a_new_plan_are_not_finished(run, spots, settings, tmp_path):
    """As after a kill behind the new plan."""
    run(settings=settings)
    old = (tmp_path / "run" / "manifest.json").read_bytes()
    run(settings=with_overrides(settings, {0: 0}))
    new = spots.files_of(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_bytes(old)
    finder = spots.finder()
    events = run(performer=finder, settings=settings)
    assert not events[-1].already
    assert finder.seen == []
    assert spots.files_of(tmp_path / "run") == new


@pytest.mark.parametrize(
    ("budgets", "told"), [({900: 16}, "there is no tile 900"), ({0: -1}, "tile 0 is given -1")]
)
def test_overrides_that_make_no_sense_change_nothing(run, spots, settings, tmp_path, budgets, told):
    run(settings=settings)
    before = (tmp_path / "run" / "plan.json").read_bytes()
    (event,) = run(settings=with_overrides(settings, budgets))
    assert isinstance(event, RunFailed)
    assert told in event.reason
    assert (tmp_path / "run" / "plan.json").read_bytes() == before


def test_a_raise_is_one_rung():
    assert raised(16, 144) == 32
    assert raised(0, 144) == 4
    assert raised(100, 144) == 128
    assert raised(128, 144) == "native"
    assert raised(64, 64) == "native"
    assert raised(None, 144) == "native"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "tile,budget\n3,256\n1,0\n2,native\n"),
        ("a.csv", "\ufefftile,column,budget\n3,1,256\n1,0,0\n2,0,native\n"),
        ("a.json", '{"3": 256, "1": 0, "2": "native"}'),
    ],
)
def test_files_of_budgets(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    wanted = (Override(1, 0), Override(2, "native"), Override(3, 256))
    assert read_overrides(tmp_path / name) == wanted


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "tile,tokens\n3,256\n", "no columns tile and budget"),
        ("a.csv", "", "no columns tile and budget"),
        ("a.csv", "tile,budget\nx,256\n", "names the tile 'x'"),
        ("a.csv", "tile,budget\n3\n", "gives tile 3 the budget None"),
        ("a.csv", "tile,budget\n3,auto\n", "gives tile 3 the budget 'auto'"),
        ("a.csv", "tile,budget\n3,4\n3,8\n", "tile 3 two budgets"),
        ("a.csv", "tile,budget\n3," + "b" * 200_000, "the table of tiles is none"),
        ("a.json", "{", "is no JSON"),
        ("a.json", "[" * 100_000, "is no JSON"),
        ("a.json", '{"3": "' + "9" * 5_000 + '"}', "gives tile 3 the budget"),
        ("a.json", "[1]", "no budgets by tile"),
        ("b.csv", None, "b.csv cannot be read"),
    ],
)
def test_files_that_are_not_understood(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(QueryError, match=told) as caught:
        read_overrides(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)

"""A run says first how many of its tiles may be relied on, and what is unknown is never none."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from hypothesis import given, strategies as st

from napari_pathreason import Box, QueryError, Region
from napari_pathreason.exports import read_geojson, reliability_in
from napari_pathreason.slide_run import (
    Lesion,
    RunFailed,
    RunFinished,
    Tile,
    TileRecord,
    merge,
    reliability_of,
    tally_of,
)
from napari_pathreason.slides import Slide
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import (
    NOT_ASSESSED,
    Answer,
    Calibration,
    Detection,
    Metadata,
    Query,
    Reliability,
    Topic,
)

FOREIGN = "unlike the training images: the stain differs"
UNREAD = "the model's reply could not be read"
LOW = "low confidence; look for yourself, or ask at another budget"
RELIABLE = Reliability("reliable")
UNCERTAIN = Reliability("uncertain", (LOW,))
NONE = Reliability("none", (FOREIGN, LOW))
SPOT = Query("detection", options=("spot",))
METADATA = Metadata(
    topics=(Topic("spots", "boxes", frozenset({"spot", "dark"}), SPOT),), labels=("spot",)
)


def records(*groups):
    """So many records of each reliability and answer."""
    assessed = [(one, text) for count, one, text in groups for _ in range(count)]
    return [
        TileRecord(index, answer=text, reliability=one)
        for index, (one, text) in enumerate(assessed)
    ]


def test_the_line_of_a_run():
    tiles = records(
        (312, RELIABLE, "none found"),
        (60, UNCERTAIN, "1 tumour"),
        (21, NONE, "1 tumour"),
        (7, Reliability("none", (UNREAD,)), ""),
    )
    assert tally_of(tiles).line == (
        "312 of 400 tiles reliable, 60 uncertain, 28 no reliable answer "
        "(21 unlike the training images, 7 replies could not be read)"
    )
    assert tally_of(tiles).unknown == 7
    assert tally_of(tiles[:3]).line == "3 of 3 tiles reliable"
    assert tally_of(tiles[-1:]).line.endswith("1 no reliable answer (1 reply could not be read)")


levels = st.sampled_from([RELIABLE, UNCERTAIN, NONE, NOT_ASSESSED, Reliability("none")])
answers = st.sampled_from(["", "none found", "2 spot"])


@given(st.lists(st.tuples(levels, answers, st.booleans()), max_size=30))
def test_each_tile_is_counted_once(tiles):
    made = [
        TileRecord(i, unreadable=damaged, answer=text, reliability=one)
        for i, (one, text, damaged) in enumerate(tiles)
    ]
    tally, whole = tally_of(made), reliability_of(made)
    assert tally.total == len(made)
    assert sum(count for _, count in tally.why) == tally.none
    assert (whole.level == "reliable") is (0 < tally.reliable == len(made))
    assert (whole.level == "none") is (not made or 2 * tally.none > len(made))
    assert not (whole.reasons and whole.level == "reliable")


def test_reasons_of_a_run_tell_in_how_many_tiles():
    assessed = reliability_of(
        records((2, RELIABLE, "1 spot"), (3, UNCERTAIN, "1 spot"), (1, NONE, "1 spot"))
    )
    assert assessed == Reliability(
        "uncertain", (f"{FOREIGN} (1 of 6 tiles)", f"{LOW} (4 of 6 tiles)")
    )
    assert reliability_of(records((2, NONE, "1 spot"))) == NONE


def tile(index):
    return Tile(index, index, 0, Region(80 * index, 0, 100, 100))


def seen(*confident):
    """The same lesion in neighbouring tiles, each so sure of it."""
    box = Box(85, 40, 10, 10)
    return [(tile(i), [Detection("spot", box, one)]) for i, one in enumerate(confident)]


@pytest.mark.parametrize(
    ("confident", "assessed", "wanted"),
    [
        ((0.9, 0.8), (RELIABLE, NONE), RELIABLE),
        ((0.8, 0.9), (RELIABLE, NONE), NONE),
        ((0.9, 0.9), (RELIABLE, NONE), NONE),
        ((None, None), (RELIABLE, UNCERTAIN), UNCERTAIN),
        ((None, 0.1), (NONE, UNCERTAIN), UNCERTAIN),
        ((0.5,), (UNCERTAIN,), UNCERTAIN),
    ],
)
def test_a_lesion_is_as_reliable_as_the_tile_that_is_surest_of_it(confident, assessed, wanted):
    pairs, told = seen(*confident), dict(enumerate(assessed))
    (lesion,) = merge(pairs, told)
    assert lesion.reliability == wanted
    assert merge(pairs[::-1], told) == [lesion]
    assert merge(pairs) == [Lesion(lesion.detection, lesion.tiles, NOT_ASSESSED)]


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 0.2, 0.9]), st.sampled_from([RELIABLE, UNCERTAIN, NONE])),
        min_size=1,
        max_size=2,
    )
)
def test_no_lesion_is_more_reliable_than_its_best_tile(parts):
    rank = {"none": 0, "uncertain": 1, "reliable": 2}
    assessed = [one for _, one in parts]
    (lesion,) = merge(seen(*(confident for confident, _ in parts)), dict(enumerate(assessed)))
    assert rank[lesion.reliability.level] <= max(rank[one.level] for one in assessed)


@pytest.fixture
def trained(spots):
    """A finder that says what it was trained on, and how reliable it is."""

    class Trained(spots.batch_finder):
        info = replace(spots.batch_finder.info, metadata=METADATA, calibration=Calibration())

    return Trained


@pytest.fixture
def reads(monkeypatch):
    """Every tile that is read of the slide, its overview included."""
    regions, read = [], Slide.read_region

    def watched(self, region, size):
        regions.append(region)
        return read(self, region, size)

    monkeypatch.setattr(Slide, "read_region", watched)
    return regions


@pytest.mark.parametrize("lesions", [("mitosis",), ("spot", "mitosis")])
def test_what_the_model_cannot_look_for_is_refused_before_anything_is_read(
    run, trained, spots, reads, tmp_path, lesions
):
    finder = trained()
    (event,) = run(performer=finder, settings=replace(spots.settings, options=lesions))
    assert isinstance(event, RunFailed)
    assert isinstance(event.error, QueryError)
    assert event.reason == "cannot look for mitosis; it can look for: spot"
    assert not reads
    assert not finder.seen
    assert not (tmp_path / "run" / "plan.json").exists()


def test_it_is_refused_in_a_folder_that_holds_a_run_too(run, trained, spots, reads):
    run(performer=trained())
    reads.clear()
    (event,) = run(performer=None, settings=replace(spots.settings, options=("mitosis",)))
    assert event.reason == "cannot look for mitosis; it can look for: spot"
    assert not reads


@pytest.fixture
def scrawl(monkeypatch):
    """Replies about tiles without a spot cannot be read."""
    parse = type(TASKS["detection"]).parse

    def parse_some(self, text, query):
        answer = parse(self, text, query)
        return answer if answer.boxes else Answer("", "", (), False, "[[ scrawl")

    monkeypatch.setattr(type(TASKS["detection"]), "parse", parse_some)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_tile_whose_reply_could_not_be_read_is_unknown(run, scrawl, spots, tmp_path):
    outcome = run()[-1].outcome
    unknown = [record for record in outcome.records if record.unknown]
    assert 0 < len(unknown) < len(outcome.records)
    assert {record.reply for record in outcome.records} == {"", "[[ scrawl"}
    assert outcome.tally.unknown == outcome.tally.none == len(unknown)
    total = len(outcome.records)
    text = f"{len(spots.boxes)} spot; {len(unknown)} of {total} tiles unknown"
    assert outcome.result.answer.text == text
    told = {row["tile"]: row for row in rows_of(tmp_path / "run" / "tiles.csv")}
    for record in unknown:
        row = told[str(record.index)]
        assert (row["state"], row["boxes"], row["reliability"]) == ("unknown", "", "none")
        assert "could not be read" in row["answer"]
    assert "none found" not in (tmp_path / "run" / "tiles.csv").read_text()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["tiles"]["unknown"] == len(unknown)
    assert run()[-1].already


def test_a_slide_of_which_nothing_could_be_read_is_none_without_lesions(
    run, scrawl, spots, tmp_path
):
    path = spots.write_slide(tmp_path / "plain.png", spots=())
    result = run(path=path)[-1].outcome.result
    assert not result.answer.readable
    assert result.reliability.level == "none"
    assert result.reliability.reasons[0] == UNREAD
    for name in ("findings.geojson", "findings.csv", "tiles.csv", "manifest.json"):
        text = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert "none found" not in text
        assert "reply could not be read" in text


def test_what_is_unknown_is_no_part_of_the_heat_map(run, scrawl, tmp_path):
    run()
    with tifffile.TiffFile(tmp_path / "run" / "heatmap.ome.tif") as heat:
        values = heat.asarray()
    assert np.isin(values, [0, 1]).all()  # each place is told of by tiles that found something
    assert values.max() == 1


def test_a_slide_without_tissue_has_no_reliable_answer(run, spots):
    settings = replace(spots.settings, min_tissue=1.0, tile=1024)
    outcome = run(settings=settings)[-1].outcome
    assert not outcome.records
    assert outcome.result.reliability == Reliability(
        "none", ("no tile holds enough tissue to be read",)
    )


@pytest.fixture
def judged_by_place(monkeypatch):
    """Answers about the left of the slide are reliable, about the middle uncertain, else none."""
    from napari_pathreason.engine import picture_doubts

    at = SimpleNamespace(assessed=RELIABLE)
    pictures = picture_doubts

    def picture_doubts(region, *more):
        at.assessed = RELIABLE if region.x < 300 else UNCERTAIN if region.x < 600 else NONE
        return pictures(region, *more)

    monkeypatch.setattr("napari_pathreason.engine._reading.picture_doubts", picture_doubts)
    monkeypatch.setattr("napari_pathreason.engine._run.assess", lambda doubts: at.assessed)


@pytest.mark.usefixtures("judged_by_place")
def test_every_file_of_a_run_says_it(run, tmp_path):
    outcome = run()[-1].outcome
    tally, lesions = outcome.tally, outcome.lesions
    assert min(tally.reliable, tally.uncertain, tally.none) > 0
    levels = [lesion.reliability.level for lesion in lesions]
    guesses = levels.count("none")
    assert 0 < guesses < len(lesions)
    assert outcome.result.answer.text.startswith(f"{len(lesions)} spot ({guesses} of them a guess")
    folder = tmp_path / "run"
    region, *found = read_geojson(folder / "findings.geojson")
    assert reliability_in(region.metadata) == outcome.result.reliability
    assert [reliability_in(one.metadata) for one in found] == [one.reliability for one in lesions]
    ranks = {"none": 0, "uncertain": 1, "reliable": 2}
    assert [one.measurements["Reliability"] for one in found] == [ranks[one] for one in levels]
    assert [row["reliability"] for row in rows_of(folder / "findings.csv")] == levels
    told = {int(row["tile"]): row for row in rows_of(folder / "tiles.csv")}
    for record in outcome.records:
        assert told[record.index]["reliability"] == record.reliability.level
        assert told[record.index]["reasons"] == " | ".join(record.reliability.reasons)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["reliability"]["level"] == outcome.result.reliability.level
    assert manifest["tiles"]["none"] == tally.none
    with tifffile.TiffFile(folder / "heatmap.ome.tif") as heat:
        assert tally.line in heat.ome_metadata
    lines = (folder / "tiles.jsonl").read_text().splitlines()
    kept = [one for line in lines for one in json.loads(line)["tiles"]]
    assert {one["index"]: one["reliability"]["level"] for one in kept} == {
        record.index: record.reliability.level for record in outcome.records
    }


@pytest.mark.usefixtures("judged_by_place")
def test_the_class_of_qupath_may_be_chosen_after_the_run(run, spots, tmp_path):
    plain = run()[-1].outcome
    labels = ["", *("spot" for _ in plain.lesions)]
    path, finder = tmp_path / "run" / "findings.geojson", spots.finder()
    assert [one.label for one in read_geojson(path)] == labels
    (*_, end) = run(performer=finder, unreliable_class=True)
    assert isinstance(end, RunFinished)
    assert not finder.seen
    marked = ["Unreliable: spot" if one.reliability == NONE else "spot" for one in plain.lesions]
    assert [one.label for one in read_geojson(path)][1:] == marked
    assert "Unreliable: spot" in marked
    assert run()[-1].already  # as the files were last written
    assert [one.label for one in read_geojson(path)][1:] == marked
    assert not run(unreliable_class=False)[-1].already
    assert [one.label for one in read_geojson(path)] == labels


def test_a_folder_of_an_earlier_version_is_refused(run, tmp_path):
    run()
    plan = tmp_path / "run" / "plan.json"
    told = json.loads(plan.read_text())
    told["format"] = "napari-pathreason slide run 1"
    plan.write_text(json.dumps(told))
    (event,) = run()
    assert isinstance(event, RunFailed)
    assert "of another version" in event.reason
    assert "choose another folder" in event.reason


def test_what_a_model_was_trained_on_is_kept_in_one_order(run, trained, tmp_path):
    run(performer=trained())
    told = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert told["model"]["metadata"]["topics"][0]["words"] == ["dark", "spot"]
    assert run(performer=trained())[-1].outcome.plan.model.metadata == METADATA

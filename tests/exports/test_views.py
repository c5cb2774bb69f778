"""Every file that leaves tells which windows of a region were read, and what each said."""

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image, ImageColor

from napari_pathreason.budgets import BUDGET_GRID, native_tokens
from napari_pathreason.engine import view_of
from napari_pathreason.exports import (
    budget_colours,
    budget_level,
    budget_name,
    detections_in,
    features_of_marks,
    has_windows,
    mark_findings,
    marks_of,
    read_geojson,
    telling_rows,
    view_rows,
    views_line,
    windows_read,
    write_geojson,
    write_report,
    write_table,
    write_transcript,
    write_views,
)
from napari_pathreason.geometry import Region
from napari_pathreason.types import Reading, Reliability

PNG = b"\x89PNG\r\n\x1a\nnot drawn"
sides = st.integers(32, 6000)
regions = st.builds(Region, st.integers(0, 99), st.integers(0, 99), sides, sides)
budgets = st.integers(1, 2000)


@given(region=regions, budget=budgets)
def test_the_level_of_a_view_is_that_of_its_tokens(region, budget):
    view = view_of(region, budget, 32, "window")
    level = budget_level(view)
    if view.tokens >= native_tokens(region, 32):
        assert budget_name(level) == "native"
    elif level < len(BUDGET_GRID):
        assert budget_name(level) == f"up to {BUDGET_GRID[level]:,}"
        assert (0, *BUDGET_GRID)[level] < view.tokens <= BUDGET_GRID[level]
    else:
        assert view.tokens > BUDGET_GRID[-1]


def test_every_budget_has_a_colour_of_its_own():
    colours = budget_colours()
    assert len(set(colours)) == len(BUDGET_GRID) + 1
    light = [sum(ImageColor.getrgb(colour)) for colour in colours]
    assert light == sorted(light)


def test_rows_in_the_order_of_reading(make_windowed):
    result = make_windowed()
    rows = view_rows(result)
    assert [row.view.name for row in rows] == [f"window {n}" for n in range(1, 6)]
    places = ["upper left", "upper right", "lower left", "lower right", "upper right"]
    assert [row.place for row in rows] == places
    assert [row.answer for row in rows][1:3] == ["1 tumour", "none found"]
    assert [row.confidence for row in rows] == [0.9, 0.6, 0.9, None, 0.75]
    assert [row.reliability.level for row in rows][:2] == ["reliable", "uncertain"]
    assert rows[1].level < rows[4].level
    assert has_windows(result)
    assert windows_read(result) == 5
    line = "5 windows (again) of 12 to 56 tokens, 1 of them read again; 3 more could be read"
    assert views_line(result) == line


def test_one_picture_has_no_windows(make_result):
    result = make_result()
    (row,) = view_rows(result)
    assert row.place == "throughout"
    assert not has_windows(result)
    assert windows_read(result) == 0
    assert views_line(result) == ""


@pytest.fixture
def joint(make_windowed):
    """A result whose windows stood in one prompt, behind an overview."""
    result = make_windowed()
    overview = view_of(result.region, 64, 32, "overview")
    views = (overview, *result.views.views[:4])
    reading = Reading(views, result.answer, confidence=0.75, reliability=Reliability("reliable"))
    return replace(
        result, readings=(reading,), views=replace(result.views, views=views, joint=True)
    )


def test_windows_of_one_prompt_have_one_answer(joint):
    rows = view_rows(joint)
    assert [row.view.name for row in rows] == ["overview", *(f"window {n}" for n in range(1, 5))]
    assert {row.prompt for row in rows} == {1}
    assert {row.answer for row in rows} == {""}
    assert {row.confidence for row in rows} == {None}
    assert views_line(joint).startswith("4 windows (again, in one prompt) of 12 tokens")


def read_table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_for_each_view(make_windowed, make_result, joint, tmp_path, run):
    path = tmp_path / "a.views.csv"
    assert write_views(path, [make_windowed(), make_result(), joint], run) == 11
    rows = read_table(path)
    assert [row["result"] for row in rows] == ["1"] * 5 + ["2"] + ["3"] * 5
    last = rows[4]
    assert (last["view"], last["place"]) == ("window 5", "upper right")
    assert last["why"] == "window 2 showed 1 tumour"
    assert [last[name] for name in ("answer", "findings", "reliability")] == [
        *("1 tumour", "1", "reliable")
    ]
    assert (last["visual_tokens"], last["picture_width"]) == ("56", "256")
    assert [float(last[f"{n}_px"]) for n in ("x", "y", "width", "height")] == [600, 200, 500, 400]
    assert [float(last[f"{n}_um"]) for n in ("x", "width")] == [300, 250]
    assert rows[1]["reasons"] == "low confidence"
    assert (rows[5]["view"], rows[5]["policy"]) == ("picture", "one_view")
    assert {row["prompt"] for row in rows[6:]} == {"1"}
    assert {row["answer"] + row["findings"] for row in rows[6:]} == {""}


def test_what_a_window_says_is_no_formula(make_windowed, tmp_path, run):
    result = make_windowed()
    first = result.readings[0]
    bad = replace(first, answer=replace(first.answer, text="=1+1"))
    write_views(tmp_path / "a.csv", [replace(result, readings=(bad,))], run)
    (row,) = read_table(tmp_path / "a.csv")
    assert row["answer"] == "'=1+1"


def test_findings_and_answers_tell_how_a_region_was_read(make_windowed, tmp_path, run):
    path = tmp_path / "a.csv"
    write_table(path, marks_of([make_windowed()], run, windows=True))
    (row,) = read_table(path)  # windows are no findings
    told = [row[name] for name in ("policy", "windows", "unread", "native_windows")]
    assert told == ["again", "5", "3", "768"]
    assert row["native_picture"] == "775"


def test_windows_of_geojson_are_annotations_of_their_own_class(make_windowed, tmp_path, run):
    results = [make_windowed(), make_windowed(region=Region(2000, 0, 1000, 800))]
    path, plain = tmp_path / "a.geojson", tmp_path / "plain.geojson"
    write_geojson(path, features_of_marks(marks_of(results, run, windows=True)))
    write_geojson(plain, features_of_marks(marks_of(results, run)))
    features, others = list(read_geojson(path)), list(read_geojson(plain))
    windows = [one for one in features if one.label == "Window"]
    assert len(windows) == 10
    assert not any(one.label == "Window" for one in others)
    # what else the file holds is the same, ids and all
    assert [one for one in features if one not in windows] == others
    assert len({one.id for one in features}) == len(features)
    fifth = windows[4]
    assert (fifth.name, fifth.object_type, fifth.locked) == ("window 5", "annotation", True)
    assert fifth.metadata["why"] == "window 2 showed 1 tumour"
    assert fifth.metadata["answer"] == "1 tumour"
    assert fifth.metadata["rationale"] == "centre: tumour"
    assert fifth.measurements["Visual tokens"] == 56
    assert fifth.measurements["Confidence"] == 0.75
    assert windows[0].colour != fifth.colour
    assert windows[1].metadata["reliability"] == "uncertain"
    region = others[0]
    assert region.measurements["Windows"] == 5
    assert region.measurements["Windows, unread"] == 3
    assert region.metadata["policy"] == "again"
    assert [one.label for one in detections_in(features)] == ["tumour", "tumour"]


def test_a_transcript_holds_every_reading(make_windowed, tmp_path, run):
    write_transcript(tmp_path / "a.jsonl", [make_windowed()], run)
    told = json.loads((tmp_path / "a.jsonl").read_text())
    assert told["policy"] == "again"
    assert len(told["unread"]) == 3
    said = [(one["views"][0]["name"], one["answer"]) for one in told["views"]]
    assert said[4] == ("window 5", "1 tumour")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.rows, self.words = [], [], 0, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.rows += tag == "tr"
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "a":
            self.links.append(values["href"])

    def handle_data(self, data):
        self.words.append(data)


def test_a_report_has_a_row_for_each_window_and_leads_there(make_windowed, tmp_path, run):
    path = tmp_path / "a.html"
    results = [make_windowed(), make_windowed()]
    write_report(path, results, lambda result: PNG, run)
    page = Page(path.read_text(encoding="utf-8"))
    assert page.ids == [f"{part}-window-{n}" for part in (1, 2) for n in range(1, 6)]
    # the rationale cites windows 5 and 1, each in its own answer's table
    assert page.links == ["#1-window-5", "#1-window-1", "#2-window-5", "#2-window-1"]
    text = " ".join(" ".join(page.words).split())
    for part in (
        "5 windows (again) of 12 to 56 tokens, 1 of them read again; 3 more could be read",
        "208 spent, 1,536 as windows of native size, 1,550 as one picture",
        "5.0 GFLOPs; 8.0 as windows of native size, 9.0 as one picture",
        "window 2 showed 1 tumour",
        "up to 16",
        "up to 64",
    ):
        assert part in text, part
    assert page.rows == 2 * (1 + 1 + 1 + 5)


def test_a_report_tells_no_confidence_of_a_guess(make_windowed, tmp_path, run):
    path = tmp_path / "a.html"
    result = make_windowed()
    guessed = replace(result.readings[0], confidence=0.33, reliability=Reliability("none", ("x",)))
    write_report(
        path,
        [replace(result, readings=(guessed, *result.readings[1:]))],
        lambda result: PNG,
        run,
    )
    text = path.read_text(encoding="utf-8")
    assert "No reliable answer (guess: none found)" in text
    assert "0.33" not in text
    assert "0.60" in text


def test_a_long_rationale_opens_at_a_click(make_windowed, tmp_path, run):
    path = tmp_path / "a.html"
    result = make_windowed()
    lines = "\n".join(f"window {n % 5 + 1}: centre: {n} here" for n in range(20))
    answer = replace(result.answer, rationale=lines)
    write_report(path, [replace(result, answer=answer)], lambda result: PNG, run)
    text = path.read_text(encoding="utf-8")
    assert text.index("centre: 7 here") < text.index("<details>") < text.index("centre: 8 here")
    assert "12 lines more" in text
    assert len(Page(text).links) == 20


def test_what_the_rationale_cites_is_told_first(make_windowed):
    result = make_windowed()
    assert [one.view.number for one in telling_rows(result, 3)] == [5, 1, 2]
    bare = replace(result, answer=replace(result.answer, rationale=""))
    assert [one.view.number for one in telling_rows(bare, 3)] == [5, 2, 1]
    assert len(telling_rows(result, 99)) == 5


def test_a_report_of_one_prompt_says_so(joint, tmp_path, run):
    path = tmp_path / "a.html"
    write_report(path, [joint], lambda result: PNG, run)
    text = path.read_text(encoding="utf-8")
    assert "All stood in one prompt and have one answer." in text
    assert Page(text).ids[0] == "1-overview"
    assert "<th>Answer</th>" not in text


def test_a_report_of_one_picture_has_no_table_of_views(make_result, tmp_path, run):
    path = tmp_path / "a.html"
    write_report(path, [make_result()], lambda result: PNG, run)
    text = path.read_text(encoding="utf-8")
    assert "Views that were read" not in text
    assert "1,024 at native size" in text


def colours_in(picture):
    colours = picture.getcolors(picture.width * picture.height)
    return {f"#{bytes(colour).hex()}" for _, colour in colours}


def test_a_picture_shows_windows_in_the_colours_of_their_budgets(make_windowed, make_result):
    ground = Image.new("RGB", (960, 768), "#e6aac8")
    result = make_windowed()
    plain = mark_findings(ground, make_result(region=result.region))
    marked = mark_findings(ground, result)
    wanted = {row.colour for row in view_rows(result)}
    assert len(wanted) == 2
    assert wanted <= colours_in(marked)
    assert not wanted & colours_in(plain)
    # the left edge of window 1 lies at the picture's
    assert marked.getpixel((2, 200)) == ImageColor.getrgb(view_rows(result)[0].colour)
    assert marked.getpixel((240, 200)) == ground.getpixel((240, 200))


def test_a_window_too_small_for_its_number_has_none(make_windowed):
    result = make_windowed(detections=())
    large = mark_findings(Image.new("RGB", (960, 768), "#e6aac8"), result)
    small = mark_findings(Image.new("RGB", (40, 32), "#e6aac8"), result)
    assert "#ffffff" in colours_in(large)
    assert "#ffffff" not in colours_in(small)


def test_an_outline_is_drawn(make_windowed):
    result = make_windowed()
    corners = ((100.0, 200.0), (1100.0, 200.0), (100.0, 1000.0))
    outlined = replace(result, request=replace(result.request, outline=corners))
    ground = Image.new("RGB", (960, 768), "#e6aac8")
    before, after = (np.asarray(mark_findings(ground, one)) for one in (result, outlined))
    changed = (before != after).any(-1)
    assert changed[:768, :].any()
    rows, columns = np.nonzero(changed)
    # nothing changes away from the edge that does not lie along the region's own
    away = np.abs(columns / 960 + rows / 768 - 1) > 0.02
    along = (rows < 6) | (columns < 6)
    assert not (away & ~along).any()

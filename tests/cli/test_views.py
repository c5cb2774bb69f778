"""Views in the shell: planned without weights, steered by a file, told of while they are read."""

import json
from pathlib import Path

import pytest
from PIL import Image

from napari_pathreason.cli import answer_region
from napari_pathreason.exports import ManifestEntry, read_geojson
from napari_pathreason.geometry import Region
from napari_pathreason.models import TextForm, UnloadedWindows
from napari_pathreason.slides import open_slide
from napari_pathreason.types import Query, Request

FIND = ("--task", "detection", "--choices", "spot")
PINK = ("--mpp", 0.5)
HERE = [820, 620, 300, 300]


def one_line(text):
    return text.count("\n") == 1 and text.startswith("pathreason: ") and "Traceback" not in text


@pytest.fixture
def plan(tmp_path):
    """Write a file of views."""

    def write(*windows, **more):
        path = tmp_path / "plan.json"
        path.write_text(json.dumps({"windows": list(windows), **more}))
        return path

    return write


def told(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


class TestAsking:
    def test_a_large_region_is_read_by_windows(self, shell, windowed, large):
        done = told(shell("ask", large, *FIND, "--policy", "uniform", "--json", "-"))
        assert done["policy"] == "uniform"
        assert len(done["views"]) == 12
        (found,) = done["detections"]
        assert found["box"] == pytest.approx([900, 700, 100, 100], abs=40)

    def test_a_whole_slide_is_read_where_nobody_says_where(self, shell, windowed, large):
        done = told(shell("ask", large, *FIND, "--json", "-"))
        assert done["region"] == [0, 0, 2000, 1500]
        assert done["policy"] == "table"
        assert len(done["views"]) >= 12
        assert done["tokens"]["realised"] < done["tokens"]["native_windows"] / 10

    def test_a_model_that_has_learnt_no_windows_is_told_so(self, shell, windowed, large):
        done = shell("ask", large, *FIND, "--policy", "learned")
        assert done.code == 2
        assert "pathreason train allocator" in done.err

    def test_the_words_for_people_tell_of_windows(self, shell, windowed, large):
        done = shell("ask", large, *FIND, *PINK, "--policy", "again")
        assert done.code == 0
        lines = " ".join(done.out.split())
        assert "Windows 13 windows (again) of 16 to 64 tokens, 1 of them read again" in lines
        assert "window 13 (centre, 64 tokens): 1 spot; window 6 showed 1 spot" in lines
        assert "and 5 more; --report, --views-csv or --json has them" in lines
        assert "in 13 windows" in lines
        assert "Rationale window 13: " in lines

    def test_one_picture_has_no_word_of_windows(self, shell, windowed, large):
        done = shell("ask", large, *FIND, "--policy", "one_view")
        assert done.code == 0
        assert "indow" not in done.out

    def test_a_window_that_is_listed_is_read_alone(self, shell, windowed, large, plan):
        views = plan({"region": HERE, "tokens": 81})
        done = told(
            shell("ask", large, *FIND, "--views", views, "--policy", "listed", "--json", "-")
        )
        (reading,) = done["views"]
        assert reading["views"][0]["region"] == HERE
        assert reading["views"][0]["tokens"] == 81
        assert reading["views"][0]["why"] == "pinned by you"
        assert done["unread"]

    def test_a_window_that_is_left_out_is_not_read(self, shell, windowed, large, plan):
        whole = told(shell("ask", large, *FIND, "--policy", "uniform", "--json", "-"))
        views = plan({"region": [500, 500, 500, 500], "tokens": 0})
        done = told(
            shell("ask", large, *FIND, "--policy", "uniform", "--views", views, "--json", "-")
        )
        regions = [reading["views"][0]["region"] for reading in done["views"]]
        assert len(regions) == len(whole["views"]) - 1
        assert [500, 500, 500, 500] not in regions

    def test_each_region_has_the_windows_that_lie_in_it(self, shell, windowed, large, plan):
        views = plan({"region": [100, 100, 200, 200]}, {"region": HERE, "tokens": None})
        regions = ("--region", 800, 600, 1000, 800, "--region", 0, 0, 700, 700)
        words = ("--views", views, "--policy", "listed", "--json", "-")
        first, second = told(shell("ask", large, *FIND, *regions, *words))
        assert [one["views"][0]["region"] for one in first["views"]] == [HERE]
        assert [one["views"][0]["region"] for one in second["views"]] == [[100, 100, 200, 200]]


class TestPlanning:
    def test_a_plan_needs_no_weights(self, shell, windowed, large):
        done = shell("ask", large, *FIND, "--policy", "uniform", "--show-views")
        assert (done.code, done.err) == (0, "")
        *views, last = done.out.splitlines()
        assert len(views) == 12
        assert views[0].split() == "window 1 64 tokens x 0 y 0 500 x 500 px".split()
        assert last.startswith("uniform: 768 of 3,072 visual tokens (25 %), about ")
        assert "3.0 Mpx to decode" in last
        assert windowed == []

    def test_a_second_round_is_said(self, shell, windowed, large):
        words = "windows may then be read again, where their answers ask for it"
        assert words in shell("ask", large, *FIND, "--policy", "again", "--show-views").out
        assert words not in shell("ask", large, *FIND, "--policy", "random", "--show-views").out

    def test_a_plan_that_is_read_again_is_the_same(self, shell, windowed, large, tmp_path):
        plan = tmp_path / "plan.json"
        region = ("--region", 0, 0, 1990, 1230)  # windows that are no squares
        shown = shell("ask", large, *FIND, *region, "--policy", "surprise", "--show-views", plan)
        assert shown.code == 0, shown.err
        words = ("--views", plan, "--policy", "listed", "--json", "-")
        done = told(shell("ask", large, *FIND, *region, *words))
        windows = [reading["views"][0] for reading in done["views"]]
        lines = shown.out.splitlines()[:-1]
        assert len(windows) == len(lines) > 1
        for window, line in zip(windows, lines, strict=True):
            x, y, w, h = window["region"]
            assert f"{window['tokens']} tokens  x {x:,} y {y:,} {w} x {h} px" in line

    def test_one_picture_of_a_budget_needs_no_weights(self, shell, windowed, large):
        words = ("--policy", "one_view", "--budget", 64, "--show-views")
        done = shell("ask", large, *FIND, *words)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("picture ")
        assert windowed == []

    def test_an_allocator_needs_its_model(self, shell, windowed, large):
        done = shell("ask", large, *FIND, "--policy", "one_view", "--show-views")
        assert (done.code, done.err) == (0, "")
        assert "picture        54 tokens" in done.out  # the allocator's 64
        assert len(windowed) == 1

    def test_a_model_that_is_not_here_is_loaded(self, shell, windowed, large):
        words = ("--model", "not/here", "--policy", "uniform", "--show-views")
        assert shell("ask", large, *FIND, *words).code == 0
        assert windowed == [("not/here", "auto", "exact")]

    def test_a_model_that_writes_its_windows_is_loaded(self, shell, windowed, large, monkeypatch):
        unloaded = UnloadedWindows(TextForm(64, 24, "balanced"))
        monkeypatch.setattr("napari_pathreason.models.find_windows", lambda model: unloaded)
        assert shell("ask", large, *FIND, "--show-views").code == 0
        assert len(windowed) == 1
        assert shell("ask", large, *FIND, "--policy", "uniform", "--show-views").code == 0
        assert len(windowed) == 1  # rules need none

    def test_nothing_is_asked(self, shell, windowed, large, monkeypatch):
        monkeypatch.setattr("tests.cli.conftest.SpotFinder.generate", None, raising=False)
        for policy in ("auto", "again", "one_view"):
            assert shell("ask", large, *FIND, "--policy", policy, "--show-views").code == 0

    def test_a_plan_without_windows_says_how_to_get_some(self, shell, windowed, picture, tmp_path):
        plan = tmp_path / "plan.json"
        done = shell("ask", picture, *FIND, "--show-views", plan)
        assert done.code == 0
        assert json.loads(plan.read_text()) == {"windows": []}
        assert one_line(done.err)
        assert "--policy uniform" in done.err

    def test_several_regions_and_one_that_fails(self, shell, windowed, large, tmp_path):
        plan = tmp_path / "plan.json"
        regions = [("--region", *one) for one in ((0, 0, 1100, 1100), (5000, 0, 9, 9))]
        words = (*regions[0], *regions[1], "--policy", "uniform", "--show-views", plan)
        done = shell("ask", large, *FIND, *words)
        assert done.code == 2
        assert done.out.startswith("region 1 of 2: x 0 y 0 1,100 x 1,100 px\nwindow 1 ")
        assert one_line(done.err)
        assert "region 2 of 2" in done.err
        assert len(json.loads(plan.read_text())["windows"]) == 4

    def test_many_windows_are_not_all_printed(self, shell, windowed, large, monkeypatch):
        monkeypatch.setattr("napari_pathreason.cli._views.MOST_LINES", 5)
        done = shell("ask", large, *FIND, "--policy", "uniform", "--show-views")
        assert "and 7 more; --show-views FILE.json writes all of them" in done.out
        assert len(done.out.splitlines()) == 7

    def test_a_question_that_was_not_trained_on_is_told(self, shell, windowed, large):
        done = shell("ask", large, "--question", "Is there necrosis?", "--show-views")
        assert "not trained on: necrosis" in done.err
        assert done.code == 0


WRONG = [
    (None, "plan.json cannot be read (No such file"),
    ("", "is not JSON"),
    ("{", "is not JSON"),
    ("[" * 100_000, "is not JSON"),
    (b"\xff\xfe", "is not JSON"),
    ("[]", "holds no windows"),
    ("3", "holds no windows"),
    ("{}", "holds no windows"),
    ('{"windows": {}}', "holds no windows"),
    ('{"windows": [3]}', "window 1 of plan.json has no region"),
    ('{"windows": [{}]}', "window 1 of plan.json has no region"),
    ('{"windows": [{"region": [1, 2, 3]}]}', "has no region [x, y, w, h]"),
    ('{"windows": [{"region": "1234"}]}', "has no region [x, y, w, h]"),
    ('{"windows": [{"region": [0, 0, 99.5, 99]}]}', "whole pixels"),
    ('{"windows": [{"region": [0, 0, true, 99]}]}', "whole pixels"),
    ('{"windows": [{"region": [0, 0, NaN, 99]}]}', "whole pixels"),
    ('{"windows": [{"region": [0, 0, 0, 99]}]}', "whole pixels"),
    ('{"windows": [{"region": [0, 0, -5, 99]}]}', "whole pixels"),
    ('{"windows": [{"region": [0, 0, 1' + "0" * 40 + ", 99]}]}", "whole pixels"),
    ('{"windows": [{"region": [0, 0, 99, 99], "tokens": -1}]}', "has -1 tokens; give a whole"),
    ('{"windows": [{"region": [0, 0, 99, 99], "tokens": "64"}]}', 'has "64" tokens'),
    ('{"windows": [{"region": [0, 0, 99, 99], "tokens": 6.5}]}', "has 6.5 tokens"),
    ('{"windows": [{"region": [0, 0, 99, 99], "tokens": true}]}', "has true tokens"),
    (
        '{"windows": [{"region": [0, 0, 99, 99]}, {"region": [0, 0, 99, 99], "tokens": 4}]}',
        "windows 1 and 2 of plan.json are the same region",
    ),
    (
        '{"windows": [{"region": [0, 0, 99, 99]}, {"region": [5000, 0, 99, 99]}]}',
        "window 2 of plan.json, 5000 0 99 99, does not lie in what is asked about",
    ),
    ('{"windows": [{"region": [-90, 0, 99, 99]}]}', "does not lie in what is asked about"),
]


class TestRefusals:
    @pytest.mark.parametrize(("text", "part"), WRONG)
    def test_a_wrong_file_is_one_line(self, shell, windowed, large, tmp_path, text, part):
        path = tmp_path / "plan.json"
        if text is not None:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        done = shell("ask", large, *FIND, "--views", path)
        assert (done.code, done.out) == (2, "")
        assert one_line(done.err), done.err
        assert part in done.err
        assert str(tmp_path) not in done.err
        assert windowed == []  # before the model costs its seconds

    def test_a_thin_window_is_refused(self, shell, windowed, large, plan):
        done = shell("ask", large, *FIND, "--views", plan({"region": [0, 0, 400, 9]}))
        assert (done.code, done.out) == (2, "")
        assert one_line(done.err)
        assert "thinner than one visual token" in done.err

    def test_more_tokens_than_a_window_has_are_those_that_it_has(
        self, shell, windowed, large, plan
    ):
        views = plan({"region": HERE, "tokens": 10**30})
        words = ("--views", views, "--policy", "listed", "--json", "-")
        done = told(shell("ask", large, *FIND, *words))
        assert done["tokens"]["realised"] == 81

    @pytest.mark.parametrize(
        ("words", "part"),
        [
            (("--policy", "some"), "invalid choice: 'some'"),
            (("--policy", "listed"), "give --views, or another policy"),
            (("--policy", "one_view", "--views", "{plan}"), "leave one of them out"),
            (
                ("--policy", "listed", "--views", "{banned}"),
                "lists no window to read of the region",
            ),
            (
                (
                    *("--region", 0, 0, 500, 500, "--region", 800, 600, 500, 500),
                    *("--policy", "listed", "--views", "{plan}"),
                ),
                "lists no window to read of region 1",
            ),
            (("--show-views", "--json", "-"), "--show-views asks nothing; leave out --json"),
            (("--show-views", "--views-csv", "a", "--report", "b"), "--views-csv, --report"),
            (("--show-views", "large.png"), "large.png does not end in .json"),
            (("--show-views", "no/folder/a.json"), "there is no folder"),
            (("--views-csv", "no/folder/a.csv"), "there is no folder"),
        ],
    )
    def test_wrong_words_are_one_line(self, shell, windowed, large, plan, tmp_path, words, part):
        banned = tmp_path / "banned.json"
        banned.write_text(json.dumps({"windows": [{"region": HERE, "tokens": 0}]}))
        files = {"plan": plan({"region": HERE}), "banned": banned}
        done = shell("ask", large, *FIND, *(str(word).format(**files) for word in words))
        assert (done.code, done.out) == (2, "")
        assert one_line(done.err), done.err
        assert part in done.err
        assert windowed == []

    def test_the_slide_is_not_written_over(self, shell, windowed, large):
        before = Path(large).read_bytes()
        done = shell("ask", *FIND, "--show-views", large)
        assert done.code == 2
        assert one_line(done.err)
        assert "put SLIDE before the options" in done.err
        assert Path(large).read_bytes() == before

    @pytest.mark.parametrize(
        "words", [("--views", "{plan}"), ("--policy", "again"), ("--effort", "high")]
    )
    def test_what_the_manifest_says_is_not_said_again(
        self, shell, windowed, large, plan, tmp_path, words
    ):
        manifest = tmp_path / "run.json"
        assert shell("ask", large, *FIND, "--manifest", manifest).code == 0
        views = plan({"region": HERE})
        done = shell("ask", "--from", manifest, *(word.format(plan=views) for word in words))
        assert done.code == 2
        assert one_line(done.err)
        assert f"leave out {words[0]}" in done.err


class TestRepeating:
    @pytest.mark.parametrize("policy", ["auto", "uniform", "random", "surprise", "again", "listed"])
    def test_a_run_by_windows_is_repeated(self, shell, windowed, large, plan, tmp_path, policy):
        views = plan({"region": HERE, "tokens": 64}, {"region": [0, 0, 600, 500], "tokens": 30})
        manifest, first = tmp_path / "run.json", tmp_path / "first.json"
        ring = [[10, 10], [1900, 10], [1900, 1400], [10, 1200], [10, 10]]
        geojson = tmp_path / "regions.geojson"
        geojson.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
        words = ("--policy", policy, "--views", views, "--regions", geojson, *PINK)
        asked = shell("ask", large, *FIND, *words, "--manifest", manifest, "--json", first)
        assert asked.code == 0, asked.err
        again = shell("ask", "--from", manifest, "--json", "-")
        assert again.err == ""
        before, after = json.loads(first.read_text()), told(again)
        for one in (before, after):
            del one["seconds"]
        assert after == before
        assert after["views"][0]["views"][0]["region"] == HERE

    def test_what_was_read_is_read_though_the_rule_would_choose_otherwise(
        self, shell, windowed, large, tmp_path
    ):
        manifest = tmp_path / "run.json"
        assert shell("ask", large, *FIND, "--policy", "random", "--manifest", manifest).code == 0
        run = json.loads(manifest.read_text())
        windows = [one for one in run["entries"][0]["views"]["views"] if one["role"] == "window"]
        for number, one in enumerate(windows):
            one["region"] |= {"x": 100 + number, "y": 900}
        manifest.write_text(json.dumps(run))
        again = shell("ask", "--from", manifest, "--json", "-")
        done = told(again)
        regions = [one["views"][0]["region"][:2] for one in done["views"]]
        assert regions == [[100 + number, 900] for number in range(len(windows))]

    def test_a_plan_of_a_manifest_is_what_was_read(self, shell, windowed, large, tmp_path):
        manifest, plan = tmp_path / "run.json", tmp_path / "plan.json"
        asked = told(
            shell(
                *("ask", large, *FIND, "--policy", "random", "--seed", 3),
                *("--manifest", manifest, "--json", "-"),
            )
        )
        assert shell("ask", "--from", manifest, "--show-views", plan).code == 0
        planned = [one["region"] for one in json.loads(plan.read_text())["windows"]]
        assert planned == [one["views"][0]["region"] for one in asked["views"]]

    def test_other_views_than_those_of_the_run_are_said(self, shell, windowed, large, tmp_path):
        manifest = tmp_path / "run.json"
        words = ("--policy", "one_view", "--budget", 64, "--manifest", manifest)
        assert shell("ask", large, *FIND, *words).code == 0
        run = json.loads(manifest.read_text())
        run["entries"][0]["request"]["budget"] = 16
        manifest.write_text(json.dumps(run))
        assert "what was read differs" in shell("ask", "--from", manifest).err


class Lines:
    def __init__(self):
        self.shown = []

    def show(self, text):
        self.shown.append(text)


def test_progress_says_which_window_of_how_many(windowed, large):
    lines = Lines()
    query = Query("detection", options=("spot",))
    request = Request(Region(0, 0, 2000, 1500), query, policy="again")
    with open_slide(large) as slide:
        answer_region(ManifestEntry(request), slide, load_models_of(), lines, "region 1 of 2: ")
    assert "region 1 of 2: window 3 of 12" in lines.shown
    assert "region 1 of 2: window 13 of 13" in lines.shown
    assert "region 1 of 2: window 14 of 13" not in lines.shown


def load_models_of():
    from napari_pathreason import models

    return models.load_models()


class TestFiles:
    def test_every_file_tells_of_windows(self, shell, windowed, large, tmp_path):
        files = {
            name: tmp_path / f"a.{name}"
            for name in ("geojson", "csv", "views-csv", "report", "transcript")
        }
        words = [word for name, file in files.items() for word in (f"--{name}", file)]
        figure = tmp_path / "a.png"
        more = ("--policy", "again", "--geojson-windows", "--figure", figure)
        done = shell("ask", large, *FIND, *PINK, *words, *more)
        assert (done.code, done.err) == (0, "")
        assert "again,13," in files["csv"].read_text()
        assert files["views-csv"].read_text().count("\n") == 14
        assert files["report"].read_text().count('<tr id="1-window-') == 13
        windows = [one for one in read_geojson(files["geojson"]) if one.label == "Window"]
        assert len(windows) == 13
        assert json.loads(files["transcript"].read_text())["policy"] == "again"
        with Image.open(figure) as drawn:
            assert drawn.size[0] > 1000
        for file in (*files.values(), figure):
            assert str(tmp_path).encode() not in file.read_bytes()

    def test_windows_are_no_objects_of_qupath_unless_wanted(self, shell, windowed, large, tmp_path):
        file = tmp_path / "a.geojson"
        assert shell("ask", large, *FIND, "--policy", "uniform", "--geojson", file).code == 0
        assert [one.label for one in read_geojson(file)] == ["", "spot"]

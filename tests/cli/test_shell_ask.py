import json

import pytest
from PIL import Image

from napari_pathreason.cli import answer_region

FIND = ("--task", "detection", "--choices", "spot")


def one_line(text):
    return text.count("\n") == 1 and text.startswith("pathreason: ") and "Traceback" not in text


def test_json_on_stdout_and_nothing_else(shell, loads, picture):
    done = shell("ask", picture, *FIND, "--json", "-", "--mpp", 0.5)
    assert done.code == 0
    assert done.err == ""
    told = json.loads(done.out)
    (found,) = told["detections"]
    assert found["label"] == "spot"
    assert found["box"] == pytest.approx([256, 128, 64, 96], abs=32)
    assert told["region"] == [0, 0, 640, 480]
    assert told["slide"]["mpp"] == [0.5, 0.5]
    assert told["slide"]["mpp_source"] == "user"
    assert told["slide"]["name"] == "spot.png"
    assert told["allocation"]["source"] == "fixed"
    assert loads == [("embedded", "auto", "exact")]


def test_text_for_people(shell, loads, picture):
    done = shell("ask", picture, *FIND, "--question", "Where is it?")
    assert done.code == 0
    for part in (
        "Question     Where is it? (spot)",
        "Answer       1 spot",
        "Rationale    one dark spot",
        "Box          spot: ",
        "visual tokens",
        "Note         the slide does not state its resolution",
    ):
        assert part in done.out


@pytest.mark.parametrize(("region", "told"), [((0, 0, 64, 64), True), ((0, 0, 640, 480), False)])
def test_a_region_outside_tissue_is_said(shell, loads, picture, region, told):
    done = shell("ask", picture, *FIND, "--region", *region)
    assert done.out.startswith("Reliability  none: almost no tissue in this region") is told
    assert ("Answer       No reliable answer" in done.out) is told


def test_every_option_reaches_the_job(shell, loads, picture):
    words = ("--region", 64, 32, 320, 320, "--budget", 16, "--seed", 7, "--temperature", 0.5)
    more = ("--device", "cpu", "--model", "some/model", "--json", "-")
    told = json.loads(shell("ask", picture, *FIND, *words, *more).out)
    assert told["region"] == [64, 32, 320, 320]
    assert told["tokens"]["requested"] == 16
    assert told["allocation"]["source"] == "user"
    assert told["seed"] == 7
    assert told["temperature"] == 0.5
    assert told["query"] == {"task": "detection", "question": "", "options": ["spot"]}
    assert loads == [("some/model", "cpu", "exact")]


@pytest.mark.parametrize("words", [("--effort", "low"), ("--effort", "high"), ()])
def test_the_effort_reaches_the_allocator(shell, loads, picture, words):
    told = json.loads(shell("ask", picture, *FIND, *words, "--json", "-").out)
    assert told["allocation"]["effort"] == (words[1] if words else "balanced")


def test_several_regions_load_the_model_once(shell, loads, picture, tmp_path):
    ring = [[0, 0], [96, 0], [96, 64], [0, 0]]
    geojson = tmp_path / "regions.geojson"
    geojson.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    words = ("--region", 0, 0, 640, 480, "--region", 200, 100, 200, 200, "--regions", geojson)
    out = tmp_path / "out.json"
    done = shell("ask", picture, *FIND, *words, "--json", out)
    assert done.code == 0
    told = json.loads(out.read_text())
    assert [one["region"] for one in told] == [
        [0, 0, 640, 480],
        [200, 100, 200, 200],
        [0, 0, 96, 64],
    ]
    assert [len(one["detections"]) for one in told] == [1, 1, 0]
    assert len(loads) == 1
    assert done.out.count("Answer") == 3


def test_one_bad_region_does_not_lose_the_others(shell, loads, picture):
    words = ("--region", 5000, 0, 64, 64, "--region", 0, 0, 640, 480, "--json", "-")
    done = shell("ask", picture, *FIND, *words)
    assert done.code == 2
    assert one_line(done.err)
    assert "region 1 of 2" in done.err
    bad, good = json.loads(done.out)
    assert bad["region"] == [5000, 0, 64, 64]
    assert "outside the slide" in bad["error"]
    assert good["detections"]


def test_answers_before_ctrl_c_are_kept(shell, loads, picture, tmp_path, monkeypatch):
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return answer_region(*arguments)

    monkeypatch.setattr("napari_pathreason.cli._ask.answer_region", interrupted)
    out = tmp_path / "out.json"
    words = ("--region", 0, 0, 640, 480, "--region", 0, 0, 64, 64, "--json", out)
    done = shell("ask", picture, *FIND, *words)
    assert done.code == 130
    assert len(json.loads(out.read_text())) == 1


def test_the_figure_shows_the_region_and_its_box(shell, loads, picture, tmp_path):
    file = tmp_path / "answer.png"
    done = shell("ask", picture, *FIND, "--budget", "native", "--mpp", 0.5, "--figure", file)
    assert done.code == 0
    with Image.open(file) as figure:
        assert figure.format == "PNG"
        pixels = figure.convert("RGB")
    # the region starts at the margin, 36 px, and is drawn 960 px wide: 1.5 px for each of 640
    edge = [pixels.getpixel((36 + round(256 * 1.5) + dx, 36 + 200)) for dx in range(-4, 5)]
    assert (230, 25, 75) in edge
    middle = (36 + round((256 + 32) * 1.5), 36 + round((128 + 48) * 1.5))
    assert pixels.getpixel(middle) == (40, 20, 50)


def test_several_figures_are_numbered(shell, loads, picture, tmp_path):
    words = ("--region", 0, 0, 640, 480, "--region", 0, 0, 64, 64)
    assert shell("ask", picture, *FIND, *words, "--figure", tmp_path / "a.png").code == 0
    assert sorted(file.name for file in tmp_path.glob("a*.png")) == ["a-1.png", "a-2.png"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--region", 9000, 0, 64, 64), "outside the slide"),
        (("--region", 0, 0, 0, 64), "the region is empty"),
        (("--region", 0, 0, 640, 20), "thinner than one visual token"),
        (("--region", 1, 2, 3), "expected 4 arguments"),
        (("--region", "a", 2, 3, 4), "invalid int value"),
        (("--regions", "nowhere.geojson"), "nowhere.geojson cannot be read"),
        (("--budget", "lots"), "give auto, native or a number"),
        (("--budget", "0"), "give auto, native or a number"),
        (("--task", "poetry"), "invalid choice: 'poetry'"),
        (("--task", "vqa"), "the question is empty"),
        (("--model", "unknown"), "there is no model 'unknown'"),
        (("--mpp", "-1"), "give micrometres per pixel"),
        (("--mpp", "nan"), "give micrometres per pixel"),
        (("--temperature", "-1"), "give 0 or more"),
        (("--json", "no/such/folder/x.json"), "there is no folder"),
        (("--figure", "."), "is a folder"),
        (("--nonsense",), "--help"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_2(shell, loads, picture, words, part):
    done = shell("ask", picture, *FIND, *words)
    assert done.code == 2
    assert done.out == ""
    assert one_line(done.err), done.err
    assert part in done.err


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_not_an_image(shell, loads, tmp_path, content):
    file = tmp_path / "slide.svs"
    file.write_bytes(content)
    done = shell("ask", file, "--question", "?")
    assert done.code == 2
    assert one_line(done.err), done.err
    assert not loads  # the slide is looked at before the model costs its seconds


def test_what_a_model_writes_cannot_steer_the_terminal(shell, loads, picture):
    done = shell("ask", picture, *FIND, "--question", "red \x1b[31m ink\x07")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\x07" not in done.out
    assert "[31m ink" in done.out


def test_no_such_slide(shell, loads):
    done = shell("ask", "nowhere.svs", "--question", "?")
    assert done.code == 2
    assert one_line(done.err), done.err

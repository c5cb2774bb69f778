"""No file says an answer without saying how far it may be relied on."""

import csv
import gzip
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason.exports import (
    ENDINGS,
    LEVEL_COLOURS,
    NO_ANSWER,
    UNREADABLE,
    AnswerFiles,
    UsedModel,
    answer_line,
    detections_in,
    digest_of,
    features_of_marks,
    mark_findings,
    marks_of,
    read_geojson,
    read_manifest,
    region_picture,
    reliability_in,
    reliability_line,
    write_account,
    write_geojson,
)
from napari_pathreason.geometry import Region
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.types import Answer, Query, Reliability

REASONS = ("not trained on: necrosis", "low confidence; look for yourself")
NONE = Reliability("none", REASONS)
UNCERTAIN = Reliability("uncertain", REASONS[1:])
ACCOUNT = "history.csv"
KINDS = (*(f"a{ending}" for ending in ENDINGS), ACCOUNT)
ASKED = {"query": Query("vqa", "Is there necrosis?", ("yes", "no")), "answer": Answer("", "yes")}
SCRAWL = "<answer>@@@ <b>tumour"
UNREAD = {"answer": Answer("", "", well_formed=False, reply=SCRAWL), "reliability": NONE}


@pytest.fixture(scope="module")
def slide():
    return slide_from_arrays([np.full((400, 500, 3), 200, np.uint8)], "a.svs", 0.5)


@pytest.fixture
def written(slide, tmp_path):
    """Text of a file with results."""

    def write(name, *results, **more):
        results = [replace(one, region=Region(10, 20, 300, 200)) for one in results]
        path = tmp_path / name
        if name.endswith(".h5ad"):
            pytest.importorskip("anndata")
        if name == ACCOUNT:
            write_account(path, [(datetime.now(UTC), one) for one in results])
        else:
            used = UsedModel("finder", "finder", "cpu", "abc")
            AnswerFiles(results, lambda: slide, lambda: used, **more).write(path)
        if name.endswith(".h5ad"):
            import anndata

            return anndata.read_h5ad(path).obs.to_csv()
        raw = path.read_bytes()
        return (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()

    return write


@pytest.mark.parametrize("name", KINDS)
def test_no_format_holds_a_guess_without_the_words(make_result, written, name):
    text = written(name, make_result(**ASKED, reliability=NONE))
    assert all(reason in text for reason in REASONS)
    assert "none" in text or "Not reliable" in text
    if not name.endswith((".json", ".jsonl")):  # those have a field for each
        assert NO_ANSWER in text


@pytest.mark.parametrize("name", KINDS)
def test_no_format_holds_boxes_without_the_words(make_result, written, name):
    found = (("tumour", 20, 30, 40, 20), ("tumour", 90, 30, 40, 20))
    text = written(name, make_result(*found, reliability=NONE))
    assert all(reason in text for reason in REASONS)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_uncertain_is_said(make_result, written, name):
    text = written(name, make_result(**ASKED, reliability=UNCERTAIN))
    assert "ncertain" in text
    assert REASONS[1] in text
    assert NO_ANSWER not in text


@pytest.mark.parametrize("name", KINDS)
def test_a_reply_that_could_not_be_read_is_no_answer(make_result, written, name):
    text = written(name, make_result(**UNREAD))
    assert "none found" not in text
    assert '"level": "none"' in text or UNREADABLE.lower() in text.lower().replace("&#39;", "'")
    # the raw text stands only where a reader looks for it
    assert ("@@@" in text) is name.endswith((".jsonl", ".html"))


@pytest.mark.parametrize("name", KINDS)
def test_what_is_reliable_is_said_too(make_result, written, name):
    text = written(name, make_result(("tumour", 20, 30, 40, 20)))
    assert "reliable" in text.lower()
    assert NO_ANSWER not in text


def test_an_empty_table_never_means_that_nothing_is_there(make_result, written):
    (row,) = csv.DictReader(written("a.csv", make_result(**UNREAD)).splitlines())
    assert (row["kind"], row["reliability"], row["label"]) == ("region", "none", "")
    assert row["answer"] == f"{NO_ANSWER} (the model's reply could not be read)"
    assert row["reasons"] == " | ".join(REASONS)


words = st.text(st.characters(exclude_characters="|", exclude_categories=("Cs", "Cc")), min_size=1)
levels = st.sampled_from(["reliable", "uncertain", "none"])
assessed = st.builds(Reliability, levels, st.lists(words, max_size=4).map(tuple))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("judged")


@given(assessed=assessed, marked=st.booleans())
def test_geojson_gives_it_back(make_result, folder, run, assessed, marked):
    result = make_result(("Tumor: Positive", 1, 2, 3, 4), reliability=assessed)
    path = folder / "a.geojson"
    write_geojson(path, features_of_marks(marks_of([result], run), marked))
    features = list(read_geojson(path))
    assert [reliability_in(one.metadata) for one in features] == [assessed] * 2
    rank = {"none": 0, "uncertain": 1, "reliable": 2}[assessed.level]
    assert [one.measurements["Reliability"] for one in features] == [rank] * 2
    again = folder / "b.geojson"
    write_geojson(again, features)
    assert list(read_geojson(again)) == features
    (found,) = detections_in(features)
    assert found.label == "Tumor: Positive"  # whatever QuPath is to show


def test_the_class_of_qupath_is_an_option(make_result, written, tmp_path):
    found = ("tumour", 20, 30, 40, 20)
    results = [make_result(found, reliability=one) for one in (NONE, UNCERTAIN)]
    for marked, wanted in (
        (False, ["", "tumour", "", "tumour"]),
        (True, ["Unreliable", "Unreliable: tumour", "", "tumour"]),
    ):
        written("a.geojson", *results, unreliable_class=marked)
        assert [one.label for one in read_geojson(tmp_path / "a.geojson")] == wanted


def test_an_object_of_another_program_is_not_judged():
    assert reliability_in({}) is None
    assert reliability_in({"reliability": "superb", "reasons": "mine"}) is None


def test_a_manifest_keeps_it(make_result, written, tmp_path):
    written("a.json", make_result(**ASKED, reliability=NONE))
    (entry,) = read_manifest(tmp_path / "a.json").entries
    assert entry.reliability == NONE


def test_two_scrawls_have_two_digests(make_result):
    one = make_result(**UNREAD)
    other = replace(one, answer=replace(one.answer, reply="another"))
    assert digest_of(one) != digest_of(other)


def place(text, *parts):
    """Where parts stand, each behind the one before."""
    at = 0
    for part in parts:
        assert part in text[at:], part
        at = text.index(part, at) + len(part)


def test_a_report_says_it_above_the_answer(make_result, written):
    results = [
        make_result(),
        make_result(**ASKED, reliability=UNCERTAIN),
        make_result(**ASKED, reliability=NONE, confidence=0.9),
    ]
    text = written("a.html", *results)
    place(
        text,
        "1 reliable, 1 uncertain, 1 no reliable answer",
        '<p class="level reliable">Reliable</p>',
        '<p class="answer">0 found</p>',
        '<p class="level uncertain">Uncertain: low confidence; look for yourself</p>',
        '<p class="answer">yes</p>',
        '<p class="level none">Not reliable: not trained on: necrosis; low confidence',
        '<p class="answer">No reliable answer</p>',
        '<p class="guess">Guess: yes</p>',
    )
    assert "90%" not in text  # of what is no answer


def test_a_report_opens_the_raw_reply_at_a_click(make_result, written):
    text = written("a.html", make_result(**UNREAD))
    place(
        text,
        '<p class="answer">No reliable answer</p>',
        "reply could not be read</p>",
        "<details><summary>",
        "&lt;answer&gt;@@@ &lt;b&gt;tumour</pre></details>",
    )
    assert "<details>" not in written("a.html", make_result(reliability=NONE))


def test_boxes_of_a_report_without_a_reliable_answer_are_guesses(make_result, written):
    box = ("tumour", 20, 30, 40, 20)
    assert "<th>Guess</th>" in written("a.html", make_result(box, reliability=NONE))
    assert "<th>Finding</th>" in written("a.html", make_result(box))


@pytest.mark.parametrize("region", [(10, 20, 300, 200), (10, 20, 16, 300), (10, 20, 400, 16)])
@pytest.mark.parametrize("level", ["reliable", "uncertain", "none"])
def test_a_picture_says_it_itself(make_result, slide, level, region):
    result = make_result(region=Region(*region), reliability=Reliability(level, REASONS))
    picture = mark_findings(region_picture(slide, result), result)
    colours = {colour for _, colour in picture.getcolors(picture.width * picture.height)}
    for ground, ink in LEVEL_COLOURS.values():
        shown = (ground, ink) == LEVEL_COLOURS[level] and level != "reliable"
        for colour in (ground, ink):
            assert (tuple(bytes.fromhex(colour[1:])) in colours) is shown
    whole = mark_findings(region_picture(slide, result), replace(result, reliability=NONE))
    assert picture.size == whole.size


@given(text=st.text(), assessed=assessed)
def test_a_line_is_an_answer_or_says_that_it_is_none(text, assessed):
    line = answer_line(text, assessed)
    if text and assessed.level != "none":
        assert line == text
    else:
        assert line.startswith(NO_ANSWER)
        assert (text in line) if text else ("could not be read" in line)
    assert reliability_line(assessed).startswith(assessed.level)

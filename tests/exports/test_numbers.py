"""Counts, densities and areas of slides and cases; only what counts is counted."""

import csv
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from napari_pathreason.exports import AnswerRow, numbers_of, write_numbers
from napari_pathreason.geometry import Region
from napari_pathreason.types import Answer, Query, Reliability, Request, SlideInfo
from tests.exports.conftest import result_with

MM2 = 0.5 * 0.25 / 1e6
YES_NO = Query("vqa", "Is there tumour?", ("yes", "no"))


def row(*boxes, slide="a.svs", case="", review="", tissue=0.5, **changes):
    result = result_with(*boxes, **changes)
    result = replace(result, slide=replace(result.slide, name=slide))
    return AnswerRow(1, datetime.now(UTC), "1", result, review, case, tissue)


def answer(text, **more):
    return row(query=YES_NO, answer=Answer("", text), **more)


def test_counts_densities_and_areas():
    one = row(("tumour", 200, 300, 100, 100), ("tumour", 250, 300, 100, 100))
    (found,) = numbers_of([one])
    area = 1000 * 800 * MM2
    assert found.findings == 2
    assert found.area_mm2 == pytest.approx(area)
    assert found.per_mm2 == pytest.approx(2 / area)
    assert found.findings_mm2 == pytest.approx(150 * 100 * MM2)  # each place once
    assert found.tissue_mm2 == pytest.approx(area / 2)
    assert found.share_of_tissue == pytest.approx(150 * 100 / (1000 * 800 / 2))


def test_what_lies_outside_what_was_asked_about_is_no_area():
    outline = ((100.0, 200.0), (1100.0, 200.0), (100.0, 1000.0))
    one = row(("tumour", 600, 200, 500, 800))
    asked = Request(one.result.region, one.result.query, outline=outline)
    (found,) = numbers_of([replace(one, result=replace(one.result, request=asked))])
    assert found.area_mm2 == pytest.approx(1000 * 800 / 2 * MM2)
    assert found.findings_mm2 == pytest.approx(500 * 400 / 2 * MM2)
    assert found.share < 1


def test_what_lies_off_the_slide_is_no_area():
    outline = ((-900.0, 200.0), (1100.0, 200.0), (1100.0, 1000.0), (-900.0, 1000.0))
    one = row()
    asked = Request(one.result.region, one.result.query, outline=outline)
    (found,) = numbers_of([replace(one, result=replace(one.result, request=asked))])
    assert found.area_mm2 == pytest.approx(1000 * 800 * MM2)


def test_doubtful_and_rejected_answers_do_not_count():
    box = ("tumour", 200, 300, 100, 100)
    rows = [
        row(box),
        row(box, region=Region(2000, 0, 100, 100), reliability=Reliability("none", ("why",))),
        row(box, region=Region(3000, 0, 100, 100), review="rejected"),
        row(box, region=Region(4000, 0, 1000, 800), reliability=Reliability("uncertain", ("?",))),
    ]
    (found,) = numbers_of(rows)
    assert (found.regions, found.counted, found.not_reliable, found.rejected) == (4, 2, 1, 1)
    assert found.findings == 2
    assert found.area_mm2 == pytest.approx(2 * 1000 * 800 * MM2)


@pytest.mark.parametrize(
    "lost", [{"reliability": Reliability("none", ("why",))}, {"review": "rejected"}]
)
def test_where_no_answer_counts_there_is_no_number(tmp_path, lost):
    """Zero would say that there are none."""
    found = numbers_of([row(("tumour", 200, 300, 100, 100), case="P1", **lost)])
    assert [one.counted for one in found] == [0, 0]
    for one in found:
        assert one.findings is one.area_mm2 is one.tissue_mm2 is one.findings_mm2 is None
        assert one.per_mm2 is one.share is None
    write_numbers(tmp_path / "n.csv", found)
    with open(tmp_path / "n.csv", encoding="utf-8", newline="") as file:
        cells = next(csv.DictReader(file))
    assert (cells["regions"], cells["counted"]) == ("1", "0")
    assert cells["findings"] == cells["area_mm2"] == cells["findings_per_mm2"] == ""


def test_a_case_is_the_sum_of_its_slides_and_labels_stand_apart():
    both = Query("detection", "", ("tumour", "mitosis"))
    rows = [
        row(("tumour", 200, 300, 10, 10), slide="a.svs", case="P1", query=both),
        row(("mitosis", 200, 300, 10, 10), slide="b.svs", case="P1", query=both),
        row(slide="c.svs", case="", query=both),
    ]
    found = numbers_of(rows)
    assert [(one.of, one.slide, one.label, one.findings) for one in found] == [
        ("slide", "a.svs", "tumour", 1),
        ("slide", "a.svs", "mitosis", 0),
        ("slide", "a.svs", "all", 1),
        ("slide", "b.svs", "tumour", 0),
        ("slide", "b.svs", "mitosis", 1),
        ("slide", "b.svs", "all", 1),
        ("slide", "c.svs", "tumour", 0),
        ("slide", "c.svs", "mitosis", 0),
        ("slide", "c.svs", "all", 0),
        ("case", "", "tumour", 1),
        ("case", "", "mitosis", 1),
        ("case", "", "all", 2),
    ]
    assert found[-1].area_mm2 == pytest.approx(2 * 1000 * 800 * MM2)
    assert found[-1].slides == 2


def test_answers_have_the_area_of_their_regions():
    rows = [
        answer("yes", region=Region(0, 0, 100, 100)),
        answer("no", region=Region(100, 0, 100, 100)),
        answer("yes", region=Region(0, 0, 100, 200)),  # over the first
    ]
    yes, no = numbers_of(rows)
    assert (yes.label, yes.findings, no.findings) == ("yes", 2, 1)
    assert yes.findings_mm2 == pytest.approx(100 * 200 * MM2)
    assert yes.area_mm2 == pytest.approx(300 * 100 * MM2)
    assert yes.share == pytest.approx(2 / 3)
    assert yes.per_mm2 is None


def test_counts_are_summed_and_limits_are_no_counts():
    many = Query("vqa", "How many nuclei are there?")
    rows = [
        row(query=many, answer=Answer("", "120")),
        row(query=many, answer=Answer("", "more than 100")),
    ]
    (found,) = numbers_of(rows)
    assert (found.label, found.findings, found.counted, found.not_reliable) == ("count", 120, 1, 1)
    assert found.per_mm2 == pytest.approx(120 / (1000 * 800 * MM2))
    assert found.findings_mm2 is None


def test_what_is_not_known_stays_empty(tmp_path):
    unknown = SlideInfo("a.svs", 5000, 4000, None, "unknown")
    one = row(("tumour", 200, 300, 100, 100), tissue=None)
    (found,) = numbers_of([replace(one, result=replace(one.result, slide=unknown))])
    assert found.findings == 1
    assert found.area_mm2 is None
    assert found.per_mm2 is None
    path = tmp_path / "n.csv"
    assert write_numbers(path, [found]) == 1
    assert "nan" not in path.read_text()

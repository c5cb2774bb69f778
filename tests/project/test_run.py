"""One question over the annotations of many slides: kept, gone on with, in tables."""

import csv
import json
import os
import threading

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.engine import Job, ask
from napari_pathreason.errors import ModelError
from napari_pathreason.exports import Feature, read_geojson, write_geojson
from napari_pathreason.geometry import Box, Region
from napari_pathreason.models import LoadedModels
from napari_pathreason.project import (
    AnnotationAnswered,
    AnnotationFailed,
    ProjectEnded,
    ProjectFolder,
    ProjectQuestion,
    ProjectStarted,
    folder_for,
    read_project,
    run_project,
)
from napari_pathreason.slides import open_slide
from napari_pathreason.types import Query, Request
from tests.cli.conftest import Fixed64, SpotFinder

FIND = Query("detection", "", ("spot",))
PINK = (230, 170, 200)


class Counting(SpotFinder):
    """Finds dark spots, and fails after so many questions."""

    def __init__(self, most=1000):
        self.asked, self.most = 0, most

    def generate(self, prompt, settings, cancel):
        self.asked += 1
        if self.asked > self.most:
            raise ModelError("the model has ended; start it again")
        yield from super().generate(prompt, settings, cancel)


@pytest.fixture
def slides(tmp_path):
    """Two slides of a case and one of another, of 640 x 480 px at 0.5 um, tissue on the left."""
    for name in ("a", "b", "c"):
        pixels = np.full((480, 640, 3), 255, np.uint8)
        pixels[:, :400] = PINK
        pixels[128:224, 64:128] = 20
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        write_geojson(
            tmp_path / f"{name}.geojson",
            [
                Feature(Box(0, 0, 320, 320), name="left"),
                Feature(Box(320, 0, 320, 320), name="right"),
            ],
        )
    (tmp_path / "slides.csv").write_text("slide,case\na.png,P1\nb.png,P1\nc.png,P2\n")
    return tmp_path


def question(query=FIND, **more):
    return ProjectQuestion(Request(Region(0, 0, 1, 1), query, "native", **more), "a model")


def run(place, performer=None, asked=None, **more):
    performer = performer or Counting()
    loaded = LoadedModels(performer, Fixed64())
    project = read_project(place / "slides.csv")
    opener = more.pop("open_slide", lambda path: open_slide(path, 0.5))
    return list(
        run_project(project, asked or question(), lambda: loaded, open_slide=opener, **more)
    )


def table_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_every_annotation_is_asked_about(slides):
    events = run(slides)
    assert events[0] == ProjectStarted(6, (), slides / "slides-answers")
    answers = [e.answer for e in events if isinstance(e, AnnotationAnswered)]
    assert [(a.slide, a.name) for a in answers] == [
        (f"{slide}.png", name) for slide in "abc" for name in ("left", "right")
    ]
    assert [len(a.result.detections) for a in answers] == [1, 0] * 3
    assert answers[0].case == "P1"
    assert answers[0].tissue == pytest.approx(1, abs=0.02)
    assert answers[1].tissue == pytest.approx(0.25, abs=0.02)
    end = events[-1]
    assert (end.done, end.total, end.failed, end.error) == (6, 6, 0, None)
    assert [path.name for path in end.files[:2]] == ["answers.csv", "numbers.csv"]


def test_numbers_of_slides_and_of_cases(slides):
    run(slides)
    rows = table_of(slides / "slides-answers/numbers.csv")
    assert [(r["of"], r["case"], r["slide"]) for r in rows] == [
        ("slide", "P1", "a.png"),
        ("slide", "P1", "b.png"),
        ("slide", "P2", "c.png"),
        ("case", "P1", ""),
        ("case", "P2", ""),
    ]
    one, case = rows[0], rows[3]
    area = 640 * 320 * 0.25 / 1e6
    assert float(one["area_mm2"]) == pytest.approx(area)
    assert float(one["tissue_mm2"]) == pytest.approx(area * 0.625, rel=0.02)
    assert one["findings"] == "1"
    assert float(one["findings_per_mm2"]) == pytest.approx(1 / area, rel=1e-4)
    lesion = 64 * 96 * 0.25 / 1e6
    assert float(one["findings_mm2"]) == pytest.approx(lesion, rel=0.1)
    assert float(one["findings_share_of_tissue"]) == pytest.approx(lesion / (area * 0.625), rel=0.1)
    assert case["slides"] == case["findings"] == "2"
    assert float(case["area_mm2"]) == pytest.approx(2 * area)
    assert case["findings_per_mm2"] == one["findings_per_mm2"]
    table = table_of(slides / "slides-answers/answers.csv")
    assert [row["case"] for row in table] == ["P1"] * 4 + ["P2"] * 2
    assert float(table[0]["tissue_mm2"]) == pytest.approx(area / 2, rel=0.02)


def test_a_cut_run_goes_on_where_it_was(slides):
    first = run(slides, Counting(most=3))
    assert isinstance(first[-1].error, ModelError)
    assert first[-1].done == 3
    table = (slides / "slides-answers/answers.csv").read_text()
    assert table.count("\n") == 4  # what is answered stands in the table
    performer = Counting()
    opened = []

    def opener(path):
        opened.append(path.name)
        return open_slide(path, 0.5)

    again = run(slides, performer, open_slide=opener)
    assert len(again[0].before) == 3
    assert performer.asked == 3
    assert opened == ["b.png", "c.png"]
    assert again[-1].done == 6
    whole = slides / "whole"
    whole.mkdir()
    for path in slides.glob("*.*"):
        (whole / path.name).write_bytes(path.read_bytes())
    run(whole)
    cut = (slides / "slides-answers/numbers.csv").read_text()
    assert cut == (whole / "slides-answers/numbers.csv").read_text()


def test_nothing_left_loads_no_model(slides):
    run(slides)
    project = read_project(slides / "slides.csv")

    def load():
        raise AssertionError("nothing is left to ask")

    events = list(run_project(project, question(), load))
    assert events[-1].done == 6
    assert events[-1].error is None


def test_a_changed_slide_is_asked_about_again(slides):
    run(slides)
    pixels = np.asarray(Image.open(slides / "b.png")).copy()
    pixels[200:300, 400:500] = 20
    Image.fromarray(pixels).save(slides / "b.png")
    performer = Counting()
    events = run(slides, performer)
    assert performer.asked == 2
    assert len(events[0].before) == 4


@pytest.mark.parametrize("when", ["before it is opened", "while it is read"])
def test_an_answer_about_a_slide_that_was_replaced_is_not_kept(slides, when):
    first = slides / "first.png"
    written = (slides / "a.png").stat()
    (slides / "a.png").rename(first)
    Image.fromarray(np.full((480, 640, 3), PINK, np.uint8)).save(slides / "plain.png")
    first.rename(slides / "a.png")

    class Replacing(Counting):
        def generate(self, prompt, settings, cancel):
            if self.asked == 0:
                replace_slide()
            yield from super().generate(prompt, settings, cancel)

    def replace_slide():
        (slides / "a.png").rename(first)
        (slides / "plain.png").rename(slides / "a.png")

    def opener(path):
        if when == "before it is opened" and path.name == "a.png":
            replace_slide()
        return open_slide(path, 0.5)

    performer = Replacing() if when == "while it is read" else Counting()
    events = run(slides, performer, open_slide=opener)
    failed = [event for event in events if isinstance(event, AnnotationFailed)]
    assert [event.slide for event in failed] == ["a.png", "a.png"]
    assert all("a.png has changed since" in event.reason for event in failed)
    assert (events[-1].done, events[-1].failed) == (4, 2)
    first.replace(slides / "a.png")  # with its time: it is known again
    assert (slides / "a.png").stat().st_mtime_ns == written.st_mtime_ns
    again = run(slides)
    assert len(again[0].before) == 4
    assert again[-1].done == 6
    found = {(a.slide, a.name): a.result for a in _kept(again)}
    assert len(found["a.png", "left"].detections) == 1  # of the plain one there is none


def _kept(events):
    answered = [event.answer for event in events if isinstance(event, AnnotationAnswered)]
    return [*events[0].before, *answered]


def test_cases_are_those_of_the_list_as_it_is_now(slides):
    run(slides)
    (slides / "slides.csv").write_text("slide,case\na.png,P1\nb.png,P9\nc.png,P9\n")
    performer = Counting()
    run(slides, performer)
    assert performer.asked == 0
    rows = table_of(slides / "slides-answers/numbers.csv")
    assert [r["case"] for r in rows if r["of"] == "case"] == ["P1", "P9"]
    assert [r["slides"] for r in rows if r["of"] == "case"] == ["1", "2"]


def test_an_annotation_that_stands_twice_is_one(slides):
    twice = [Feature(Box(0, 0, 320, 320), name="left")] * 2
    write_geojson(slides / "a.geojson", twice)
    performer = Counting()
    end = run(slides, performer)[-1]
    assert (end.done, end.total) == (5, 5)
    assert performer.asked == 5


def test_the_next_question_finds_a_folder_of_its_own(slides):
    first = slides / "slides-answers"
    assert folder_for(first, question()) == first
    run(slides)
    assert folder_for(first, question()) == first
    other = question(Query("detection", "", ("other",)))
    assert folder_for(first, other) == slides / "slides-answers-2"
    run(slides, asked=other, folder=slides / "slides-answers-2")
    assert folder_for(first, other) == slides / "slides-answers-2"
    assert folder_for(first, question(effort="high")) == slides / "slides-answers-3"


def test_another_question_is_refused_in_the_same_folder(slides):
    run(slides)
    other = question(Query("vqa", "Is there a spot?", ("yes", "no")))
    (end,) = run(slides, asked=other)
    assert "holds answers to another question: task detection (now vqa)" in str(end.error)
    assert run(slides, asked=other, folder=slides / "else")[-1].error is None


def test_a_broken_slide_and_a_broken_file_are_told_and_passed_over(slides):
    (slides / "a.png").write_bytes(b"nothing")
    (slides / "b.geojson").write_text("{")
    events = run(slides)
    failed = [e for e in events if isinstance(e, AnnotationFailed)]
    assert {e.slide for e in failed} == {"a.png", "b.png"}
    assert events[-1].done == 2
    assert events[-1].failed == 3
    assert events[-1].error is None


def test_an_annotation_off_the_slide_is_told(slides):
    write_geojson(slides / "a.geojson", [Feature(Box(9000, 0, 50, 50), name="far")])
    events = run(slides)
    (failed,) = [e for e in events if isinstance(e, AnnotationFailed)]
    assert failed.name == "far"
    assert "outside the slide" in failed.reason
    assert events[-1].done == 4


def test_cancel_keeps_what_is_answered(slides):
    flag = threading.Event()
    project = read_project(slides / "slides.csv")
    loaded = LoadedModels(Counting(), Fixed64())
    ends = []
    for event in run_project(
        project, question(), lambda: loaded, open_slide=lambda p: open_slide(p, 0.5), cancel=flag
    ):
        if isinstance(event, AnnotationAnswered):
            flag.set()
        if isinstance(event, ProjectEnded):
            ends.append(event)
    (end,) = ends
    assert (end.done, end.cancelled, end.error) == (1, True, None)
    assert end.files


def test_a_pause_is_not_to_take_the_next_event(slides):
    project = read_project(slides / "slides.csv")
    performers = [Counting(), Counting()]

    def load():  # another model was asked meanwhile, so that it is loaded anew
        return LoadedModels(performers[paused], Fixed64())

    paused = False
    events = run_project(project, question(), load, open_slide=lambda p: open_slide(p, 0.5))
    for event in events:
        if isinstance(event, AnnotationAnswered):
            break
    assert performers[0].asked == 1
    paused = True
    assert list(events)[-1].done == 6
    assert performers[1].asked == 5


def test_outlines_are_respected_and_objects_go_to_qupath(slides):
    triangle = [[0, 0], [320, 0], [0, 320], [0, 0]]
    shape = {"type": "Polygon", "coordinates": [triangle]}
    feature = {"type": "Feature", "geometry": shape, "properties": {"name": "corner"}}
    (slides / "a.geojson").write_text(json.dumps(feature))
    events = run(slides, folder=slides / "out")
    answers = [e.answer for e in events if isinstance(e, AnnotationAnswered)]
    assert answers[0].result.views.fill is not None
    objects = list(read_geojson(slides / "out/geojson/a.png.geojson"))
    assert objects[0].shape.area == pytest.approx(320 * 320 / 2)
    assert objects[0].name == "corner"  # the name that it has in QuPath
    with open_slide(slides / "a.png", 0.5) as slide:
        alone = ask(Job(slide, answers[0].result.request), Counting(), None)
    assert alone.detections == answers[0].result.detections


@pytest.mark.parametrize("lost", ["header", "journal"])
def test_no_answer_or_review_counts_for_another_question(slides, lost):
    """Whether what says the question is gone, or the journal is that of another one."""
    other = question(Query("detection", "", ("spot",)), effort="low")
    folder = slides / "kept"
    answers = _kept(run(slides, folder=folder))
    ProjectFolder(folder).add_review(answers[0].key, "A", "right")
    if lost == "header":
        (folder / "project.json").unlink()
    else:
        run(slides, asked=other, folder=slides / "other")
        (slides / "other/project.json").replace(folder / "project.json")
    performer = Counting()
    events = run(slides, performer, asked=other, folder=folder)
    assert events[0].before == ()
    assert performer.asked == 6
    assert ProjectFolder(folder).reviews() == {}
    assert {row["reviews"] for row in table_of(folder / "answers.csv")} == {""}


def test_an_answer_that_is_not_as_it_was_written_is_asked_again(slides):
    run(slides)
    journal = slides / "slides-answers/answers.jsonl"
    first, rest = journal.read_text().split("\n", 1)
    values = json.loads(first)
    values["result"]["detections"] = []
    journal.write_text(json.dumps(values) + "\n" + rest)
    performer = Counting()
    events = run(slides, performer)
    assert len(events[0].before) == 5
    assert performer.asked == 1
    assert table_of(slides / "slides-answers/answers.csv")[0]["findings"] == "1"


def test_a_slide_that_was_replaced_with_its_size_and_time_is_asked_about_again(slides):
    (slides / "slides.csv").write_text("slide\na.bmp\n")
    Image.open(slides / "a.png").save(slides / "a.bmp")
    before = (slides / "a.bmp").stat()
    run(slides)
    Image.new("RGB", (640, 480), PINK).save(slides / "a.bmp")
    os.utime(slides / "a.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (slides / "a.bmp").stat().st_size == before.st_size
    performer = Counting()
    events = run(slides, performer)
    assert events[0].before == ()
    assert performer.asked == 2


def test_tables_are_not_written_over_the_list_or_annotations(slides):
    (slides / "slides.csv").rename(slides / "numbers.csv")
    project = read_project(slides / "numbers.csv")
    loaded = LoadedModels(Counting(), Fixed64())
    (end,) = run_project(project, question(), lambda: loaded, slides)
    assert "numbers.csv is read by this command" in str(end.error)
    (slides / "geojson").mkdir()
    (slides / "a.geojson").rename(slides / "geojson/a.png.geojson")
    (slides / "own.csv").write_text("slide,annotations\na.png,geojson/a.png.geojson\n")
    project = read_project(slides / "own.csv")
    (end,) = run_project(project, question(), lambda: loaded, slides)
    assert "a.png.geojson is read by this command" in str(end.error)
    assert len([*read_geojson(slides / "geojson/a.png.geojson")]) == 2

import threading

import pytest

from napari_pathreason.engine import (
    Cancelled,
    Failed,
    Finished,
    Job,
    Planned,
    Stage,
    StageStarted,
    TextDelta,
    ask,
    run_job,
)
from napari_pathreason.errors import (
    ModelError,
    OutOfMemoryError,
    PathreasonError,
    QueryError,
    RegionError,
    SlideError,
)
from napari_pathreason.geometry import Region, iou
from napari_pathreason.types import Allocation, Query, Request

ALWAYS = [stage for stage in Stage if stage not in (Stage.ZOOM, Stage.CHECK)]
"""Stages of every answer, in order."""
REGIONS = [
    Region(0, 0, 2000, 1500),
    Region(800, 600, 500, 400),
    Region(850, 100, 400, 1400),
]


@pytest.mark.parametrize("space", ["relative", "resized"])
@pytest.mark.parametrize("budget", [64, 256, 1024, "native"])
@pytest.mark.parametrize("region", REGIONS)
def test_boxes_lie_on_the_marker_at_every_budget(
    slide, performer, allocator, find, marker, region, budget, space
):
    performer.box_space = space
    result = ask(Job(slide, Request(region, find, budget)), performer, allocator)
    (found,) = result.detections
    # one pixel of the picture is this many of the slide; no box can be nearer than that
    step = max(
        region.width / result.picture_size[0],
        region.height / result.picture_size[1],
    )
    for placed, true in zip(found.box.corners, marker.corners, strict=True):
        assert abs(placed - true) <= step
    assert iou(found.box, marker) > 0.8
    assert found.label == "lesion"


def test_events_come_in_order(slide, performer, allocator, find, whole):
    events = list(run_job(Job(slide, Request(whole, find)), performer, allocator))
    stages = [event.stage for event in events if isinstance(event, StageStarted)]
    assert stages == ALWAYS
    kinds = [type(event) for event in events if not isinstance(event, StageStarted)]
    assert kinds[0] is Planned
    assert kinds[-1] is Finished
    assert set(kinds[1:-1]) == {TextDelta}
    read = events.index(StageStarted(Stage.READ))
    assert isinstance(events[read - 1], Planned)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert text.startswith("<think>dark spot</think>")
    assert list(events[-1].result.seconds) == ALWAYS


def test_auto_reads_the_overview_the_allocator_wants(slide, performer, allocator, find, whole):
    result = ask(Job(slide, Request(whole, find)), performer, allocator)
    (_, overview), (_, picture) = slide.reads
    assert overview[0] * overview[1] // 32**2 <= allocator.overview_budget
    assert allocator.overviews[0].shape == (overview[1], overview[0], 3)
    assert performer.seen == [picture]
    assert result.pixels_decoded == overview[0] * overview[1] + picture[0] * picture[1]
    assert result.allocation == Allocation(64, "policy", 8, (0.5, 0.5))
    assert result.tokens.allocator == 8


def test_the_allocator_hears_of_native_size_and_effort(slide, performer, allocator, find, whole):
    result = ask(Job(slide, Request(whole, find, effort="high")), performer, allocator)
    assert allocator.asked == [(result.tokens.native_picture, "high")]


def test_no_overview_is_read_where_none_is_wanted(slide, performer, allocator, find, whole):
    allocator.overview_budget = 0
    events = list(run_job(Job(slide, Request(whole, find)), performer, allocator))
    assert allocator.overviews == [None]
    assert len(slide.reads) == 1
    assert StageStarted(Stage.OVERVIEW) not in events


def test_a_pinned_budget_does_not_ask_the_allocator(slide, performer, allocator, find, whole):
    result = ask(Job(slide, Request(whole, find, 16)), performer, allocator)
    assert not allocator.overviews
    assert result.allocation == Allocation(16, "user")
    assert result.tokens.requested == 16
    assert 0 < result.tokens.realised <= 16
    assert result.tokens.native_picture == 62 * 47
    assert result.tokens.saved == 62 * 47 - result.tokens.realised
    assert result.tokens.encoder_patches == 4 * result.tokens.realised
    assert result.tokens.flops < result.tokens.flops_native_picture


def test_native_spends_what_the_region_has(slide, performer, allocator, find):
    result = ask(Job(slide, Request(Region(0, 0, 320, 160), find, "native")), performer, allocator)
    assert result.tokens.realised == result.tokens.native_picture == 50
    assert result.tokens.flops == result.tokens.flops_native_picture
    assert result.tokens.requested is None
    assert performer.seen == [(320, 160)]


def test_a_region_partly_outside_is_cut_and_said(slide, performer, allocator, find):
    result = ask(Job(slide, Request(Region(1000, 0, 2000, 1500), find)), performer, allocator)
    assert result.region == Region(1000, 0, 1000, 1500)
    assert "50 % of the region lies outside the slide" in result.warnings[0]


def test_every_doubt_is_told(slide, performer, allocator):
    slide.mpp, slide.unreadable = None, 0.123
    slide.notes = ("grey values were stretched",)
    performer.text, performer.finish = "<think>well", "length"
    query = Query("vqa", "Is this a tumour?")
    result = ask(Job(slide, Request(Region(0, 0, 320, 320), query, 512)), performer, allocator)
    notes = "\n".join(result.warnings)
    for part in (
        "grey values were stretched",
        "does not state its resolution",
        "12 % of the region is damaged",
        "only 100 visual tokens at native size",
    ):
        assert part in notes
    assert len(result.warnings) == 4
    assert result.reliability.level == "none"
    doubts = "\n".join(result.reliability.reasons)
    for part in (
        "reply could not be read",
        "almost no tissue",
        "does not say what it was trained on",
        "nobody has measured",
        "damaged and could not be read",
    ):
        assert part in doubts
    assert len(result.reliability.reasons) == 5


def test_a_good_answer_carries_no_warning(slide, performer, allocator, find, whole):
    assert ask(Job(slide, Request(whole, find)), performer, allocator).warnings == ()


@pytest.mark.parametrize(
    ("region", "query", "budget", "error", "words"),
    [
        (Region(3000, 0, 10, 10), None, "auto", RegionError, "outside the slide"),
        (Region(0, 0, 0, 10), None, "auto", RegionError, "empty"),
        (Region(0, 0, 500, 31), None, "auto", RegionError, "thinner than one visual token"),
        (Region(0, 0, 500, 31), None, 64, RegionError, "mark a larger one"),
        (None, Query("vqa", "  "), "auto", QueryError, "question is empty"),
        (None, Query("subtyping", options=("one",)), "auto", QueryError, "list them"),
        (None, Query("poetry", "?"), "auto", QueryError, "choose vqa"),
        (None, Query("vqa", "?", ("yes", "Yes ")), "auto", QueryError, "'yes' and 'Yes ' are"),
        (None, Query("subtyping", "", ("a", "b", "A")), "auto", QueryError, "name each"),
        (None, Query("detection", "", ("CD3", "cd3")), "auto", QueryError, "the labels 'CD3'"),
        (None, Query("vqa", "?", ("yes", "")), "auto", QueryError, "choices is empty"),
        (None, None, 0, QueryError, "at least 1"),
        (None, None, -3, QueryError, "at least 1"),
    ],
)
def test_bad_questions_fail_before_anything_is_read(
    slide, performer, allocator, find, whole, region, query, budget, error, words
):
    job = Job(slide, Request(region or whole, query or find, budget))
    (*_, end) = run_job(job, performer, allocator)
    assert isinstance(end, Failed)
    assert words in end.reason
    assert not performer.seen
    assert not slide.reads
    with pytest.raises(error, match=words):
        ask(job, performer, allocator)


def test_a_picture_too_large_to_answer_is_refused(slide, performer, allocator, find, monkeypatch):
    monkeypatch.setattr("napari_pathreason.engine._checks.MOST_TOKENS", 2000)
    with pytest.raises(QueryError, match="2,914 visual tokens, more than the 2,000"):
        ask(Job(slide, Request(Region(0, 0, 2000, 1500), find, "native")), performer, allocator)
    assert not slide.reads


def test_native_of_a_whole_slide_is_refused(slide, performer, allocator, find, monkeypatch):
    info = type(slide.info)("big.svs", 100_000, 80_000)
    monkeypatch.setattr(type(slide), "info", info)
    with pytest.raises(QueryError, match=r"mark a smaller region, or give auto"):
        ask(
            Job(slide, Request(Region(0, 0, 100_000, 80_000), find, "native", policy="one_view")),
            performer,
            allocator,
        )


# what torch raises has this name; the engine must know it without importing torch
_CudaMemory = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (MemoryError(), OutOfMemoryError),
        (_CudaMemory("CUDA out of memory.\nTried to allocate"), OutOfMemoryError),
        (type("_ArrayMemoryError", (MemoryError,), {})(), OutOfMemoryError),
        (ModelError("the model died; ask again"), ModelError),
        (KeyError("/home/someone/secret"), PathreasonError),
    ],
)
def test_errors_of_the_model_end_in_failed(slide, performer, allocator, find, whole, raised, shown):
    performer.error = raised
    (*_, end) = run_job(Job(slide, Request(whole, find)), performer, allocator)
    assert isinstance(end, Failed)
    assert end.stage is Stage.GENERATE
    assert type(end.error) is shown
    assert "\n" not in end.reason
    assert "secret" not in end.reason
    assert ";" in end.reason  # what is wrong; what to do
    assert end.error is raised or end.error.__cause__ is raised


def test_errors_of_the_slide_end_in_failed(slide, performer, allocator, find, whole):
    slide.error = FileNotFoundError(2, "No such file or directory", "/home/someone/x.svs")
    (*_, end) = run_job(Job(slide, Request(whole, find, 64)), performer, allocator)
    assert isinstance(end.error, SlideError)
    assert end.stage is Stage.READ
    assert "No such file" in end.reason
    assert "someone" not in end.reason


def test_a_region_that_is_damaged_all_over_is_an_error(slide, performer, allocator, find, whole):
    slide.unreadable = 1.0
    with pytest.raises(SlideError, match="no part of the region"):
        ask(Job(slide, Request(whole, find, 64)), performer, allocator)
    assert not performer.seen


def test_a_performer_without_an_end_is_an_error(
    slide, performer, allocator, find, whole, monkeypatch
):
    monkeypatch.setattr(type(performer), "generate", lambda *_: iter(["<think>"]))
    with pytest.raises(ModelError, match="ask again"):
        ask(Job(slide, Request(whole, find)), performer, allocator)


def test_no_exception_leaves_while_the_model_is_described(slide, allocator, find, whole):
    class Dead:
        @property
        def info(self):
            raise ModelError("the model could not be started; free memory and ask again")

    (end,) = run_job(Job(slide, Request(whole, find)), Dead(), allocator)
    assert isinstance(end, Failed)


@pytest.mark.parametrize("stage", ALWAYS)
def test_cancel_is_looked_at_in_every_stage(slide, performer, allocator, find, whole, stage):
    cancel = threading.Event()
    events = []
    for event in run_job(Job(slide, Request(whole, find)), performer, allocator, cancel):
        events.append(event)
        if event == StageStarted(stage):
            cancel.set()
    assert events[-1] == Cancelled(stage)


def test_cancel_inside_generation_stops_the_text(slide, performer, allocator, find, whole):
    performer.cancel_after = 5
    events = list(run_job(Job(slide, Request(whole, find)), performer, allocator))
    assert sum(isinstance(event, TextDelta) for event in events) == 5
    assert events[-1] == Cancelled(Stage.GENERATE)


def test_a_cancelled_job_reads_nothing(slide, performer, allocator, find, whole):
    cancel = threading.Event()
    cancel.set()
    (end,) = run_job(Job(slide, Request(whole, find)), performer, allocator, cancel)
    assert isinstance(end, Cancelled)
    assert not slide.reads

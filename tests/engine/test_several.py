"""One question about several regions: one prompt, each region named, each read as one picture."""

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from napari_pathreason.engine import (
    Failed,
    Job,
    Planned,
    ask,
    follow_up,
    plan_windows,
    regions_together,
    run_job,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.exports import marks_of, view_rows
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import cited_views
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    Metadata,
    ModelInfo,
    Query,
    Request,
    SlideInfo,
    TokenLevel,
)
from tests.engine.conftest import DIMS, MarkedImage

FIRST, SECOND = Region(0, 0, 640, 640), Region(1200, 700, 800, 400)
QUERY = Query("vqa", "Which of the two has more nuclei?")
JOINT = ModelInfo("large", "qwen3_vl", "relative", DIMS)


@dataclass
class Comparer:
    """Reads several pictures, and says that the first has more; keeps the prompts."""

    info: ModelInfo = JOINT

    def __post_init__(self):
        self.prompts = []

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        visual = sum(h * w for h, w in prompt.shapes) // DIMS.token_px**2
        text = "<think>region 1: centre: crowded nuclei</think><answer>region 1</answer>"
        yield Completion(text, 40 + visual, visual, 9, "stop", 0.1)


def together(budget=128, regions=(FIRST, SECOND), query=QUERY, **more):
    return regions_together(Request(FIRST, query, budget, **more), regions)


def test_all_regions_stand_in_one_prompt_each_named(slide, allocator):
    performer = Comparer()
    result = ask(Job(slide, together()), performer, allocator)
    (prompt,) = performer.prompts
    assert len(prompt.pictures) == 2
    words = [part.get("text") for part in prompt.messages[-1]["content"]]
    assert words[0].startswith("Region 1, upper left")
    assert words[2].startswith("Region 2, lower right")
    assert words[1] is words[3] is None
    assert result.answer.text == "region 1"
    assert [view.name for view in result.views.views] == ["region 1", "region 2"]
    assert [view.region for view in result.views.views] == [FIRST, SECOND]
    assert cited_views(result.answer.rationale)[0].view == "region 1"
    assert result.views.joint
    assert result.region == Region(0, 0, 2000, 1100)
    assert result.unread == ()


def test_a_budget_is_shared_in_equal_parts_and_the_account_adds_up(slide, allocator):
    result = ask(Job(slide, together(128)), Comparer(), allocator)
    assert all(0 < view.tokens <= 64 for view in result.views.views)
    assert result.tokens.realised == result.views.tokens <= result.tokens.requested == 128
    native = ask(Job(slide, together("native")), Comparer(), allocator)
    assert native.tokens.realised == native.tokens.native_picture == 20 * 20 + 25 * 12
    assert native.tokens.saved == 0


def test_seconds_of_reading_count_once(slide, allocator):
    read, pause = slide.read_region, 0.2

    def slow(region, size):
        time.sleep(pause)
        return read(region, size)

    slide.read_region = slow
    result = ask(Job(slide, together()), Comparer(), allocator)
    slow_reads = len(result.views.views) * pause
    assert slow_reads <= result.seconds["read"] < 1.9 * slow_reads


def test_pictures_have_the_levels_of_the_family(slide, allocator):
    levels = (TokenLevel(64, 64), TokenLevel(256, 256))
    performer = Comparer(replace(JOINT, levels=levels))
    result = ask(Job(slide, together(1000, (FIRST, SECOND))), performer, allocator)
    assert all(64 < view.tokens <= 256 for view in result.views.views)
    native = ask(Job(slide, together("native")), performer, allocator)
    assert all(view.tokens <= 256 for view in native.views.views)
    assert any("at most 256 visual tokens" in note for note in native.warnings)


def test_the_plan_is_known_before_anything_is_spent(slide, allocator):
    performer = Comparer()
    (planned,) = (e for e in run_job(Job(slide, together()), performer, allocator)
                  if isinstance(e, Planned))  # fmt: skip
    assert planned.views.tokens == planned.cost.tokens
    assert plan_windows(Job(slide, together()), JOINT).views == planned.views


def test_what_was_read_before_is_not_asked_again(slide, allocator):
    performer = Comparer()
    first = ask(Job(slide, together()), performer, allocator)
    again = ask(Job(slide, together(), journal=first.readings), performer, allocator)
    assert len(performer.prompts) == 1
    assert again.answer == first.answer


@pytest.mark.parametrize(
    ("model", "request_", "told"),
    [
        (replace(JOINT, metadata=Metadata()), together(), "reads one picture in a prompt"),
        (replace(JOINT, several=False), together(), "reads one picture in a prompt"),
        (JOINT, together(query=Query("detection", "", ("a",))), "one region at a time"),
        (JOINT, together(regions=(FIRST, Region(0, 0, 8, 8))), "thinner than one visual token"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(slide, allocator, model, request_, told):
    performer = Comparer(model)
    *_, last = run_job(Job(slide, request_), performer, allocator)
    assert isinstance(last, Failed)
    assert told in last.reason
    assert "\n" not in last.reason
    assert not performer.prompts


@pytest.mark.parametrize("regions", [(), (FIRST,), (FIRST, FIRST)])
def test_a_question_about_several_needs_several(regions):
    with pytest.raises(QueryError, match="two or more"):
        together(regions=regions)


def test_settings_go_with_the_question():
    settings = GenerationSettings(seed=3)
    assert together(settings=settings).settings == settings


class Another:
    """A slide of its own size and scale, whose pictures are all grey."""

    def __init__(self):
        self.reads = []

    @property
    def info(self):
        return SlideInfo("other.svs", 900, 700, (0.25, 0.25), "file")

    def read_region(self, region, size):
        self.reads.append((region, size))
        return MarkedImage(np.full((size[1], size[0], 3), 100, np.uint8), 10)


def of_two_slides(**more):
    request = Request(FIRST, QUERY, 128, **more)
    return regions_together(request, [FIRST, FIRST, Region(800, 600, 400, 400)], (), ["", "b", "b"])


def test_regions_of_several_slides_stand_in_one_prompt(slide, allocator):
    performer, other = Comparer(), Another()
    result = ask(Job(slide, of_two_slides(), others={"b": other}), performer, allocator)
    (prompt,) = performer.prompts
    assert [int(picture.min()) for picture in prompt.pictures] == [255, 100, 100]
    words = [part["text"] for part in prompt.messages[-1]["content"] if part["type"] == "text"]
    assert words[0].startswith("Region 1, ")
    assert words[1:3] == ["Region 2, of another slide.", "Region 3, of another slide."]
    assert "other.svs" not in str(prompt.messages)  # a name may be a patient's
    views = result.views.views
    assert [view.slide for view in views] == ["", "b", "b"]
    assert [view.region for view in views] == [FIRST, FIRST, Region(800, 600, 100, 100)]
    assert views[1].why == "of the slide b"
    assert result.region == FIRST
    assert [region for region, _ in other.reads] == [FIRST, Region(800, 600, 100, 100)]

    again = ask(Job(slide, follow_up(result, QUERY), others={"b": other}), performer, allocator)
    assert again.views.views == views
    assert (performer.prompts[-1].pictures[2] == prompt.pictures[2]).all()


def test_a_slide_that_is_not_there_is_named(slide, allocator):
    *_, last = run_job(Job(slide, of_two_slides()), Comparer(), allocator)
    assert isinstance(last, Failed)
    assert "regions of the slide b too" in last.reason


def test_what_shows_another_slide_has_no_place_on_this_one(slide, allocator):
    job = Job(slide, of_two_slides(), others={"b": Another()})
    result = ask(job, Comparer(), allocator)
    rows = view_rows(result)
    assert [row.place for row in rows] == ["throughout", "another slide", "another slide"]
    marks = [mark for mark in marks_of([result], "run", True) if mark.kind == "window"]
    assert [mark.shape.corners for mark in marks] == [FIRST.box.corners]

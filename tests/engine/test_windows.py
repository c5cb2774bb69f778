"""A region read by windows: what is asked, what is put together, and what it is said to cost."""

import math
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest

import napari_pathreason as pathreason
from napari_pathreason.budgets import budget_of
from napari_pathreason.engine import (
    Cancelled,
    Choice,
    Finished,
    Job,
    Pick,
    Planned,
    Stage,
    StageStarted,
    ViewRead,
    ask,
    ask_together,
    asks_windows,
    plan_windows,
    result_to_dict,
    run_job,
    token_line,
)
from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.geometry import Box, Region, iou
from napari_pathreason.types import (
    Calibration,
    Completion,
    GenerationSettings,
    Query,
    Request,
    Scale,
    TokenLogprobs,
    TopicScale,
    WindowChoice,
)
from tests.support.windows import Seer, Tissue

WHOLE = Region(0, 0, 2000, 1500)
PLAIN = GenerationSettings(zoom=False)
ASK = Query("vqa", "Is there a dark spot?", ("yes", "no"))


def job(slide, query, **fields):
    fields.setdefault("settings", PLAIN)
    return Job(slide, Request(fields.pop("region", WHOLE), query, **fields))


def test_uniform_windows_find_what_is_there_once(tissue, seer, allocator, find, marker):
    result = ask(job(tissue, find, policy="uniform"), seer, allocator)
    assert len(result.readings) == 12
    (found,) = result.detections
    assert iou(found.box, marker) > 0.85
    assert result.answer.text == "1 lesion"
    assert result.views.policy == "uniform"
    assert result.unread == ()
    assert result.allocation.source == "rule"


def test_the_answer_cites_the_window_that_shows_it(tissue, seer, allocator, find, marker):
    result = ask(job(tissue, find, policy="uniform"), seer, allocator)
    showing = [r.view for r in result.readings if r.detections]
    assert any(view.name in result.answer.rationale for view in showing)
    numbers = [view.number for view in result.views.views]
    assert numbers == list(range(1, 13))


def test_surprise_spends_a_few_tokens_where_it_matters(tissue, seer, allocator, find, marker):
    whole = ask(job(tissue, find, policy="uniform"), seer, allocator)
    result = ask(job(tissue, find, policy="surprise"), seer, allocator)
    assert result.views.policy == "surprise"
    assert len(result.readings) == 2
    assert iou(result.detections[0].box, marker) > 0.5
    assert result.tokens.realised < whole.tokens.realised / 4
    assert result.tokens.flops < whole.tokens.flops / 4
    assert len(result.unread) >= 8
    assert "2 windows" in token_line(result)


def test_a_small_region_is_one_picture(tissue, seer, allocator, find):
    result = ask(job(tissue, find, region=Region(800, 600, 500, 400)), seer, allocator)
    assert [view.role for view in result.views.views] == ["picture"]
    assert result.views.policy == "one_view"


def test_one_view_of_a_large_region_on_demand(tissue, seer, allocator, find):
    result = ask(job(tissue, find, policy="one_view"), seer, allocator)
    assert len(result.readings) == 1
    assert result.picture_size == result.views.views[0].size


def test_events_tell_views_before_they_are_spent(tissue, seer, allocator, find):
    events = list(run_job(job(tissue, find, policy="uniform"), seer, allocator))
    stages = [event.stage for event in events if isinstance(event, StageStarted)]
    assert stages == [Stage.OVERVIEW, Stage.ALLOCATE, Stage.GENERATE, Stage.PARSE]
    planned = next(i for i, event in enumerate(events) if isinstance(event, Planned))
    read = [i for i, event in enumerate(events) if isinstance(event, ViewRead)]
    assert planned < read[0]
    assert len(read) == 12
    plan, result = events[planned], events[-1].result
    assert plan.cost.tokens == plan.views.tokens == result.tokens.realised
    assert plan.cost.pixels == sum(v.region.width * v.region.height for v in plan.views.views)
    assert plan.cost.memory > 0
    assert plan.cost.flops > 0
    assert [events[i].reading for i in read] == list(result.readings)
    assert set(result.seconds) == {"overview", "allocate", "read", "generate", "parse"}


def test_the_account_adds_up(tissue, seer, allocator, find):
    result = ask(job(tissue, find, policy="uniform"), seer, allocator)
    tokens = result.tokens
    assert tokens.realised == sum(r.visual_tokens for r in result.readings)
    assert tokens.native_picture == 62 * 47
    assert tokens.native_windows == 12 * 16 * 16
    assert 0 < tokens.flops < tokens.flops_native_windows < tokens.flops_native_picture
    assert tokens.saved == tokens.native_windows - tokens.realised
    overview = result.pixels_decoded - sum(r.pixels_decoded for r in result.readings)
    assert overview > 0
    told = result_to_dict(result)
    assert told["policy"] == "uniform"
    assert len(told["views"]) == 12
    assert told["views"][3]["views"][0]["name"] == "window 4"


@pytest.mark.parametrize("budget", [64, 128, 512, "native"])
@pytest.mark.parametrize("policy", ["uniform", "random", "surprise", "again", "table"])
def test_no_more_than_the_budget_is_spent(tissue, seer, allocator, find, policy, budget):
    result = ask(job(tissue, find, policy=policy, budget=budget), seer, allocator)
    most = result.tokens.native_windows if budget == "native" else budget
    assert 0 < result.tokens.realised <= most
    assert result.allocation.source == "user"
    assert result.tokens.requested == (None if budget == "native" else budget)


@pytest.mark.parametrize("policy", ["auto", "uniform", "random", "surprise", "again", "table"])
def test_a_budget_of_native_reads_all_at_native_size(tissue, seer, allocator, find, policy):
    small = WindowChoice(Region(250, 250, 500, 500), 16)
    usual = WindowChoice(Region(750, 750, 500, 500))
    asked = job(tissue, find, policy=policy, budget="native", windows=(small, usual))
    result = ask(asked, seer, allocator)
    views = result.views.views
    assert [view.tokens for view in views] == [16, *[256] * 13]  # 12 windows cover the region
    assert result.unread == ()
    assert result.views.policy == "uniform"
    listed = ask(replace(asked, request=replace(asked.request, policy="listed")), seer, allocator)
    assert [view.tokens for view in listed.views.views] == [16, 256]


def test_presence_is_that_of_any_window(tissue, seer, allocator):
    result = ask(job(tissue, ASK, policy="uniform"), seer, allocator)
    assert result.answer.text == "yes"
    assert len(result.readings) == 12
    elsewhere = ask(
        job(tissue, ASK, policy="uniform", region=Region(0, 0, 2000, 480)), seer, allocator
    )
    assert elsewhere.answer.text == "no"


def test_nothing_found_in_a_part_is_doubted(tissue, seer, allocator):
    corner = Region(0, 0, 2000, 480)
    part = ask(job(tissue, ASK, policy="random", region=corner), seer, allocator)
    assert part.answer.text == "no"
    assert "only a part of the specimen was read" in " ".join(part.reliability.reasons)
    whole = ask(job(tissue, ASK, policy="uniform", region=corner), seer, allocator)
    assert "only a part" not in " ".join(whole.reliability.reasons)


def test_windows_stand_in_one_prompt_where_the_model_learnt_it(tissue, performer, allocator):
    seer = Seer(performer, joint=True)
    result = ask(job(tissue, ASK, policy="uniform", budget=1024), seer, allocator)
    (prompt,) = seer.prompts
    (reading,) = result.readings
    assert len(prompt.pictures) == len(reading.views) == 13
    assert reading.views[0].role == "overview"
    assert result.answer.text == "yes"
    assert result.views.joint
    texts = [part["text"] for part in prompt.messages[-1]["content"] if part["type"] == "text"]
    assert texts[0] == "Overview of the region."
    assert texts[1].startswith("Window 1, upper left")
    assert result.tokens.realised == reading.visual_tokens == result.views.tokens


def test_boxes_and_counts_are_asked_window_by_window_all_the_same(
    tissue, performer, allocator, find
):
    seer = Seer(performer, joint=True)
    assert len(ask(job(tissue, find, policy="uniform"), seer, allocator).readings) == 12


class TestSteering:
    PLACE = Region(800, 600, 400, 400)

    def test_a_pinned_window_is_read_first(self, tissue, seer, allocator, find):
        pinned = (WindowChoice(self.PLACE, 144),)
        result = ask(job(tissue, find, windows=pinned, policy="surprise"), seer, allocator)
        first = result.views.views[0]
        assert (first.region, first.tokens, first.why) == (self.PLACE, 144, "pinned by you")
        assert len(result.readings) == 3

    def test_a_list_is_all_that_is_read(self, tissue, seer, allocator, find, marker):
        listed = (WindowChoice(self.PLACE), WindowChoice(Region(0, 0, 300, 300), 16))
        result = ask(job(tissue, find, windows=listed, policy="listed"), seer, allocator)
        assert [r.view.region for r in result.readings] == [one.region for one in listed]
        assert result.unread

    def test_a_banned_window_is_not_read(self, tissue, seer, allocator, find, marker):
        banned = (WindowChoice(Region(750, 500, 500, 500), 0),)
        result = ask(job(tissue, find, windows=banned, policy="uniform"), seer, allocator)
        assert len(result.readings) < 12
        for reading in result.readings:
            assert reading.view.region not in [one.region for one in banned]

    def test_a_pinned_window_is_read_as_far_as_it_lies_in_the_region(
        self, tissue, seer, allocator, find
    ):
        out = (WindowChoice(Region(-100, 1200, 400, 600), 64), WindowChoice(self.PLACE))
        asked = job(tissue, find, windows=out, policy="listed", region=Region(0, 0, 1000, 1400))
        result = ask(asked, seer, allocator)
        parts = [Region(0, 1200, 300, 200), Region(800, 600, 200, 400)]
        assert [r.view.region for r in result.readings] == parts
        assert result.request.windows == out  # what was asked stays

    @pytest.mark.parametrize("place", [(1500, 0, 400, 400), (990, 0, 400, 400)])
    def test_a_window_off_the_region_is_refused(self, tissue, seer, allocator, find, place):
        pins = (WindowChoice(Region(*place)),)
        asked = job(tissue, find, windows=pins, region=Region(0, 0, 1000, 1400))
        with pytest.raises(QueryError, match="of what is asked about, thinner than one visual"):
            ask(asked, seer, allocator)

    def test_a_pinned_window_keeps_what_was_said_of_it(self, tissue, seer, allocator, find):
        first = ask(job(tissue, find, policy="surprise"), seer, allocator).views.views[0]
        assert first.why.startswith("unlike the others (")
        pin = WindowChoice(first.region, budget_of(first), first.why)
        second = ask(job(tissue, find, windows=(pin,), policy="listed"), seer, allocator)
        (view,) = second.views.views
        assert view == replace(first, why=f"pinned by you; {first.why}")
        again = WindowChoice(view.region, budget_of(view), view.why)  # and so on, not twice
        third = ask(job(tissue, find, windows=(again,), policy="listed"), seer, allocator)
        assert third.views.views == second.views.views

    def test_views_of_a_result_are_read_just_so_again(self, tissue, seer, allocator):
        models = SimpleNamespace(performer=seer, allocator=allocator)
        place = Region(300, 500, 555, 495)  # at 64 tokens it has 56, and at those 49
        asked = {"question": "Is there a dark spot?", "choices": ("yes", "no"), "model": models}
        asked |= {"policy": "listed"}
        (view,) = pathreason.ask(tissue, windows=[WindowChoice(place, 64)], **asked).views.views
        assert view.tokens == 56
        again = pathreason.ask(tissue, windows=[view], **asked)
        assert again.views.views == (view,)
        assert [reading.view for reading in again.readings] == [view]

    def test_more_reads_the_next_windows_and_keeps_what_was_read(
        self, tissue, seer, allocator, find
    ):
        first = ask(job(tissue, find, policy="surprise", budget=128), seer, allocator)
        asked = len(seer.prompts)
        more = job(tissue, find, policy="surprise", budget=256)
        result = ask(replace(more, before=first.readings), seer, allocator)
        assert result.readings[: len(first.readings)] == first.readings
        assert len(result.readings) == 4
        assert len(seer.prompts) == asked + 2
        assert result.readings[2].view.region in first.unread
        assert result.tokens.realised == sum(r.visual_tokens for r in result.readings)
        assert [v.number for v in result.views.views] == [1, 2, 3, 4]

    def test_more_of_one_prompt_shows_the_first_windows_again(self, tissue, performer, allocator):
        seer = Seer(performer, joint=True)
        first = ask(job(tissue, ASK, policy="surprise", budget=128), seer, allocator)
        more = job(tissue, ASK, policy="surprise", budget=256)
        result = ask(replace(more, before=first.readings), seer, allocator)
        (reading,) = result.readings
        assert len(seer.prompts[1].pictures) == 5  # the overview and four windows
        assert [view.number for view in reading.views] == [0, 1, 2, 3, 4]
        assert result.tokens.realised == reading.visual_tokens

    def test_more_where_nothing_is_left_keeps_the_answer(self, tissue, seer, allocator, find):
        first = ask(job(tissue, find, policy="uniform", budget=1024), seer, allocator)
        asked = len(seer.prompts)
        again = job(tissue, find, policy="uniform", budget=2048)
        result = ask(replace(again, before=first.readings), seer, allocator)
        assert len(seer.prompts) == asked
        assert result.detections == first.detections
        assert result.allocation.budget == 2048

    def test_windows_off_an_outline_are_left_out(self, tissue, seer, allocator, find):
        outline = ((0.0, 0.0), (1000.0, 0.0), (0.0, 1000.0))
        result = ask(job(tissue, find, outline=outline, policy="uniform"), seer, allocator)
        assert 0 < len(result.readings) <= 4


def test_zoom_is_a_view_of_a_second_round(tissue, performer, allocator, find, marker):
    small = Box(910, 710, 30, 30)
    tissue.marker, tissue._slide.marker = small, small
    seer = Seer(performer, zoom_labels=("lesion",))
    asked = job(tissue, find, policy="uniform", settings=GenerationSettings())
    result = ask(asked, seer, allocator)
    zooms = [view for view in result.views.views if view.role == "zoom"]
    assert [view.name for view in zooms] == ["zoom 13"]
    assert result.tokens.zoom == zooms[0].tokens
    assert iou(result.detections[0].box, small) > 0.9
    assert len(result.readings) == 13


def test_damaged_windows_are_left_out_and_said(tissue, seer, allocator, find):
    tissue.damaged = Region(0, 0, 500, 500)
    result = ask(job(tissue, find, policy="uniform"), seer, allocator)
    assert len(result.readings) == 11
    assert "1 of 12 windows are damaged" in " ".join(result.warnings)


def test_nothing_readable_is_an_error(tissue, seer, allocator, find):
    tissue._slide.unreadable = 1.0
    with pytest.raises(SlideError, match="could be read"):
        ask(job(tissue, find, policy="uniform"), seer, allocator)


def test_glass_all_over_is_one_picture_that_says_so(slide, seer, allocator):
    corner = Region(0, 0, 2000, 480)
    result = ask(job(slide, ASK, region=corner), seer, allocator)
    assert [view.role for view in result.views.views] == ["picture"]
    assert "almost no tissue" in " ".join(result.reliability.reasons)


def test_a_policy_of_ones_own(tissue, seer, allocator, find, marker):
    class Known:
        name = "oracle"
        rounds = 1

        def choose(self, state):
            here = Region(850, 650, 400, 300)
            return Choice(() if state.readings else (Pick(here, 64, "the label"),))

    result = ask(replace(job(tissue, find), policy=Known()), seer, allocator)
    assert result.views.policy == "oracle"
    assert len(result.readings) == 1
    assert iou(result.detections[0].box, marker) > 0.8


def test_too_many_windows_for_one_answer_are_refused(seer, allocator, find, slide, monkeypatch):
    monkeypatch.setattr("napari_pathreason.engine._windows.MOST_READ", 1000)
    with pytest.raises(QueryError, match="pathreason detect"):
        ask(job(Tissue(slide), find, policy="uniform", budget="native"), seer, allocator)
    assert not seer.prompts


class TestMostOfOnePicture:
    """No window has more visual tokens than a picture may have, and it is said where one would."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        monkeypatch.setattr("napari_pathreason.engine._checks.MOST_TOKENS", 100)

    @pytest.mark.parametrize("tokens", [101, 256, 65_536])
    def test_a_large_pin_of_a_model_that_states_no_limit(
        self, tissue, seer, allocator, find, tokens
    ):
        pinned = (WindowChoice(Region(100, 100, 512, 512), tokens),)
        result = ask(job(tissue, find, windows=pinned, policy="listed"), seer, allocator)
        (view,) = result.views.views
        assert view.tokens == 100
        (line,) = (one for one in result.warnings if "list smaller windows" in one)
        assert f"up to {min(tokens, 256)} visual tokens, more than the 100 of one picture" in line

    def test_windows_of_the_grid_are_smaller_instead(self, tissue, seer, allocator, find):
        result = ask(job(tissue, find, policy="uniform", budget="native"), seer, allocator)
        assert max(view.tokens for view in result.views.views) <= 100
        assert len(result.views.views) > 12
        assert result.tokens.realised == result.tokens.native_windows

    def test_the_limit_of_a_model_is_named_as_its_own(self, tissue, performer, allocator, find):
        seer = Seer(performer, max_visual_tokens=64)
        pinned = (WindowChoice(Region(100, 100, 512, 512), 100),)
        result = ask(job(tissue, find, windows=pinned, policy="listed"), seer, allocator)
        assert "more than the 64 up to which this model's replies hold" in str(result.warnings)

    def test_within_it_nothing_is_said(self, tissue, seer, allocator, find):
        pinned = (WindowChoice(Region(100, 100, 512, 512), 100),)
        result = ask(job(tissue, find, windows=pinned, policy="listed"), seer, allocator)
        assert "list smaller windows" not in str(result.warnings)


def test_which_part_has_most_takes_all_at_once(tissue, seer, allocator):
    query = Query("vqa", "In which part is it darkest?", ("upper left", "lower right"))
    result = ask(job(tissue, query), seer, allocator)
    assert len(result.readings) == 1


def test_cancel_between_windows(tissue, seer, allocator, find):
    cancel = Event()
    events = []
    for event in run_job(job(tissue, find, policy="again"), seer, allocator, cancel):
        events.append(event)
        if isinstance(event, ViewRead):
            cancel.set()
    assert isinstance(events[-1], Cancelled)


def test_jobs_together_share_passes_over_their_windows(tissue, performer, allocator, find):
    class Joint(Seer):
        passes = ()

        def generate_batch(self, prompts, settings, cancel):
            self.passes = (*self.passes, len(prompts))
            return [list(self.generate(p, settings, cancel))[-1] for p in prompts]

    joint = Joint(performer)
    jobs = [job(tissue, find, policy="uniform"), job(tissue, find, policy="surprise")]
    results = ask_together(jobs, joint, allocator, most=4096)
    alone = [ask(one, Seer(performer), allocator) for one in jobs]
    assert [replace(r, seconds={}) for r in results] == [replace(r, seconds={}) for r in alone]
    assert joint.passes[0] > 8


def test_the_request_stands_in_the_result(tissue, seer, allocator, find):
    asked = job(tissue, find, region=Region(-100, 0, 2100, 1500), policy="uniform")
    result = ask(asked, seer, allocator)
    assert result.request == replace(asked.request, region=WHOLE)
    assert isinstance(list(run_job(asked, seer, allocator))[-1], Finished)


@pytest.mark.parametrize("budget", [4, 8, 500])
@pytest.mark.parametrize("policy", ["uniform", "random", "surprise", "again", "table"])
def test_a_small_budget_is_spent_and_not_exceeded(tissue, seer, allocator, find, policy, budget):
    result = ask(job(tissue, find, policy=policy, budget=budget), seer, allocator)
    assert 0 < result.views.tokens <= budget


def test_without_any_window_it_is_said_what_to_do(tissue, seer, allocator, find):
    with pytest.raises(QueryError, match="pin or list one"):
        ask(job(tissue, find, policy="listed"), seer, allocator)


@pytest.mark.parametrize("policy", ["uniform", "surprise", "again"])
def test_a_plan_before_the_model_is_loaded_is_that_of_the_answer(
    tissue, seer, allocator, find, policy
):
    pin = WindowChoice(Region(100, 100, 500, 500), 32)
    ban = WindowChoice(Region(1000, 0, 1000, 1500), 0)
    asked = job(tissue, find, policy=policy, budget=512, windows=(pin, ban))
    plan = plan_windows(asked, seer.info)
    events = list(run_job(asked, seer, allocator))
    assert plan == next(event for event in events if isinstance(event, Planned))
    assert plan.views.views[0].region == pin.region
    assert all(view.region.x < 1000 for view in plan.views.views)
    assert not any(isinstance(event, ViewRead) for event in events[: events.index(plan)])


def test_a_region_that_is_read_as_one_picture_has_no_plan_of_windows(tissue, seer, find):
    small = job(tissue, find, region=Region(0, 0, 900, 900))
    assert plan_windows(small, seer.info) is None
    assert not asks_windows(small.request, seer.info, None)
    larger = replace(small.request, budget=512)
    assert asks_windows(larger, seer.info, 400)
    assert not asks_windows(replace(larger, policy="one_view"), seer.info, 400)


def test_the_confidence_of_a_region_is_scaled_and_that_of_its_windows_is_not(
    tissue, seer, allocator
):
    """The more windows there are, the likelier the most telling one errs."""
    query = Query("vqa", "Is there a dark spot?", ("yes", "no"))
    likely = TokenLogprobs((("yes", math.log(0.9)), ("no", math.log(0.1))))
    frame = TokenLogprobs((("<answer>", 0.0),)), TokenLogprobs((("</answer>", 0.0),))

    class Sure:
        def __init__(self, *scales):
            own = tuple(TopicScale("yes/no", (), scale) for scale in scales)
            self.info = replace(seer.info, calibration=Calibration(regions=own))

        def generate(self, prompt, settings, cancel):
            for piece in seer.generate(prompt, settings, cancel):
                if isinstance(piece, Completion):
                    written = (frame[0], likely, frame[1])
                    yield replace(piece, text="<answer>yes</answer>", written=written)

    def answer(performer, region=WHOLE):
        return ask(job(tissue, query, region=region, policy="uniform"), performer, allocator)

    plain, cooled = answer(Sure()), answer(Sure(Scale(1.0, -2.0)))
    assert plain.confidence == pytest.approx(0.9)
    assert cooled.confidence == pytest.approx(1 / (1 + math.exp(-(math.log(9) - 2))))
    assert len(cooled.readings) > 1
    of_windows = [[one.confidence for one in result.readings] for result in (plain, cooled)]
    assert of_windows[0] == of_windows[1]
    single = answer(Sure(Scale(1.0, -2.0)), Region(800, 600, 400, 300))
    assert len(single.readings) == 1
    assert single.confidence == pytest.approx(0.9)  # nothing is put together

"""A policy that a model has learnt, and the answer of readings without any model."""

from dataclasses import dataclass, field, replace

import pytest

from napari_pathreason.engine import (
    Choice,
    Job,
    Pick,
    Planned,
    answer_views,
    ask,
    combine_readings,
    look_at,
    plan_windows,
    run_job,
    view_of,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.types import GenerationSettings, Query, Request

WHOLE = Region(0, 0, 2000, 1500)
ASK = Query("vqa", "Is there a dark spot?", ("yes", "no"))
COUNT = Query("vqa", "How many nuclei are there?")


@dataclass
class Learnt:
    """Reads the first two covering windows coarsely, then again those that said something."""

    name: str = "learned"
    rounds: int = 2
    states: list = field(default_factory=list)

    def choose(self, state):
        self.states.append(state)
        if state.readings:
            due = [one for one in state.readings if one.detections]
            return Choice(tuple(Pick(one.view.region, 64, "again") for one in due), flops=1e6)
        windows = [state.scene.grid.window(place) for place in state.scene.cover]
        return Choice(tuple(Pick(one, 16, "first") for one in windows[4:7]), flops=1e6)


@dataclass
class WithLearnt:
    allocator: object
    windows: object

    @property
    def overview_budget(self):
        return self.allocator.overview_budget

    def allocate(self, *words):
        return self.allocator.allocate(*words)


@pytest.fixture
def learnt():
    return Learnt()


@pytest.fixture
def own(allocator, learnt):
    return WithLearnt(allocator, learnt)


def job(slide, query, **fields):
    fields.setdefault("settings", GenerationSettings(zoom=False))
    return Job(slide, Request(fields.pop("region", WHOLE), query, **fields))


def test_auto_reads_large_regions_as_the_model_has_learnt(tissue, seer, own, learnt, find):
    result = ask(job(tissue, find), seer, own)
    assert result.views.policy == "learned"
    assert result.allocation.source == "policy"
    assert result.allocation.flops == 2e6
    assert {view.why for view in result.views.views} == {"first", "again"}
    assert [len(state.readings) for state in learnt.states] == [0, 3]
    assert result.detections


def test_it_knows_what_windows_cost_and_how_large_they_are(tissue, seer, own, learnt, find):
    ask(job(tissue, find), seer, own)
    state = learnt.states[0]
    assert len(state.flops) == len(state.budgets)
    assert list(state.flops) == sorted(state.flops)
    assert state.mpp == 0.5


def test_another_policy_can_still_be_named(tissue, seer, own, learnt, find):
    result = ask(job(tissue, find, policy="table"), seer, own)
    assert result.views.policy == "table"
    assert result.allocation.source == "rule"
    assert not learnt.states


def test_a_small_region_asks_it_nothing(tissue, seer, own, learnt, find):
    ask(job(tissue, find, region=Region(800, 600, 500, 400)), seer, own)
    assert not learnt.states


@pytest.mark.parametrize("query", [ASK, COUNT])
def test_a_model_of_several_pictures_answers_each_window_for_it(tissue, seer, own, query):
    joint = replace(seer.info, metadata=replace(seer.info.metadata, joint=True))
    seer.info = joint
    result = ask(job(tissue, query), seer, own)
    assert not result.views.joint
    assert all(len(one.views) == 1 for one in result.readings)


def test_without_one_its_name_is_refused_with_a_remedy(tissue, seer, allocator, find):
    with pytest.raises(QueryError, match="pathreason train allocator"):
        ask(job(tissue, find, policy="learned"), seer, allocator)
    with pytest.raises(QueryError, match="such as auto"):
        ask(job(tissue, find, policy="learned"), seer, WithLearnt(allocator, None))


def test_auto_without_one_is_the_table(tissue, seer, allocator, find):
    result = ask(job(tissue, find), seer, WithLearnt(allocator, None))
    assert result.views.policy == "table"


def test_a_plan_before_the_model_is_loaded_is_that_of_the_answer(tissue, seer, own, learnt, find):
    asked = job(tissue, find)
    plan = plan_windows(asked, seer.info, learnt)
    assert plan == next(one for one in run_job(asked, seer, own) if isinstance(one, Planned))
    assert plan_windows(asked, seer.info).views.policy == "table"


@pytest.mark.parametrize("query", [ASK, COUNT, None])
def test_the_answer_is_that_of_its_readings_alone(tissue, seer, own, find, query):
    asked = job(tissue, query or find)
    result = ask(asked, seer, own)
    scene, _ = look_at(asked, seer.info)
    combined = combine_readings(asked.request.query, scene, result.readings)
    assert combined.answer.text == result.answer.text
    assert combined.detections == result.detections
    assert combined.confidence == result.confidence
    assert combined.answer.rationale == result.answer.rationale


def test_views_are_answered_without_a_plan(tissue, seer, find, allocator):
    asked = job(tissue, find, policy="uniform")
    result = ask(asked, seer, allocator)
    views = [one.view for one in result.readings]
    again = list(answer_views(asked, views, seer))
    assert [replace(one, seconds=0) for one in again] == [
        replace(one, seconds=0) for one in result.readings
    ]
    assert view_of(views[0].region, 64, 32).tokens == views[0].tokens

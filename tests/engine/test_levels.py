"""Models whose pictures have certain numbers of visual tokens alone: planned, spent and told."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.engine import Job, ask, check_boxes, window_budgets
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.types import Completion, ModelInfo, Query, Request, TokenLevel
from tests.engine.conftest import DIMS, MarkerFinder

LEVELS = (TokenLevel(64, 64), TokenLevel(192, 128), TokenLevel(320, 256))
TILED = ModelInfo("tiled", "internvl", "relative", DIMS, levels=LEVELS)
REGION = Region(0, 0, 640, 640)


@dataclass
class TiledFinder(MarkerFinder):
    """Spends the tokens of a level, whatever the picture has."""

    @property
    def info(self) -> ModelInfo:
        return TILED

    def _completion(self, pixels, text, finish):
        own = pixels.shape[0] * pixels.shape[1] // DIMS.token_px**2
        level = next(one for one in LEVELS if one.detail == TILED.holding(own))
        return Completion(text, 30 + level.tokens, level.tokens, len(text), finish, 0.1)


@given(st.integers(1, 2000))
def test_a_budget_becomes_the_highest_level_within_it(budget):
    level = next(one for one in LEVELS if one.detail == TILED.fit(budget))
    assert level.tokens <= budget or level == LEVELS[0]
    assert all(one.tokens > budget for one in LEVELS if one.tokens > level.tokens)
    held = TILED.holding(budget)
    assert held >= budget or held == LEVELS[-1].detail


def test_any_budget_can_be_had_where_there_are_no_levels(performer):
    assert performer.info.fit(77) == performer.info.holding(77) == 77
    assert performer.info.max_visual_tokens is None
    assert TILED.max_visual_tokens == 256


def test_windows_are_read_at_levels():
    assert window_budgets(REGION, TILED, 256) == (64, 128, 256)
    assert window_budgets(Region(0, 0, 320, 320), TILED, 256) == (64, 100)


@pytest.mark.parametrize(("budget", "planned", "spent"), [(64, 64, 64), (200, 121, 192)])
def test_a_budget_between_levels_is_planned_and_what_it_cost_is_told(
    slide, allocator, budget, planned, spent
):
    request = Request(REGION, Query("vqa", "How many?"), budget)
    result = ask(Job(slide, request), TiledFinder(text="3"), allocator)
    assert result.tokens.requested == budget
    assert result.views.tokens == planned
    assert result.tokens.realised == spent
    told = [note for note in result.warnings if "were planned" in note]
    assert len(told) == (planned != spent)
    if told:
        assert f"{spent} visual tokens where {planned}" in told[0]
        assert "64 to 320, in steps" in told[0]


def test_boxes_are_refused_where_nobody_knows_how_they_are_written(performer):
    unknown = replace(performer.info, box_space=None)
    check_boxes(Query("vqa", "How many?"), unknown)
    check_boxes(Query("detection", "", ("a",)), performer.info)
    with pytest.raises(QueryError, match="nobody knows how the model"):
        check_boxes(Query("detection", "", ("a",)), unknown)

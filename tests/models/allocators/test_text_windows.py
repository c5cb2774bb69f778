"""Windows that a model writes: which are read, what that costs, and what happens without any."""

from dataclasses import dataclass, field, replace

import pytest

from napari_pathreason.budgets import flops
from napari_pathreason.engine import State, policy_named
from napari_pathreason.errors import QueryError
from napari_pathreason.models import TextForm, TextWindows, UnloadedWindows
from napari_pathreason.types import Completion, ModelDims, ModelInfo
from tests.support.bandit import BUDGETS, FLOPS, THERE, bandit

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
FORM = TextForm(overview=9, max_completion_length=24, effort="balanced")


@dataclass
class Writer:
    """Writes one answer whatever it is asked, and keeps what that was."""

    answer: str
    info: ModelInfo = field(default_factory=lambda: ModelInfo("w", "qwen3_vl", "relative", DIMS))
    prompts: list = field(default_factory=list)
    settings: list = field(default_factory=list)

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        self.settings.append(settings)
        text = f"<think>so</think><answer>{self.answer}</answer>"
        yield text
        yield Completion(text, 50, 9, 12, "stop", 0.1)


@pytest.fixture
def state():
    """Nine windows, nothing read, no budget."""
    return bandit(1)[0].state


def _choose(state, answer):
    return TextWindows(Writer(answer), FORM).choose(state)


def test_windows_are_read_as_they_were_written(state):
    writer = Writer("5: 64, 1: 20")
    choice = TextWindows(writer, FORM).choose(state)
    cover = state.scene.cover_windows
    assert [pick.region for pick in choice.picks] == [cover[4], cover[0]]
    assert [pick.tokens for pick in choice.picks] == [64, 16]  # the budget grid
    assert {pick.why for pick in choice.picks} == {"the model asked for it"}
    assert choice.order == tuple(w for n, w in enumerate(cover) if n not in (0, 4))
    assert choice.flops == flops(DIMS, 9, 41, 12) + state.scene.flops
    (prompt,), (settings,) = writer.prompts, writer.settings
    assert prompt.pictures[0].shape == (96, 96, 3)  # nine tokens
    assert settings.max_new_tokens == 24
    assert settings.temperature == 0


def test_it_chooses_once(state):
    own = TextWindows(Writer("5: 64"), FORM)
    readings = tuple(bandit(1)[0].readings.values())[:1]
    assert own.rounds == 1
    assert not own.choose(replace(state, readings=readings)).picks


def test_a_budget_is_kept_and_what_does_not_fit_is_read_coarser(state):
    choice = _choose(replace(state, left=90), "5: 64, 1: 64, 2: 64, 3: 64")
    assert [pick.tokens for pick in choice.picks] == [64, 16, 8]
    assert not _choose(replace(state, left=3), "5: 64").picks


def test_a_window_that_is_taken_is_not_read_again(state):
    fifth = state.scene.cover_windows[4]
    choice = _choose(replace(state, taken=(fifth,)), "5: 64, 1: 64")
    assert [pick.region for pick in choice.picks] == [state.scene.cover_windows[0]]
    assert not _choose(replace(state, taken=(fifth,)), "5: 64").picks


@pytest.mark.parametrize("answer", ["none", "", "the fifth", "10: 64", "5: 0"])
def test_where_no_window_is_named_the_rules_choose_and_say_so(state, answer):
    choice, rules = _choose(state, answer), policy_named("table").choose(state)
    assert [pick.region for pick in choice.picks] == [pick.region for pick in rules.picks]
    assert choice.picks
    assert {pick.why for pick in choice.picks} == {"the model named no window"}
    assert choice.flops == rules.flops + flops(DIMS, 9, 41, 12)


def test_more_windows_than_a_prompt_should_list_are_left_to_the_rules():
    from random import Random

    from tests.support.bandit import region_of

    scene = region_of(None, Random(0), across=17)
    state = State(THERE, scene, BUDGETS, None, flops=FLOPS)
    writer = Writer("5: 64")
    assert TextWindows(writer, FORM).choose(state).picks
    assert not writer.prompts


def test_before_the_model_is_loaded_nobody_can_tell(state):
    with pytest.raises(QueryError, match="the model itself chooses the windows"):
        UnloadedWindows(FORM).choose(state)

"""What is asked in a viewer: one state that docks set and follow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.types import Query
from napari_pathreason.viewer import Inquiry, Run, Runs, RunState, names_in


def test_each_change_is_told_once() -> None:
    inquiry, heard = Inquiry(), []
    inquiry.events.all.connect(lambda info: heard.append(info.signal.name))
    inquiry.task = "detection"
    inquiry.options = "tumour, necrosis, tumour"
    inquiry.options = "tumour, necrosis, tumour"
    inquiry.pin(16)
    inquiry.pin(17)  # not offered
    assert heard == ["task", "options", "budget"]
    draft = inquiry.resolve()
    assert draft.query == Query("detection", "", ("tumour", "necrosis"))
    assert (draft.budget, draft.source, draft.image) == (16, "view", None)
    inquiry.task = "vqa"
    assert draft.query.task == "detection"  # frozen


def test_a_model_of_the_preferences_gives_way_to_the_users_own() -> None:
    inquiry = Inquiry()
    inquiry.prefer("lab/model")
    assert (inquiry.model, inquiry.state().model) == ("lab/model", "")
    inquiry.model = "own/model"
    inquiry.prefer("lab/other")
    assert (inquiry.model, inquiry.state().model) == ("own/model", "own/model")
    again = Inquiry()
    again.restore(inquiry.state())
    assert again.state() == inquiry.state()


def test_each_task_has_words_of_its_own() -> None:
    """Choices of a question are no lesions, and a question is no wording of a search."""
    inquiry = Inquiry(question="Is there tumour?", options="yes, no")
    inquiry.task = "detection"
    assert inquiry.resolve().query == Query("detection")
    inquiry.options = "goblet cell"
    inquiry.task = "vqa"
    assert inquiry.resolve().query == Query("vqa", "Is there tumour?", ("yes", "no"))
    inquiry.fill(Query("detection", "", ("tumour",)))
    assert inquiry.resolve().query == Query("detection", "", ("tumour",))
    inquiry.task = "vqa"
    assert inquiry.question == "Is there tumour?"


def test_budgets_end_at_auto_and_native() -> None:
    inquiry = Inquiry()
    inquiry.step_budget(-1)
    assert inquiry.budget == "auto"
    steps = 0
    while inquiry.budget != "native" and steps < 50:
        inquiry.step_budget(1)
        steps += 1
    inquiry.step_budget(1)
    assert (inquiry.budget, steps) == ("native", 14)


@given(st.lists(st.text(alphabet="ab c,", max_size=8), max_size=6))
def test_names_are_clean_and_single(parts: list[str]) -> None:
    names = names_in(",".join(parts))
    assert len(set(names)) == len(names)
    assert all(name and name == name.strip() and "," not in name for name in names)
    assert names_in(", ".join(names)) == names


def test_a_run_goes_through_its_states() -> None:
    runs = Runs()
    run, told = runs.add(), []
    run.changed.connect(told.append)
    way: list[Any] = [RunState.LOADING, RunState.RUNNING, RunState.PAUSING, RunState.PAUSED]
    holds = []
    for state in (*way, RunState.RUNNING, RunState.CANCELLING, RunState.IDLE, RunState.IDLE):
        run.move(state)
        holds.append((run.holds_model, run.running, runs.busy))
    assert told == [*way, RunState.RUNNING, RunState.CANCELLING, RunState.IDLE]
    free, held = (False, True, False), (True, True, True)
    assert holds == [held, held, free, free, held, held, *[(False, False, False)] * 2]


def test_a_state_that_cannot_follow_is_refused() -> None:
    run = Run()
    with pytest.raises(ValueError, match="idle cannot become paused"):
        run.move(RunState.PAUSED)
    run.move(RunState.LOADING)
    run.move(RunState.FAILED)
    assert not run.running
    run.move(RunState.LOADING)
    assert run.running


def test_a_paused_run_that_is_cancelled_takes_no_model() -> None:
    runs = Runs()
    run, other = runs.add(), runs.add()
    for state in (RunState.LOADING, RunState.PAUSING, RunState.CANCELLING):
        run.move(state)
    assert run.running
    assert not runs.busy
    other.move(RunState.LOADING)
    assert runs.busy

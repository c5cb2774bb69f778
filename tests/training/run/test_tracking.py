"""Trackers beside the log: what they are told, and what is said where one is missing."""

import importlib.util
import json
from pathlib import Path

import pytest
from accelerate import tracking as accelerates
from accelerate.state import AcceleratorState
from accelerate.utils import LoggerType

from napari_pathreason.cli import main
from napari_pathreason.training.run import RunLog

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def own_state(monkeypatch):
    monkeypatch.setattr(RunLog, "draw", lambda *args: None)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def trackers(monkeypatch, tmp_path):
    """Trackio as if it were installed; gives what each run told it."""
    runs = []

    class Tracker(accelerates.GeneralTracker):
        name = "trackio"
        requires_logging_directory = False

        def __init__(self, run_name, **_):
            super().__init__()
            self.run, self.config, self.told, self.ended = run_name, {}, [], False
            runs.append(self)

        @property
        def tracker(self):
            return self

        def store_init_configuration(self, values):
            self.config = values

        def log(self, values, step=None, **_):
            assert not self.ended
            self.told.append((step, values))

        def finish(self):
            self.ended = True

    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/trackio.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setattr(accelerates, "get_available_trackers", lambda: [LoggerType.TRACKIO])
    monkeypatch.setitem(accelerates.LOGGER_TYPE_TO_CLASS, "trackio", Tracker)
    return runs


GRPO = {"num_generations": 2, "max_completion_length": 2, "budgets": {4: 1}, "batch_size": 1}
SHORT = {"steps": 2, "warmup": 1, "validate_samples": 1, "validate_every": 2}
ALLOCATOR = {"questions": 1, "validate_questions": 1, "steps": 2, "warm_steps": 1}


def test_every_stage_tells_the_tracker_what_its_log_holds(
    recipe, tmp_path, trackers, monkeypatch, at_every_budget
):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    values = recipe.model_dump() | {"allocator": ALLOCATOR, "bilateral": {"rounds": 1}}
    values["sft"] |= {"steps": 2}
    values["grpo"] |= GRPO | SHORT
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(values))
    words = ["--recipe", str(path), "--log-with", "trackio", "--set", "metadata.name=kidney"]
    assert main(["train", "bilateral", *words]) == 0
    out = Path(recipe.output)
    logs = [out, out / "round-1/grpo", out / "round-1/allocator"]
    assert len(trackers) == len(logs)
    for tracker, folder in zip(trackers, logs, strict=True):
        lines = (folder / "log.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert len(records) == 2
        assert [{"step": step, **values} for step, values in tracker.told] == records
        assert (tracker.run, tracker.ended) == ("kidney", True)
        assert tracker.config["sft.steps"] == 2
        assert tracker.config["lora"] == "null"
        assert tracker.config["output"] == folder.name
        assert all(isinstance(value, str | int | float) for value in tracker.config.values())


def test_nothing_is_tracked_unless_it_is_asked_for(recipe, tmp_path, trackers):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.model_dump_json())
    words = ["--set", "sft.steps=1"]
    assert main(["train", "sft", "--recipe", str(path), *words]) == 0
    assert trackers == []


@pytest.mark.parametrize("stage", ["sft", "performer", "allocator", "bilateral"])
def test_a_tracker_that_is_not_installed_is_one_line_that_says_how(
    recipe, tmp_path, monkeypatch, capsys, stage
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *of: None if name == "wandb" else find(name, *of),
    )
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.model_dump_json())
    words = ["--log-with", "wandb", "--set", "grpo.start=embedded"]
    assert main(["train", stage, "--recipe", str(path), *words]) != 0
    told = capsys.readouterr().err
    assert "logging with wandb needs its package; run `pip install wandb`" in told
    assert told.count("\n") == 1


def test_an_unknown_tracker_is_refused(recipe, tmp_path, capsys):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.model_dump_json())
    with pytest.raises(SystemExit):
        main(["train", "sft", "--recipe", str(path), "--log-with", "mlflow"])
    assert main(["train", "sft", "--recipe", str(path), "--set", "log_with=mlflow"]) != 0
    assert "recipe.yaml: log_with: " in capsys.readouterr().err


def test_lines_of_a_log_that_say_no_step_are_left_out(tmp_path):
    record = {"step": 1, "loss": 0.5}
    odd = ['{"loss": 1}', "[1]", "5", '{"step": "a"}', "{", json.dumps(record)]
    (tmp_path / "log.jsonl").write_text("".join(f"{line}\n" for line in odd))
    log = RunLog(tmp_path)
    assert log.records() == [record]
    log.begin(1)
    assert (tmp_path / "log.jsonl").read_text() == json.dumps(record) + "\n"

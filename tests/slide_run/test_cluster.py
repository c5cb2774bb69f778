"""Tiles on a cluster of two processes, of which one is killed on the way."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from threading import Event

import cloudpickle
import pytest
from distributed import LocalCluster

from napari_pathreason import QueryError
from napari_pathreason.errors import ModelError, SlideError
from napari_pathreason.slide_run import (
    AnswersOnCluster,
    LoadModels,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    TileDone,
    run_slide,
)
from napari_pathreason.slides import open_slide

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as made:
        yield made


@pytest.fixture
def answers(cluster, spots, slide_path, tmp_path):
    """Answers of a model whose loads are counted in a folder."""
    (tmp_path / "loads").mkdir()
    module = sys.modules[spots.load_finder.__module__]
    cloudpickle.register_pickle_by_value(module)  # workers cannot import it
    load = spots.load_finder(str(tmp_path / "loads"), 0.05)
    yield AnswersOnCluster(cluster.scheduler_address, slide_path, 0.5, load)
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def go(answers, spots, slide_path, tmp_path):
    def go(**more):
        settings = replace(spots.settings, tile=128)
        with open_slide(slide_path, 0.5) as slide:
            yield from run_slide(slide, tmp_path / "far", settings, spots.used, answers, **more)

    return go


def pids(loads):
    return [int(path.name.partition("-")[0]) for path in loads.iterdir()]


@pytest.mark.slow
def test_a_worker_is_killed_on_the_way(go, run, spots, tmp_path):
    done, killed = 0, None
    for event in go():
        done += isinstance(event, TileDone)
        if done > 8 and killed is None:
            killed = pids(tmp_path / "loads")[0]
            os.kill(killed, signal.SIGKILL)
    assert isinstance(event, RunFinished), event
    loads = pids(tmp_path / "loads")
    assert killed in loads
    assert len(loads) == len(set(loads))  # once in each process
    assert 2 <= len(loads) <= 3  # the nanny may have started another worker in time
    run(performer=spots.batch_finder(), settings=replace(spots.settings, tile=128))
    assert spots.files_of(tmp_path / "far") == spots.files_of(tmp_path / "run")


@pytest.mark.slow
def test_cancel_leaves_what_is_done(go, tmp_path):
    cancel = Event()
    for event in go(cancel=cancel):
        if isinstance(event, TileDone):
            cancel.set()
    assert isinstance(event, RunCancelled)
    assert 0 < event.done < event.total


def on(cluster, spots, path, tmp_path, **more):
    """Answers of a model on the cluster, for a slide at ``path``."""
    (tmp_path / "loads").mkdir(exist_ok=True)
    load = spots.load_finder(str(tmp_path / "loads"), **more)
    return AnswersOnCluster(cluster.scheduler_address, path, 0.5, load)


@pytest.mark.slow
def test_workers_answer_about_the_right_slide_and_model_only(
    answers, cluster, spots, slide_path, tmp_path
):
    """A shared disk may be another one on a worker, and a name may lead to another model there."""
    other = spots.write_slide(tmp_path / "other.png", spots.boxes[:2])
    cases = (
        (on(cluster, spots, other, tmp_path), SlideError, "another slide under the name other.png"),
        (on(cluster, spots, slide_path, tmp_path, sha256="x"), ModelError, "another model under"),
    )
    for wrong, kind, told in cases:
        with open_slide(slide_path, 0.5) as slide:
            *_, end = run_slide(slide, tmp_path / "far", spots.settings, spots.used, wrong)
        assert isinstance(end, RunFailed)
        assert isinstance(end.error, kind)
        assert told in end.reason
        assert not (tmp_path / "far" / "tiles.jsonl").exists()
        assert str(tmp_path) not in end.reason


CLUSTER = """
import sys, time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, processes=False, protocol="tcp", dashboard_address=None
    ) as made:
        print(made.scheduler_address, flush=True)
        time.sleep(300)
"""


@pytest.mark.slow
def test_a_scheduler_that_dies_is_an_error_that_keeps_what_is_done(
    answers, spots, slide_path, tmp_path, run
):
    program = tmp_path / "cluster.py"
    program.write_text(CLUSTER)
    settings = replace(spots.settings, tile=128)
    words = [sys.executable, str(program)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        load = spots.load_finder(str(tmp_path / "loads"), 0.05)
        far = AnswersOnCluster(address, slide_path, 0.5, load)
        done = 0
        with open_slide(slide_path, 0.5) as slide:
            for event in run_slide(slide, tmp_path / "far", settings, spots.used, far):
                done += isinstance(event, TileDone)
                if done > 8:
                    process.kill()
        process.kill()
    assert isinstance(event, RunFailed), event
    assert isinstance(event.error, ModelError)
    assert "the scheduler went away" in event.reason
    finder = spots.batch_finder()
    events = run(tmp_path / "far", performer=finder, settings=settings)
    assert isinstance(events[-1], RunFinished)
    assert len(finder.seen) <= events[0].total - done < events[0].total
    run(performer=spots.batch_finder(), settings=settings)
    assert spots.files_of(tmp_path / "far") == spots.files_of(tmp_path / "run")


def test_no_scheduler_is_one_line(spots, slide_path, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_pathreason.slide_run._cluster.WAIT", 0.5)
    answers = AnswersOnCluster("tcp://127.0.0.1:9", slide_path, 0.5, spots.load_finder("."))
    with open_slide(slide_path, 0.5) as slide:
        (event,) = run_slide(slide, tmp_path / "far", spots.settings, spots.used, answers)
    assert isinstance(event, RunFailed)
    assert isinstance(event.error, QueryError)
    assert "dask scheduler" in event.reason


def test_workers_load_with_the_chosen_encoder(monkeypatch):
    asked = []
    monkeypatch.setattr("napari_pathreason.models.load_models", lambda *words: asked.append(words))
    LoadModels("some/model", "cpu", "fast", "bfloat16")()
    assert asked == [("some/model", "cpu", "fast", "bfloat16")]


@pytest.mark.slow
def test_a_worker_whose_encoder_is_another_is_refused(answers, go):
    events = go()
    plan = next(event.plan for event in events if isinstance(event, RunStarted))
    events.close()
    other = replace(plan, model=replace(plan.model, encoder="fast"))
    with pytest.raises(QueryError, match="the fast encoder, and here the exact one runs"):
        list(answers.run(other, list(other.groups()), Event()))

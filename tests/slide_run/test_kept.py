"""A question whose readings are kept: cut anywhere, it goes on, and ends in the same answer."""

import json
import random
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

import napari_pathreason
from napari_pathreason import slide_run
from napari_pathreason.engine import (
    Cancelled,
    Failed,
    Finished,
    Job,
    Planned,
    ViewRead,
    ask,
    result_of,
)
from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import locked
from napari_pathreason.geometry import Region
from napari_pathreason.models import FixedAllocator, LoadedModels
from napari_pathreason.slide_run import check_kept
from napari_pathreason.slides import open_slide
from tests.support.kept_questions import (
    QUERIES,
    USED,
    BatchReader,
    Reader,
    ask_kept,
    request_of,
    told,
)

ROOT = Path(__file__).parents[2]
WORDS = {"question": QUERIES["count"].question, "policy": "uniform", "mpp": 0.5, "zoom": False}
WAYS = [
    ("count", "uniform"),
    ("count", "again"),
    ("yes/no", "surprise"),
    ("yes/no", "again"),
    ("choice", "uniform"),
    ("boxes", "again"),
]


@pytest.fixture
def slide(slide_path):
    with open_slide(slide_path, 0.5) as opened:
        yield opened


def lines(folder):
    file = Path(folder) / "readings.jsonl"
    return file.read_bytes().splitlines() if file.exists() else []


@pytest.mark.parametrize(("form", "policy"), WAYS)
def test_the_answer_is_that_of_a_question_that_keeps_nothing(slide, tmp_path, form, policy):
    request = request_of(slide, form, policy)
    plain = ask(Job(slide, request), Reader(), None)
    kept = result_of(ask_kept(slide, tmp_path / "kept", Reader(), request))
    assert len(plain.readings) > 1
    assert told(kept) == told(plain)


@pytest.mark.parametrize("reader", [Reader, BatchReader])
@pytest.mark.parametrize(("form", "policy"), WAYS)
def test_cut_after_any_group_it_goes_on_to_the_same_answer(slide, tmp_path, form, policy, reader):
    request = request_of(slide, form, policy)
    whole = reader()
    events = list(ask_kept(slide, tmp_path / "whole", whole, request))
    groups = sum(isinstance(one, ViewRead) and not one.more for one in events)
    wanted = events[-1].result
    assert len(lines(tmp_path / "whole")) == groups
    for cut in range(1, groups + 1):
        folder, asked = tmp_path / f"cut{cut}", reader()
        seen = 0
        with closing(ask_kept(slide, folder, asked, request)) as steps:
            for event in steps:
                seen += isinstance(event, ViewRead) and not event.more
                if seen == cut:
                    break
        assert len(lines(folder)) == cut
        before, rest = len(asked.seen), reader()
        result = result_of(ask_kept(slide, folder, rest, request))
        assert told(result) == told(wanted)
        assert before + len(rest.seen) == len(whole.seen)
        again = reader()
        assert told(result_of(ask_kept(slide, folder, again, request))) == told(wanted)
        assert again.seen == []


@pytest.mark.slow
def test_killed_at_random_moments(slide_path, tmp_path):
    def start(folder, delay):
        words = [
            sys.executable,
            "-m",
            "tests.support.kept_questions",
            slide_path,
            folder,
            delay,
            "again",
            "boxes",
        ]
        return subprocess.Popen(
            [str(word) for word in words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    whole, said = start(tmp_path / "whole", 0).communicate()
    assert said == ""
    folder, moments, killed, kept = tmp_path / "cut", random.Random(0), 0, []
    while True:
        process = start(folder, 0.05)  # a group takes a third of a second and more
        while len(lines(folder)) == len(kept) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        out, said = process.communicate()
        assert lines(folder)[: len(kept)] == kept
        kept = lines(folder)
        if process.returncode == 0:
            break
        killed += 1
        assert said == ""
    assert killed > 1
    assert json.loads(out) == json.loads(whole)


def test_a_torn_line_is_asked_again(slide, tmp_path):
    request = request_of(slide, budget=720)
    wanted = result_of(ask_kept(slide, tmp_path, Reader(), request))
    file = tmp_path / "readings.jsonl"
    first, second, *rest = file.read_bytes().splitlines(keepends=True)
    assert rest
    file.write_bytes(first + second[:100] + b"\n" + b"".join(rest)[:-50])
    reader = Reader()
    result = result_of(ask_kept(slide, tmp_path, reader, request))
    assert told(result) == told(wanted)
    assert 0 < len(reader.seen) < len(wanted.readings)


def test_damaged_windows_are_no_reason_to_ask_the_others_again(slide, tmp_path, monkeypatch):
    read = type(slide).read_region

    def damaged(self, region, size):
        image = read(self, region, size)
        return (
            replace(image, unreadable=1.0)
            if (region.x, region.y) == (0, 0) and (region.width < 500)
            else image
        )

    monkeypatch.setattr(type(slide), "read_region", damaged)
    request = request_of(slide)
    wanted = result_of(ask_kept(slide, tmp_path, Reader(), request))
    assert "1 of 20 windows are damaged" in str(wanted.warnings)
    reader = Reader()
    assert told(result_of(ask_kept(slide, tmp_path, reader, request))) == told(wanted)
    assert reader.seen == []


CHANGES = {
    "slide": "another slide",
    "model": "another model",
    "encoder": r"encoder exact \(now fast\)",
    "question": r"question How many spots are there\? \(now Is there a spot\?\)",
    "policy": r"policy uniform \(now again\)",
    "budget": r"budget auto \(now 64\)",
    "region": "region Region",
    "temperature": r"temperature 0.0 \(now 0.5\)",
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_readings_of_something_else_are_refused(slide, spots, tmp_path, what):
    request, folder = request_of(slide), tmp_path / "kept"
    result_of(ask_kept(slide, folder, Reader(), request))
    kept = lines(folder)
    used, other = USED, slide
    if what == "slide":
        other = open_slide(spots.write_slide(tmp_path / "other.png", spots.boxes[:2]), 0.5)
    elif what == "model":
        used = replace(used, sha256="def")
    elif what == "encoder":
        used = replace(used, encoder="fast")
    else:
        changed = {
            "question": {"query": QUERIES["yes/no"]},
            "policy": {"policy": "again"},
            "budget": {"budget": 64},
            "region": {"region": Region(0, 0, 900, 800)},
            "temperature": {"settings": replace(request.settings, temperature=0.5)},
        }[what]
        request = replace(request, **changed)
    reader = Reader()
    with closing(other):
        with pytest.raises(QueryError, match=CHANGES[what]):
            check_kept(folder, Job(other, request), used)
        (event,) = ask_kept(other, folder, reader, request, used)
    assert isinstance(event, Failed)
    assert "keeps the readings of" in event.reason
    assert "ask the same again, or choose another folder" in event.reason
    assert reader.seen == []
    assert lines(folder) == kept


def test_without_its_own_word_no_reading_counts_for_another_question(slide, tmp_path):
    result_of(ask_kept(slide, tmp_path, Reader(), request_of(slide)))
    (tmp_path / "request.json").unlink()
    reader = Reader()
    result = result_of(ask_kept(slide, tmp_path, reader, request_of(slide, "yes/no")))
    assert result.answer.text == "yes"
    assert len(reader.seen) == len(result.readings)


def test_the_folder_of_a_slide_run_is_refused(slide, run, tmp_path):
    run()
    (event,) = ask_kept(slide, tmp_path / "run", Reader(), request_of(slide))
    assert "holds a slide run; choose another folder" in event.reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "request.json in the folder kept is damaged"),
        ('{"format": "napari-pathreason kept readings 0"}', "of another version"),
    ],
)
def test_a_damaged_or_older_folder_is_refused(slide, tmp_path, text, why):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "request.json").write_text(text)
    (event,) = ask_kept(slide, folder, Reader(), request_of(slide))
    assert isinstance(event.error, ExportError)
    assert why in event.reason
    assert "or delete this one to begin anew" in event.reason


def test_two_at_a_time_are_refused(slide, tmp_path):
    with locked(tmp_path / "kept"):
        (event,) = ask_kept(slide, tmp_path / "kept", Reader(), request_of(slide))
    assert "another process is at work" in event.reason


def test_cancel_keeps_what_was_read(slide, tmp_path):
    cancel, events = Event(), []
    for event in ask_kept(slide, tmp_path, Reader(), request_of(slide), cancel=cancel):
        events.append(event)
        if isinstance(event, ViewRead):
            cancel.set()
    assert isinstance(events[-1], Cancelled)
    assert len(lines(tmp_path)) == 1


def test_what_is_kept_may_be_more_than_another_answer(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_pathreason.engine._windows.MOST_READ", 100)
    request = request_of(slide, budget="native")
    with pytest.raises(QueryError, match="--keep"):
        ask(Job(slide, request), Reader(), None)
    *events, end = ask_kept(slide, tmp_path, Reader(), request)
    assert isinstance(end, Finished)
    (plan,) = (one for one in events if isinstance(one, Planned))
    assert plan.views.tokens > 100
    assert len(end.result.readings) == 20


def test_a_full_disk_is_a_line_and_keeps_what_was_read(slide, tmp_path, monkeypatch):
    import os

    request, calls = request_of(slide, budget=720), []  # three groups

    def full(handle, sync=os.fsync):
        calls.append(handle)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        sync(handle)

    monkeypatch.setattr("os.fsync", full)
    *_, end = ask_kept(slide, tmp_path, Reader(), request)
    assert isinstance(end, Failed)
    assert "No space left on device" in end.reason
    monkeypatch.undo()
    assert isinstance(list(ask_kept(slide, tmp_path, Reader(), request))[-1], Finished)


class TestPython:
    """`napari_pathreason.ask` with a folder that keeps what is read."""

    @pytest.fixture
    def readers(self, monkeypatch):
        """Each model that was loaded."""
        loaded = []

        def load_models(*words):
            loaded.append(Reader())
            return LoadedModels(loaded[-1], FixedAllocator(16))

        monkeypatch.setattr(slide_run, "used_model", lambda *words: USED)
        monkeypatch.setattr(napari_pathreason.models, "load_models", load_models)
        return loaded

    def test_the_same_call_goes_on(self, slide_path, tmp_path, readers):
        keep = tmp_path / "kept"
        plain = napari_pathreason.ask(slide_path, model="reader", **WORDS)
        first = napari_pathreason.ask(slide_path, model="reader", keep=keep, **WORDS)
        assert told(first) == told(plain)
        file = keep / "readings.jsonl"
        file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
        again = napari_pathreason.ask(slide_path, model="reader", keep=str(keep), **WORDS)
        assert told(again) == told(plain)
        assert 0 < len(readers[2].seen) < len(readers[1].seen)

    def test_what_cannot_go_on_is_refused_before_a_model_is_loaded(
        self, slide_path, tmp_path, readers
    ):
        keep = tmp_path / "kept"
        napari_pathreason.ask(slide_path, model="reader", keep=keep, **WORDS)
        readers.clear()
        with pytest.raises(QueryError, match="keeps the readings of budget auto"):
            napari_pathreason.ask(slide_path, model="reader", keep=keep, budget=64, **WORDS)
        with pytest.raises(QueryError, match="known by the weights"):
            napari_pathreason.ask(
                slide_path,
                model=LoadedModels(Reader(), FixedAllocator(16)),
                keep=keep,
                **WORDS,
            )
        assert readers == []

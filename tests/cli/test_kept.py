"""``pathreason ask --keep``: what is read is kept, and the same command goes on from it."""

import json

import pytest

from napari_pathreason.models import LoadedModels

FIND = ("--task", "detection", "--choices", "spot", "--policy", "uniform")


@pytest.fixture
def asked(windowed, monkeypatch):
    """Windows that the finder was asked; the command is interrupted at one where it is set."""
    import napari_pathreason.models as models

    loaded = models.load_models()
    windowed.clear()
    kind, calls = type(loaded.performer), []
    generate = kind.generate
    calls_until = {"stop": None}

    def counted(self, prompt, settings, cancel):
        if len(calls) == calls_until["stop"]:
            raise KeyboardInterrupt
        calls.append(prompt)
        yield from generate(self, prompt, settings, cancel)

    monkeypatch.setattr(kind, "generate", counted)
    assert isinstance(loaded, LoadedModels)
    return calls, calls_until


def told(text):
    """An answer in JSON without its times and what an open slide kept."""
    values = json.loads(text)
    for one in (values, *values["views"]):
        for name in ("seconds", "pixels_decoded"):
            one.pop(name, None)
    return values


def test_stopped_and_asked_again_it_goes_on_to_the_same_answer(shell, asked, large, tmp_path):
    calls, until = asked
    words = ("ask", large, *FIND, "--mpp", 0.5, "--json", "-")
    plain = shell(*words)
    assert plain.code == 0
    count = len(calls)
    assert count > 10
    keep = ("--keep", tmp_path / "kept")
    calls.clear()
    until["stop"] = count - 2
    stopped = shell(*words, *keep)
    assert stopped.code == 130
    assert "stopped; the same command goes on from here" in stopped.err
    assert stopped.out == ""
    until["stop"] = None
    calls.clear()
    done = shell(*words, *keep)
    assert done.code == 0
    assert 0 < len(calls) < count
    assert told(done.out) == told(plain.out)
    calls.clear()
    assert told(shell(*words, *keep).out) == told(plain.out)
    assert calls == []


def test_another_question_in_the_folder_is_refused_before_a_model_is_loaded(
    shell, windowed, large, tmp_path
):
    keep = ("--keep", tmp_path / "kept")
    assert shell("ask", large, *FIND, *keep).code == 0
    windowed.clear()
    done = shell("ask", large, *FIND, "--budget", 512, *keep)
    assert done.code != 0
    assert done.err.startswith("pathreason: the folder kept keeps the readings of budget auto (now")
    assert "ask the same again, or choose another folder" in done.err
    assert windowed == []


def test_each_of_several_regions_has_a_folder_of_its_own(shell, windowed, large, tmp_path):
    regions = ("--region", 0, 0, 2000, 1500, "--region", 0, 0, 1500, 1500)
    keep = ("--keep", tmp_path / "kept")
    first = shell("ask", large, *FIND, *regions, *keep, "--json", "-")
    assert first.code == 0
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["region-1", "region-2"]
    again = shell("ask", large, *FIND, *regions, *keep, "--json", "-")
    assert list(map(told, map(json.dumps, json.loads(again.out)))) == list(
        map(told, map(json.dumps, json.loads(first.out)))
    )


def test_more_than_one_answer_may_have_is_refused_with_the_remedy(
    shell, windowed, large, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_pathreason.engine._windows.MOST_READ", 1000)
    words = ("ask", large, *FIND, "--budget", "native")
    for more in ((), ("--show-views",)):
        refused = shell(*words, *more)
        assert refused.code != 0
        assert "a folder that keeps what is read (--keep)" in refused.err
    keep = ("--keep", tmp_path / "kept")
    assert shell(*words, *keep, "--show-views").code == 0
    assert not (tmp_path / "kept").exists()
    assert shell(*words, *keep).code == 0

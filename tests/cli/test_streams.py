"""What becomes of stdout and stderr, and what names hold, changes no result."""

import io
import json
import os
import signal
import sys

import numpy as np
import pytest
import zarr
from PIL import Image

RUN = ("--lesions", "spot", "--slide-mpp", 0.5, "--mpp", 0.5, "--tile", 256, "--overlap", 0.3)
STAINED = np.full((480, 640, 3), (230, 160, 200), np.uint8)
STAINED[128:224, 256:320] = 0


def write(file):
    Image.fromarray(STAINED).save(file)
    return file


@pytest.fixture
def three(tmp_path):
    return [write(tmp_path / f"{name}.png") for name in "abc"]


def finished(out):
    return sorted(path.parent.name for path in out.glob("*/manifest.json"))


class Reader:
    """A pipe whose reader goes away behind so many lines, as ``head`` does."""

    def __init__(self, lines):
        self.read, number = os.pipe()
        self.left = lines
        self.pipe = os.fdopen(number, "w", buffering=1)

    def end(self):
        if self.read is not None:
            os.close(self.read)
            self.read = None

    def __enter__(self):
        if not self.left:
            self.end()
        return self

    def __exit__(self, *_):
        self.end()
        self.pipe.close()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_seen_enough_ends_nothing(
    shell, loads, three, tmp_path, monkeypatch, stream
):
    out = tmp_path / "out"
    with Reader(0) as reader:
        monkeypatch.setattr(sys, stream, reader.pipe)
        done = shell("detect", *three, "-o", out, *RUN)
    assert done.code == 0
    assert finished(out) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_was_closed_changes_nothing(
    shell, loads, three, tmp_path, monkeypatch, stream
):
    monkeypatch.setattr(sys, stream, None)
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    words = ("-o", tmp_path / "out", *RUN, "--skip-errors", "--json", tmp_path / "told.json")
    assert shell("detect", broken, *three, *words).code == 2
    assert finished(tmp_path / "out") == ["a.png", "b.png", "c.png"]
    assert len(json.loads((tmp_path / "told.json").read_text())) == 4


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no disk that is always full")
def test_a_disk_that_is_too_full_for_the_words_is_an_error_behind_the_work(
    shell, loads, three, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "stdout", open("/dev/full", "w"))
    done = shell("detect", *three, "-o", out, *RUN)
    assert done.code == 2
    assert done.err == "pathreason: stdout cannot be written (No space left on device)\n"
    assert finished(out) == ["a.png", "b.png", "c.png"]


def test_a_reader_that_goes_costs_an_answer_none_of_its_files(shell, loads, three, monkeypatch):
    told = three[0].with_suffix(".json")
    with Reader(0) as reader:
        monkeypatch.setattr(sys, "stdout", reader.pipe)
        words = ("--task", "detection", "--choices", "spot", "--json", told)
        done = shell("ask", three[0], *words)
    assert done.code == 0
    assert json.loads(told.read_text())["detections"]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_asked_to_end_it_ends_as_by_ctrl_c(shell, loads, three, tmp_path, monkeypatch, name):
    from napari_pathreason.slide_run import AnswersHere

    def asked_to_end(*arguments):
        os.kill(os.getpid(), getattr(signal, name))
        raise AssertionError("a signal reaches Python at once")

    before = signal.getsignal(getattr(signal, name))
    if before is signal.SIG_IGN:  # as under nohup, which is respected
        pytest.skip(f"{name} is ignored here")
    with monkeypatch.context() as patch:
        patch.setattr(AnswersHere, "run", asked_to_end)
        done = shell("detect", three[0], "-o", tmp_path / "out", *RUN)
    assert done.code == 143
    assert done.err == "pathreason: stopped; the same command goes on from here\n"
    assert signal.getsignal(getattr(signal, name)) == before
    assert shell("detect", three[0], "-o", tmp_path / "out", *RUN).code == 0


NAMES = {
    "no text": os.fsdecode(b"\xffspot.png"),
    "an escape": "\x1b[31mspot.png",
    "a line end": "a\nspot.png",
    "a turn": "\u202espot.png",
}


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
@pytest.mark.parametrize("which", NAMES)
def test_names_steer_no_terminal_and_break_no_file(shell, loads, tmp_path, which):
    slide, out = write(tmp_path / NAMES[which]), tmp_path / "out"
    told = tmp_path / "told.json"
    for _ in range(2):  # and a second time, from what is kept
        done = shell("detect", slide, "-o", out, *RUN, "--json", told)
        assert done.code == 0, done.err
        shown = done.out + done.err
        assert not set(shown) & {"\x1b", "\u202e", "\udcff"}
        (one,) = json.loads(told.read_text(encoding="utf-8"))
        assert one["name"].endswith("spot.png")
        assert "\N{REPLACEMENT CHARACTER}" in one["name"]
    manifest = json.loads((out / slide.name / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["slide"]["name"] == one["name"]
    (slide.parent / slide.name).unlink()
    done = shell("detect", slide, "-o", out, *RUN)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert not set(done.err) & {"\x1b", "\u202e", "\udcff"}


def test_words_that_are_no_text_break_no_file(shell, loads, three, tmp_path):
    words = ("--lesions", os.fsdecode(b"sp\xffot"), "--question", os.fsdecode(b"where\xff?"))
    done = shell("detect", three[0], "-o", tmp_path / "out", *RUN, *words)
    assert done.code == 0, done.err
    assert finished(tmp_path / "out") == ["a.png"]


@pytest.fixture
def store(tmp_path):
    """An OME-Zarr of the stained picture."""
    path = tmp_path / "slide.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    level = group.create_array("0", shape=(3, 480, 640), chunks=(3, 240, 320), dtype=np.uint8)
    level[:] = STAINED.transpose(2, 0, 1)
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": levels}]
    return path


def test_a_slide_named_by_dots_has_its_own_folder(shell, loads, store, tmp_path, monkeypatch):
    out = tmp_path / "deep" / "out"
    done = shell("detect", store / "0" / "..", "-o", out, *RUN)
    assert done.code == 0, done.err
    assert finished(out) == ["slide.zarr"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    monkeypatch.chdir(store)
    assert "finished before" in shell("detect", ".", "-o", out, *RUN).out


@pytest.mark.parametrize("place", [".", "run", "0/run"])
def test_nothing_is_written_inside_a_slide(shell, loads, store, tmp_path, place):
    def listing():
        return sorted(str(path) for path in store.rglob("*"))

    before = listing()
    done = shell("detect", store, "-o", store / place, *RUN)
    assert done.code == 2
    assert "inside the slide slide.zarr" in done.err
    ask = ("ask", store, "--task", "detection", "--choices", "spot")
    for option in ("--json", "--figure", "--manifest", "--report", "--keep", "--show-views"):
        done = shell(*ask, option, store / "0" / "a.json")
        assert done.code == 2, option
        assert "inside the slide slide.zarr" in done.err, option
    assert listing() == before
    assert loads == []


def test_what_could_steer_a_terminal_is_replaced_where_it_leaves():
    from napari_pathreason.cli import main

    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", told)
        with pytest.raises(SystemExit) as ended:
            main(["detect", "--no\x1b[2Jsuch", "x", "-o", "y"])
    assert ended.value.code == 2
    assert "\x1b" not in told.getvalue()
    assert told.getvalue().startswith("pathreason: ")

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import napari_pathreason
from napari_pathreason.cli import TRACEBACK, wrap
from napari_pathreason.errors import SlideError
from napari_pathreason.exports import font, round_below


def test_help_names_every_command(shell):
    done = shell("--help")
    assert done.code == 0
    for command in ("ask", "doctor", "data", "train", "evaluate"):
        assert command in done.out


def test_version(shell):
    assert shell("--version").out.strip() == napari_pathreason.__version__


@pytest.mark.parametrize("words", [(), ("dance",), ("--dance",)])
def test_no_such_command(shell, words):
    done = shell(*words)
    assert done.code == 2
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("command", ["data", "train", "evaluate"])
def test_training_commands_are_there(shell, command):
    done = shell(command, "--help")
    assert done.code == 0
    assert f"pathreason {command}" in done.out


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (SlideError("it is torn; mend it"), 2, "pathreason: it is torn; mend it\n"),
        (MemoryError(), 2, "choose a smaller model"),
        (ModuleNotFoundError("No module", name="torch"), 2, "run pathreason doctor"),
        (KeyError("secret"), 2, "unexpected KeyError; run again with PATHREASON_TRACEBACK=1"),
        (OSError(28, "No space left on device", "/secret/x"), 2, "(No space left on device)"),
        (KeyboardInterrupt(), 130, "pathreason: stopped\n"),
    ],
)
def test_errors_become_one_line(shell, monkeypatch, error, code, part):
    def fail(commands):
        commands.add_parser("doctor").set_defaults(run=stop)

    def stop(args):
        raise error

    monkeypatch.setattr(
        "napari_pathreason.cli._main.import_module", lambda *_: SimpleNamespace(add_parser=fail)
    )
    done = shell("doctor")
    assert done.code == code
    assert part in done.err
    assert "secret" not in done.err
    assert done.err.count("\n") == 1


def test_a_traceback_can_be_asked_for(shell, monkeypatch):
    monkeypatch.setenv(TRACEBACK, "1")
    monkeypatch.setattr("napari_pathreason.cli._main._parser", lambda words: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        shell("doctor")


@pytest.mark.slow
def test_a_closed_pipe_is_no_error():
    code = "import sys; from napari_pathreason.cli import main; sys.exit(main(['doctor']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert done.stderr == b""


def test_long_words_are_cut_to_the_width():
    face = font(14)
    for line in wrap("a short start and Pneumono" + "ultra" * 40, 200, face):
        assert face.getlength(line) <= 200


@pytest.mark.parametrize(("value", "bar"), [(1, 1), (4.9, 2), (5, 5), (99, 50), (0.3, 0.2)])
def test_scale_bars_are_round(value, bar):
    assert round_below(value) == pytest.approx(bar)

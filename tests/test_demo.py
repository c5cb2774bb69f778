"""`make demo`: which questions it asks, and which of their failures it forgives."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = """
import sys
words = sys.argv[1:]
print("asked", *words[:1], *words[2:])  # all but the path
if {refused!r} in words:
    sys.exit("pathreason: cannot look for it; it can look for other things")
"""


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "docs/demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.mark.parametrize(
    ("refused", "code"), [("mitosis", 0), ("How many red cells are there?", 1), ("nothing", 0)]
)
def test_a_refusal_is_shown_and_any_other_failure_counts(
    demo: ModuleType,
    refused: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "PROGRAM", [sys.executable, "-c", STAND_IN.format(refused=refused)])
    assert demo.main() == code
    out = capfd.readouterr().out
    assert out.count("asked ask") == out.count("$ pathreason ask") == 5
    assert ("no answer: exit status 1" in out) is (refused != "nothing")
    assert ("cannot look for it" in out) is (refused != "nothing")
    assert "Label      14" in out
    assert ("demo/blood-5.png" in out.splitlines()[-1]) is (refused != "mitosis")


@pytest.mark.skipif(shutil.which("make") is None, reason="runs make")
def test_make_runs_it() -> None:
    # below another make, as in `make test`, it tells of folders before and after
    words = ["make", "--no-print-directory", "-n", "demo"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert told.stdout.splitlines()[-1].endswith("python docs/demo.py"), told.stderr

"""`pathreason detect`, killed at any moment of its life and run again, ends in the same files.

`test_killed` kills between tiles; here the moments are spread over all of a run: imports, loading,
tissue, tiles, the joining of lesions and the writing of files.
"""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SEED = 5
MOMENTS = 10
DYING = Path(__file__).with_name("_dying.py")


def lines(journal):
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def ended(process):
    """Its exit code; what it said on stderr is shown where a test fails."""
    _, said = process.communicate()
    sys.stderr.write(said)
    return process.returncode


def test_the_command_killed_at_ten_random_moments(detect_sample, spots, tmp_path):
    whole = tmp_path / "whole"
    began, answered = time.monotonic(), 0.0
    process, folder = detect_sample(whole)
    journal, count = folder / "tiles.jsonl", 0
    while not (folder / "manifest.json").exists():
        assert process.poll() is None
        if lines(journal) > count:
            answered, count = time.monotonic() - began, lines(journal)
        time.sleep(0.002)
    written = time.monotonic() - began
    assert ended(process) == 0
    draw = random.Random(SEED)
    # one in the first second, seven until the last tile, two while the files are made
    step = (answered - 1) / 7
    moments = [draw.uniform(0, 1), *(1 + step * (i + draw.random()) for i in range(7))]
    moments += [answered + draw.uniform(0, written - answered) for _ in range(MOMENTS - 8)]
    killed = 0
    for number, moment in enumerate(moments):
        told = f"seed {SEED}, moment {number}: killed {moment:.3f} s after the start"
        began = time.monotonic()
        process, folder = detect_sample(tmp_path / f"cut{number}")
        wait = moment
        if moment > answered:  # machines are not equally busy at all times: counted from there
            while process.poll() is None and lines(folder / "tiles.jsonl") < count:
                time.sleep(0.002)
            began, wait = time.monotonic(), moment - answered
        time.sleep(max(began + wait - time.monotonic(), 0))
        process.kill()
        killed += ended(process) != 0
        process, _ = detect_sample(tmp_path / f"cut{number}")
        assert ended(process) == 0, told
        assert spots.files_of(folder) == spots.files_of(whole / folder.name), told
        assert spots.kept_of(folder) == spots.kept_of(whole / folder.name), told
    assert killed >= MOMENTS - 2  # one at the very end may come too late


def test_killed_before_any_step_on_the_disk(spots, slide_path, tmp_path):
    def run(folder, last=0):
        words = [sys.executable, DYING, slide_path, folder, last]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines(), done.stderr

    code, steps, said = run(tmp_path / "whole")
    assert (code, said) == (0, "")
    assert sum("rename" in step for step in steps) == 6  # plan, four files, manifest
    draw, share = random.Random(SEED), len(steps) / MOMENTS
    for number in range(MOMENTS):
        folder = tmp_path / f"cut{number}"
        first, again = int(share * (number + draw.random())) + 1, draw.randrange(1, len(steps))
        told = f"seed {SEED}: killed before {steps[first - 1]!r}, then at step {again} of the rerun"
        assert run(folder, first)[0] != 0, told
        run(folder, again)  # it may have fewer steps than that, and finish
        code, _, said = run(folder)
        assert (code, said) == (0, ""), told
        assert spots.files_of(folder) == spots.files_of(tmp_path / "whole"), told
        assert spots.kept_of(folder) == spots.kept_of(tmp_path / "whole"), told

"""Killed, out of disk, frozen or with its input swapped at any file event, a run ends right.

Run again, a command leaves the bytes of an undisturbed one; nothing is ever left that belongs to
neither of both inputs, and no fault ends in a traceback. `make faults` tries every event.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.faults._commands import COMMANDS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked"),
]
EVENTS = os.environ.get("PATHREASON_FAULTS", "3")
"""At how many events of each command, or ``all``."""


@pytest.mark.parametrize("command", COMMANDS)
def test_faults_at_file_events_change_no_byte(command, tmp_path):
    words = ("-m", "tests.faults._faults", command, str(tmp_path / "trials"), EVENTS, "1")
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *wrong, counts = done.stdout.splitlines()
    told = json.loads(counts)
    sys.stdout.write(f"{command}: {counts}\n")  # seen with -rP, as `make faults` has it
    assert wrong == []
    deaths, stops = told["changes"], told["events"]
    assert stops > deaths > 5
    if EVENTS != "all":
        deaths, stops = (min(int(EVENTS), number) for number in (deaths, stops))
    reads = COMMANDS[command].swap is not None
    wanted = {"kill": deaths, "tear": deaths, "fill": deaths, "freeze": stops}
    wanted |= {"other": deaths, "swap": stops} if reads else {}
    assert {fault: told.get(fault, 0) for fault in wanted} == wanted

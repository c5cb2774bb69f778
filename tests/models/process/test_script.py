"""The model in its own process, used from a plain script."""

import json
import os
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="asks ps")

SCRIPT = """
import json, sys, threading, time
import numpy as np
from napari_pathreason.models import ModelProcess
from napari_pathreason.types import GenerationSettings, Prompt

process = ModelProcess(sys.argv[1], "cpu")  # no __main__ guard: a plain script
messages = [{"role": "user", "content": [{"type": "image"}]}]
pixels = np.zeros((32, 32, 3), np.uint8)
prompt = Prompt((pixels,), messages)
answer = process.performer.generate(prompt, GenerationSettings(5), threading.Event())
*_, done = answer
said = {"pid": process.pid, "tokens": done.new_tokens, "info": process.performer.info.name,
        "torch": [name for name in ("torch", "transformers") if name in sys.modules]}
print(json.dumps(said), flush=True)
time.sleep(1000)
"""


def gone(pid: int) -> bool:
    """Whether a process that is not our child has ended; its zombie is not ours to reap."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.strip()[:1] in ("", "Z")


@pytest.mark.slow
def test_a_plain_script_needs_no_guard_nor_torch_and_its_death_ends_the_child(talkative, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "torch.py").write_text("raise SystemError('not torch')")  # must not be picked up
    command = [sys.executable, "-P", "script.py", str(talkative)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as script:
        assert script.stdout is not None
        said = json.loads(script.stdout.readline())
        assert said["torch"] == []
        assert (said["tokens"], said["info"]) == (5, "talkative")
        assert not gone(said["pid"])
        script.kill()  # no chance to clean up, and the child has nothing to write
    while not gone(said["pid"]):  # the time limit of every test ends a wait in vain
        time.sleep(0.01)

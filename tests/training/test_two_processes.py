"""Two processes learn what one with the whole batch would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_pathreason.models._tiny import make_tiny_checkpoint


@pytest.mark.slow
def test_averaged_gradients_of_two_processes_are_those_of_one(tmp_path):
    """Supervised with and without heads, and GRPO with each loss; uneven halves."""
    told = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", str(Path(__file__).with_name("_two_processes.py"))),
            str(make_tiny_checkpoint(tmp_path / "tiny")),
        ],
        env=os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    assert told.stdout.count("equal") == 2

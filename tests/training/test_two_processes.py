"""Two processes learn what one with the whole batch would."""

from pathlib import Path

import pytest

from tests.support import make_tiny_checkpoint


@pytest.mark.slow
def test_averaged_gradients_of_two_processes_are_those_of_one(tmp_path, in_two_processes):
    """Supervised, and GRPO with each loss; uneven halves."""
    script = Path(__file__).with_name("_two_processes.py")
    said = in_two_processes(script, make_tiny_checkpoint(tmp_path / "tiny"))
    assert said.count("equal") == 2

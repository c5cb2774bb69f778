"""How many threads torch has, and how they wait for each other."""

from __future__ import annotations

import os
import sys


def wait_passively() -> None:
    """Let OpenMP threads sleep at their barriers, not spin; call it before torch is imported.

    A spinning thread holds the core that the one it waits for needs: on a machine with other work
    an answer of a small model took 10 s instead of 0.3 s. A policy that the user set stays.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(count: int) -> None:
    """Compute with so many CPU threads; more than the machine has slow it down, so they are cut."""
    import torch

    torch.set_num_threads(max(1, min(count, os.cpu_count() or 1)))

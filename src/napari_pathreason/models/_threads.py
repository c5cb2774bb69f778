"""How torch's threads wait for each other."""

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

"""What the tests make their inputs with, for benchmarks too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support import make_tiny_checkpoint, write_synthetic_slide

__all__ = ["make_tiny_checkpoint", "write_synthetic_slide"]

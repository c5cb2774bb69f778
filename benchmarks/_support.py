"""What the tests make their inputs with, for benchmarks too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support import make_tiny_checkpoint, write_synthetic_slide

__all__ = ["make_tiny_checkpoint", "write_synthetic_slide"]

"""The shell: ``pathreason ask | doctor | data | train | evaluate | merge``."""

from ._main import main

__all__ = ["main"]

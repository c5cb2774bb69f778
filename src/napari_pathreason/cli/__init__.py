"""The shell: ``pathreason ask | doctor | data | train | evaluate``."""

from ._main import main

__all__ = ["main"]

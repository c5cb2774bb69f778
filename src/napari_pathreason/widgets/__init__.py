"""The docks; the only room that knows Qt."""

from ._ask import AskWidget

__all__ = ["AskWidget"]

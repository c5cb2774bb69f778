"""The docks; the only room that knows Qt."""

from ._ask import AskWidget
from ._budget import BudgetWidget

__all__ = ["AskWidget", "BudgetWidget"]

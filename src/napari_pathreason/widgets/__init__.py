"""The docks; the only room that knows Qt."""

from ._ask import AskWidget
from ._budget import BudgetWidget
from ._slide_run import SlideRunWidget

__all__ = ["AskWidget", "BudgetWidget", "SlideRunWidget"]

"""Token arithmetic: sizes, grids, the budget ladder and cost. No array library, no torch."""

from ._cost import flops
from ._ladder import LADDER, parse_budget, snap
from ._plan import ReadPlan, native_tokens, plan
from ._resize import smart_resize

__all__ = [
    "LADDER",
    "ReadPlan",
    "flops",
    "native_tokens",
    "parse_budget",
    "plan",
    "smart_resize",
    "snap",
]
